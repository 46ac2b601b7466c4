//! What each list shows, how it is filtered, and what can be done from it.

use domain::quarantine::QuarantineReason;
use domain::{DutyKind, DutyState, State};
use operate::{ACTIONS, Desk};

/// How a column is shown.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    /// A word of ours, in the person's language.
    Word,
    /// Why a message was put aside: the word, and what it means.
    Because,
    /// Why a duty is held, failed or cancelled.
    OfDuty,
    /// Why a submission is kept, or was deleted.
    Why,
    /// What happened, as the evidence has it.
    Leaf,
    /// A schedule by its name.
    Schedule,
    /// When a schedule runs, in words.
    Cron,
    /// How a run of a schedule went.
    Run,
    /// What became of a message that was tried again from quarantine.
    Retried,
    Time,
    Submission,
    Event,
    /// An actor, by login where that is known.
    Who,
}

/// What there is to choose from.
#[derive(Clone, Copy)]
pub(crate) enum Choices {
    /// Anything.
    Free,
    /// Anything, and something.
    Must,
    Long,
    Sites,
    Forms,
    Departments,
    States,
    DutyStates,
    DutyKinds,
    Reasons,
    Pausables,
    /// What persons do, as the evidence has it.
    Acts,
    Schedules,
    Yes,
}

impl Choices {
    pub(crate) fn words(self, desk: &Desk) -> Vec<String> {
        let config = &desk.loaded.config;
        let mut words: Vec<String> = match self {
            Self::Free | Self::Must | Self::Long => Vec::new(),
            Self::Sites => config.sites.keys().map(ToString::to_string).collect(),
            Self::Forms => desk.loaded.forms.iter().map(|form| form.id.to_string()).collect(),
            Self::Departments => config.departments.keys().map(ToString::to_string).collect(),
            // What is in quarantine is no submission yet: it has a page of its own.
            Self::States => {
                let states = State::ALL.iter().filter(|state| **state != State::Quarantined);
                states.map(ToString::to_string).collect()
            }
            Self::DutyStates => DutyState::ALL.iter().map(ToString::to_string).collect(),
            Self::DutyKinds => DutyKind::ALL.iter().map(ToString::to_string).collect(),
            Self::Reasons => QuarantineReason::ALL.iter().map(ToString::to_string).collect(),
            Self::Pausables => domain::Pausable::ALL.iter().map(ToString::to_string).collect(),
            Self::Acts => Self::acts(),
            Self::Schedules => ["purge", "extract", "keys", "checkpoint"].map(str::to_owned).to_vec(),
            Self::Yes => vec!["true".to_owned()],
        };
        words.dedup();
        words
    }

    /// What persons do, as the evidence has it.
    pub(crate) fn acts() -> Vec<String> {
        let acts = ACTIONS.iter().filter(|action| action.changes);
        acts.map(|action| match action.name {
            "pause" => "paused".to_owned(),
            "resume" => "resumed".to_owned(),
            name => name.to_owned(),
        })
        .collect()
    }

    pub(crate) fn must(self) -> bool {
        !matches!(self, Self::Free | Self::Yes)
    }
}

/// An action that a page offers, and the fields that it asks for.
pub(crate) type Offer = (&'static str, &'static [(&'static str, Choices)]);

/// A list.
pub(crate) struct Table {
    /// Its address, and its name among the phrases.
    pub(crate) path: &'static str,
    /// The action that it shows.
    pub(crate) action: &'static str,
    /// The keys of a row.
    pub(crate) columns: &'static [(&'static str, Kind)],
    pub(crate) filters: &'static [(&'static str, Choices)],
    /// What can be done with the selected, or all that match.
    pub(crate) bulk: &'static [&'static str],
    /// What else can be done here.
    pub(crate) acts: &'static [Offer],
}

/// What can be done with duties.
pub(crate) const OF_DUTIES: &[&str] = &["duty.retry", "duty.hold", "duty.release", "duty.discard"];
const CODED: &[(&str, Choices)] = &[("event", Choices::Must), ("code", Choices::Must)];

