//! The journals that entries go to, and whether they can be written to.

pub(crate) mod embedded;

mod get_organized;
mod http;
mod sbsys_mail;
mod webdav;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::form::EMBEDDED;
use domain::{DutyId, Reason};
use ledger::{Ledger, NewVersion};
use letter::Letters;
use runtime::config::TargetKind;
use runtime::{Check, Context, Loaded};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::entry::Entry;
use crate::story::Journaliser;
use embedded::Embedded;
use get_organized::GetOrganized;
use http::Server;
use sbsys_mail::SbsysMail;
use webdav::Webdav;

/// How often a target that can be written to is looked at, and one that cannot.
const LOOK: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1));

/// What a target answered. An entry's id makes a repeat recognisable to every target.
pub(crate) enum Answer {
    /// It has the entry.
    Done(Receipt),
    /// It had it already.
    Exists(Receipt),
    /// It has a part of it: the sequence goes on where it was left.
    Pending,
    /// It cannot take it now: again later, and until then everything else for it waits too.
    Away(Option<Reason>, String),
    /// It refuses this entry: a person must see to it.
    Refused(Reason),
}

/// What a target calls an entry.
pub(crate) struct Receipt {
    pub(crate) reference: String,
    /// The sealed file, where the target is the embedded journal.
    pub(crate) version: Option<NewVersion>,
}

/// One journal.
pub(crate) enum Target {
    Embedded(Embedded),
    SbsysMail(SbsysMail),
    Webdav(Webdav),
    GetOrganized(GetOrganized),
}

impl Target {
    async fn put(&self, duty: Option<DutyId>, entry: Arc<Entry>) -> Answer {
        match self {
            Self::Embedded(journal) => journal.put(entry).await,
            Self::SbsysMail(gateway) => gateway.put(entry).await,
            Self::Webdav(server) => server.put(entry).await,
            Self::GetOrganized(server) => server.put(duty, entry).await,
        }
    }

    /// Whether it can be written to; else why not, in words for an operator, and the code for what waits.
    async fn probe(&self, journaliser: &Journaliser) -> Result<(), (Option<Reason>, String)> {
        let probed = match self {
            Self::Embedded(journal) => return journal.probe(journaliser).await,
            Self::SbsysMail(gateway) => gateway.probe().await,
            Self::Webdav(server) => server.probe().await,
            Self::GetOrganized(server) => server.probe().await,
        };
        probed.map_err(|answer| match answer {
            Answer::Away(reason, why) => (reason, why),
            Answer::Refused(reason) => (Some(reason), format!("it refuses to be looked at ({reason})")),
            _ => (None, "it does not answer as it should".to_owned()),
        })
    }
}

/// Whether a journal can be written to.
#[derive(Clone, Copy)]
enum State {
    Back,
    /// Not, and the code for what waits.
    Away(Option<Reason>),
}

/// A journal under watch.
pub(crate) struct Watched {
    name: String,
    target: Target,
    check: Check,
    state: RwLock<State>,
}

impl Watched {
    /// Gives it an entry, unless it is known that it cannot take one now.
    pub(crate) async fn put(&self, duty: Option<DutyId>, entry: Arc<Entry>) -> Answer {
        if let State::Away(reason) = self.state() {
            return Answer::Away(reason, String::new());
        }
        let answer = self.target.put(duty, entry).await;
        if let Answer::Away(reason, why) = &answer {
            self.is_away(*reason, why);
        }
        answer
    }

