//! How long a journal entry is kept, and why: one pure function (D4–D7).
//!
//! The period counts from the closure of the entry's case. What an archive must have is handed over and acknowledged
//! before it goes. `kvit journal explain` and the purge both ask this function, so that they cannot disagree.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::form::{Archive, parse_period};

/// What retention must know of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// When its case was closed.
    pub closed_at: Option<Timestamp>,
    /// How long it is kept from then; ISO 8601.
    pub period: String,
    /// Whether an archive takes it over.
    pub archive: Archive,
    /// When it last changed: a hand-over before that does not cover it.
    pub changed_at: Timestamp,
    /// When the last package that holds it was made.
    pub handed_over_at: Option<Timestamp>,
    /// Whether the archive has acknowledged that package.
    pub acknowledged: bool,
}

/// How an entry ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its period is over.
    Deleted,
    /// Its period is over, and an archive has it.
    Transferred,
}

impl Ending {
    /// The word for it in the store and in evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Transferred => "transferred",
        }
    }
}

/// Why an entry is kept, or how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// Its case is not closed.
    CaseOpen,
    /// Its period runs until then.
    Until(Timestamp, Archive),
    /// Its period is over, and no archive was given it as it stands now.
    AwaitsHandover(Timestamp),
    /// Its period is over, and the archive has not acknowledged it.
    AwaitsAcknowledgement(Timestamp),
    /// It ends now.
    Ends(Ending),
    /// Its period cannot be read: nothing is deleted by a rule that nobody understands.
    UnknownPeriod,
}

/// When an entry's period is over: counted by the calendar of the controller's time zone.
#[must_use]
pub fn due(closed_at: Timestamp, period: &str, zone: &TimeZone) -> Option<Timestamp> {
    let closed = closed_at.to_zoned(zone.clone());
    Some(closed.checked_add(parse_period(period)?).ok()?.timestamp())
}

/// Decides about one entry.
#[must_use]
pub fn retention(facts: &Facts, zone: &TimeZone, now: Timestamp) -> Retention {
    let Some(closed_at) = facts.closed_at else {
        return Retention::CaseOpen;
    };
    let Some(due) = due(closed_at, &facts.period, zone) else {
        return Retention::UnknownPeriod;
    };
    if now < due {
        return Retention::Until(due, facts.archive);
    }
    let covered = facts.handed_over_at.is_some_and(|at| at >= facts.changed_at);
    match facts.archive {
        Archive::Discard => Retention::Ends(Ending::Deleted),
        Archive::Preserve if !covered => Retention::AwaitsHandover(due),
        Archive::Preserve if !facts.acknowledged => Retention::AwaitsAcknowledgement(due),
        Archive::Preserve => Retention::Ends(Ending::Transferred),
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaseOpen => f.write_str("kept because its case is open: the period counts from the closure"),
            Self::Until(due, Archive::Discard) => write!(f, "kept until {due}, and deleted then"),
            Self::Until(due, Archive::Preserve) => {
                write!(
                    f,
                    "kept until {due}, and deleted then if an archive has acknowledged it"
                )
            }
            Self::AwaitsHandover(due) => write!(
                f,
                "its period was over on {due}; kept because no archive was given it as it stands: kvit journal handover"
            ),
            Self::AwaitsAcknowledgement(due) => write!(
                f,
                "its period was over on {due}; kept because the archive has not acknowledged it: kvit journal acknowledge"
            ),
            Self::Ends(Ending::Deleted) => f.write_str("deleted by the next purge: its period is over"),
            Self::Ends(Ending::Transferred) => {
                f.write_str("deleted by the next purge: its period is over, and the archive has it")
            }
            Self::UnknownPeriod => f.write_str("kept because its period cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn copenhagen() -> TimeZone {
        TimeZone::get("Europe/Copenhagen").expect("a zone")
    }

    fn facts(archive: Archive) -> Facts {
        Facts {
            closed_at: Some(at("2026-02-28T12:00:00Z")),
            period: "P5Y".to_owned(),
            archive,
            changed_at: at("2026-02-01T12:00:00Z"),
            handed_over_at: None,
            acknowledged: false,
        }
    }

    /// D4: five years from the closure, by the calendar, and not a second before.
    #[test]
    fn a_period_counts_from_the_closure_of_the_case() {
        let open = Facts {
            closed_at: None,
            ..facts(Archive::Discard)
        };
        assert_eq!(
            retention(&open, &copenhagen(), at("2099-01-01T00:00:00Z")),
            Retention::CaseOpen
        );
        let due = at("2031-02-28T12:00:00Z");
        let closed = facts(Archive::Discard);
        let before = retention(&closed, &copenhagen(), at("2031-02-28T11:59:59Z"));
        assert_eq!(before, Retention::Until(due, Archive::Discard));
        assert_eq!(retention(&closed, &copenhagen(), due), Retention::Ends(Ending::Deleted));
        // A summer's closure ends at the same hour of the clock in winter.
        let summer = super::due(at("2026-07-01T10:00:00Z"), "P6M", &copenhagen());
        assert_eq!(summer, Some(at("2027-01-01T11:00:00Z")));
    }

    /// D6: preserved, it never goes before an archive has acknowledged what it holds now.
    #[test]
    fn what_is_preserved_waits_for_the_archive() {
        let late = at("2040-01-01T00:00:00Z");
        let due = at("2031-02-28T12:00:00Z");
        let mut kept = facts(Archive::Preserve);
        assert_eq!(retention(&kept, &copenhagen(), late), Retention::AwaitsHandover(due));
        kept.handed_over_at = Some(at("2030-01-01T00:00:00Z"));
        assert_eq!(
            retention(&kept, &copenhagen(), late),
            Retention::AwaitsAcknowledgement(due)
        );
        kept.acknowledged = true;
        assert_eq!(
            retention(&kept, &copenhagen(), late),
            Retention::Ends(Ending::Transferred)
        );
        kept.changed_at = at("2030-06-01T00:00:00Z");
        assert_eq!(retention(&kept, &copenhagen(), late), Retention::AwaitsHandover(due));
    }

    #[test]
    fn a_period_that_cannot_be_read_deletes_nothing() {
        let odd = Facts {
            period: "soon".to_owned(),
            ..facts(Archive::Discard)
        };
        assert_eq!(
            retention(&odd, &copenhagen(), at("2099-01-01T00:00:00Z")),
            Retention::UnknownPeriod
        );
    }
}