pub(crate) const TABLES: &[Table] = &[
    Table {
        path: "submissions",
        action: "submission.list",
        columns: &[
            ("reference", Kind::Submission),
            ("site", Kind::Text),
            ("form", Kind::Text),
            ("state", Kind::Word),
            ("received_at", Kind::Time),
            ("why", Kind::Why),
        ],
        filters: &[
            ("id", Choices::Free),
            ("site", Choices::Sites),
            ("form", Choices::Forms),
            ("state", Choices::States),
            ("since", Choices::Free),
        ],
        bulk: &[],
        acts: &[("registration.withdraw", &[("id", Choices::Must)])],
    },
    Table {
        path: "quarantine",
        action: "quarantine.list",
        columns: &[
            ("id", Kind::Submission),
            ("site", Kind::Text),
            ("form", Kind::Text),
            ("reason", Kind::Because),
            ("state", Kind::Word),
            ("bytes", Kind::Text),
            ("received_at", Kind::Time),
        ],
        filters: &[
            ("site", Choices::Sites),
            ("form", Choices::Free),
            ("reason", Choices::Reasons),
            ("since", Choices::Free),
            ("all", Choices::Yes),
        ],
        bulk: &["quarantine.retry", "quarantine.discard"],
        acts: &[],
    },
    Table {
        path: "duties",
        action: "duty.list",
        columns: &[
            ("submission", Kind::Submission),
            ("form", Kind::Text),
            ("kind", Kind::Word),
            ("state", Kind::Word),
            ("reason", Kind::OfDuty),
            ("why", Kind::Text),
            ("attempts", Kind::Text),
            ("next_at", Kind::Time),
        ],
        filters: &[
            ("site", Choices::Sites),
            ("form", Choices::Forms),
            ("kind", Choices::DutyKinds),
            ("state", Choices::DutyStates),
            ("reason", Choices::Free),
            ("since", Choices::Free),
        ],
        bulk: OF_DUTIES,
        acts: &[],
    },
    Table {
        path: "pauses",
        action: "pause.list",
        columns: &[
            ("what", Kind::Word),
            ("name", Kind::Text),
            ("why", Kind::Text),
            ("actor", Kind::Who),
            ("since", Kind::Time),
            ("until", Kind::Time),
        ],
        filters: &[],
        bulk: &[],
        acts: &[
            (
                "pause",
                &[
                    ("what", Choices::Pausables),
                    ("name", Choices::Must),
                    ("why", Choices::Must),
                    ("until", Choices::Free),
                ],
            ),
            (
                "resume",
                &[
                    ("what", Choices::Pausables),
                    ("name", Choices::Must),
                    ("why", Choices::Free),
                ],
            ),
        ],
    },
    Table {
        path: "schedules",
        action: "schedule.list",
        columns: &[
            ("name", Kind::Schedule),
            ("cron", Kind::Text),
            ("words", Kind::Cron),
            ("time_zone", Kind::Text),
            ("started_at", Kind::Time),
            ("seconds", Kind::Text),
            ("outcome", Kind::Run),
            ("next", Kind::Time),
        ],
        filters: &[],
        bulk: &[],
        acts: &[(
            "schedule.run",
            &[("name", Choices::Schedules), ("dry_run", Choices::Yes)],
        )],
    },
    Table {
        path: "events",
        action: "event.list",
        columns: &[
            ("id", Kind::Event),
            ("tag", Kind::Text),
            ("deadline", Kind::Time),
            ("held", Kind::Time),
            ("open", Kind::Text),
            ("unextracted", Kind::Text),
            ("kept", Kind::Text),
        ],
        filters: &[],
        bulk: &[],
        acts: &[
            ("registration.confirm", CODED),
            ("event.erased", CODED),
            (
                "registration.export",
                &[("event", Choices::Must), ("to", Choices::Departments)],
            ),
            (
                "event.set",
                &[
                    ("event", Choices::Must),
                    ("deadline", Choices::Free),
                    ("held", Choices::Free),
                ],
            ),
            ("event.cancel", &[("event", Choices::Must)]),
        ],
    },
    Table {
        path: "keys",
        action: "key.list",
        columns: &[
            ("department", Kind::Text),
            ("fingerprint", Kind::Text),
            ("state", Kind::Word),
            ("expires", Kind::Time),
            ("days_left", Kind::Text),
            ("algorithm", Kind::Text),
            ("source", Kind::Word),
        ],
        filters: &[],
        bulk: &[],
        acts: &[
            ("key.test", &[("department", Choices::Departments)]),
            (
                "key.add",
                &[("department", Choices::Departments), ("certificate", Choices::Long)],
            ),
        ],
    },
    Table {
        path: "evidence",
        action: "evidence.list",
        columns: &[
            ("origin", Kind::Text),
            ("verifier_key", Kind::Text),
            ("checkpoint", Kind::Text),
        ],
        filters: &[],
        bulk: &[],
        acts: &[],
    },
    Table {
        path: "acts",
        action: "act.list",
        columns: &[
            ("at", Kind::Time),
            ("actor", Kind::Who),
            ("event", Kind::Leaf),
            ("rule", Kind::Text),
            ("index", Kind::Text),
        ],
        filters: &[("actor", Choices::Free), ("event", Choices::Acts)],
        bulk: &[],
        acts: &[],
    },
];

/// The list at an address.
pub(crate) fn at(path: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.path == path)
}