    fn is_away(&self, reason: Option<Reason>, why: &str) {
        if self.check.is_up() {
            tracing::warn!(
                target = self.name,
                why,
                "a journal cannot be written to; what is for it waits"
            );
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Away(reason);
        self.check.down(&format!(
            "the journal {} cannot be written to: {why}; trying again",
            self.name
        ));
    }

    fn state(&self) -> State {
        *self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_back(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Back;
        self.check.up();
    }
}

/// Every journal, by the name that forms give it.
pub(crate) struct Targets {
    by_name: BTreeMap<String, Watched>,
    embedded: Embedded,
}

impl Targets {
    /// The journals of a configuration; none is opened yet.
    ///
    /// # Errors
    ///
    /// Where one's configuration cannot be used (78).
    pub(crate) fn open(
        loaded: &Arc<Loaded>,
        context: &Context,
        (ledger, letters): (&Ledger, &Arc<Letters>),
    ) -> anyhow::Result<Self> {
        let embedded = Embedded::new(&loaded.config, context.clock.clone())?;
        let mut by_name = BTreeMap::new();
        let mut add = |name: &str, target: Target| {
            let watched = Watched {
                name: name.to_owned(),
                target,
                check: context.health.check(&format!("journal {name}")),
                state: RwLock::new(State::Away(None)),
            };
            by_name.insert(name.to_owned(), watched);
        };
        add(EMBEDDED, Target::Embedded(embedded.clone()));
        let smtp = &loaded.config.smtp;
        for (name, target) in &loaded.config.journal_targets {
            let opened = match target.kind {
                TargetKind::SbsysMail => {
                    let gateway = SbsysMail::new(target, smtp, Arc::clone(letters), context.clock.clone())?;
                    Target::SbsysMail(gateway)
                }
                TargetKind::Webdav => Target::Webdav(Webdav {
                    server: Server::new(target)?,
                }),
                TargetKind::GetOrganized => Target::GetOrganized(GetOrganized {
                    server: Server::new(target)?,
                    case_type: target.case_type.clone().unwrap_or_default(),
                    ledger: ledger.clone(),
                }),
            };
            add(name, opened);
        }
        Ok(Self { by_name, embedded })
    }

    /// The journal of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Watched> {
        self.by_name.get(name)
    }

    /// The journal inside Kvit.
    pub(crate) fn embedded(&self) -> &Embedded {
        &self.embedded
    }
}

/// Looks at every target until `ended`: now and then, and often while one cannot be written to.
pub(crate) async fn watch(journaliser: Arc<Journaliser>, ended: CancellationToken) {
    let watching = journaliser.targets.by_name.values().map(|watched| {
        let (journaliser, ended) = (Arc::clone(&journaliser), ended.clone());
        async move {
            loop {
                look(&journaliser, watched).await;
                let pause = if watched.check.is_up() { LOOK.0 } else { LOOK.1 };
                tokio::select! {
                    () = ended.cancelled() => return,
                    () = pause_or_loss(watched, pause) => {}
                }
            }
        }
    });
    futures::future::join_all(watching).await;
}

/// A pause that ends early when the target is lost meanwhile.
async fn pause_or_loss(watched: &Watched, pause: Duration) {
    let was_up = watched.check.is_up();
    let mut left = pause;
    while left > Duration::ZERO && watched.check.is_up() == was_up {
        let step = left.min(LOOK.1);
        sleep(step).await;
        left -= step;
    }
}

async fn look(journaliser: &Journaliser, watched: &Watched) {
    if let Err((reason, why)) = watched.target.probe(journaliser).await {
        watched.is_away(reason, &why);
        return;
    }
    if matches!(watched.state(), State::Back) {
        return;
    }
    let now = journaliser.clock.now();
    // What waited goes on before the target counts as back, so that nothing is left waiting when this fails.
    match journaliser
        .ledger
        .target_is_back(watched.name.clone(), WAITING, now)
        .await
    {
        Ok(waited) => {
            watched.is_back();
            tracing::info!(target = watched.name, waited, "a journal can be written to");
        }
        Err(error) => watched.is_away(None, &format!("the store failed: {error}")),
    }
}

/// What is held only because its target could not be written to.
const WAITING: &[Reason] = &[
    Reason::DiskFull,
    Reason::ReadOnly,
    Reason::CertificateRefused,
    Reason::Http(401),
    Reason::Http(403),
    Reason::Http(407),
];
