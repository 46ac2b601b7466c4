//! When a submission may be deleted, and why not yet: one pure function.
//!
//! D1, D2, E1, E3: a submission goes as soon as every duty that binds it is discharged and nothing holds it, and never
//! before. The worker that settles a duty, the scheduler that lets time decide, `kvit submission show` and the purge's
//! dry run all ask this function, so that they cannot disagree.

use std::fmt;

use jiff::Timestamp;

use crate::submission::Kind;
use crate::{DutyKind, DutyState, Reason};

/// What disposal must know of a duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DutyFacts {
    /// What is owed.
    pub kind: DutyKind,
    /// How far it has come.
    pub state: DutyState,
    /// Why it is held, failed or cancelled.
    pub reason: Option<Reason>,
}

/// What disposal must know of a registration's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFacts {
    /// The registration deadline, where it is known.
    pub deadline: Option<Timestamp>,
    /// When the event has been held, where it is known.
    pub held: Option<Timestamp>,
}

/// Something that freezes deletion whatever is discharged (a person's decision, X1–X6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold;

/// Why a submission is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A duty that binds is not discharged.
    Duty(DutyFacts),
    /// The event's deadline has not passed.
    BeforeDeadline(Timestamp),
    /// The event has no deadline, so that no time can ever pass.
    NoDeadline,
    /// A person holds it.
    Held,
}

/// Which rule let a submission go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Everything that bound it was discharged (D1).
    Discharged,
    /// The deadline has passed and everything was extracted (E1).
    Extracted,
    /// The event was held (E3).
    EventHeld,
}

impl Rule {
    /// The word for it in the store and in evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discharged => "discharged",
            Self::Extracted => "extracted",
            Self::EventHeld => "event_held",
        }
    }
}

/// What may be done with a submission now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposal {
    /// It must be kept.
    Keep(Why),
    /// It must go.
    Delete(Rule),
}

/// Decides about one submission from its duties, its event, its holds and the time.
///
/// A registration (one that has an `event`) also waits for its deadline; `extract` is one of its duties, which the end
/// of the event (E3) cancels, so that needs no exception here. Where nothing binds, nothing keeps it.
#[must_use]
pub fn disposal(
    kind: Kind,
    duties: &[DutyFacts],
    event: Option<EventFacts>,
    holds: &[Hold],
    now: Timestamp,
) -> Disposal {
    if !holds.is_empty() {
        return Disposal::Keep(Why::Held);
    }
    if let Some(open) = duties
        .iter()
        .find(|duty| duty.kind.binds() && !duty.state.is_discharged())
    {
        return Disposal::Keep(Why::Duty(*open));
    }
    match (kind, event) {
        (Kind::Message, _) => Disposal::Delete(Rule::Discharged),
        (Kind::Registration, None) => Disposal::Keep(Why::NoDeadline),
        (Kind::Registration, Some(event)) => after_the_event(event, now),
    }
}

fn after_the_event(event: EventFacts, now: Timestamp) -> Disposal {
    if event.held.is_some_and(|held| held <= now) {
        return Disposal::Delete(Rule::EventHeld);
    }
    match event.deadline {
        None => Disposal::Keep(Why::NoDeadline),
        Some(deadline) if deadline > now => Disposal::Keep(Why::BeforeDeadline(deadline)),
        Some(_) => Disposal::Delete(Rule::Extracted),
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("kept because a person holds it"),
            Self::NoDeadline => f.write_str("kept because its event has no deadline: set one with kvit event set"),
            Self::BeforeDeadline(deadline) => write!(f, "kept until the deadline {deadline} has passed"),
            Self::Duty(duty) => describe_duty(*duty, f),
        }
    }
}

fn describe_duty(duty: DutyFacts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let what = match duty.kind {
        DutyKind::DepartmentMail => "the mail to the department",
        DutyKind::Receipt => "the receipt to the submitter",
        DutyKind::Journal => "the journal entry",
        DutyKind::Files => "the content of its files",
        DutyKind::Extract => "the confirmed extract of its event",
        DutyKind::Notice => "a notice",
    };
    let how = match duty.state {
        DutyState::Ready => "is not yet done",
        DutyState::Sending => "is being done",
        DutyState::Held => "is held",
        DutyState::Failed => "has failed and waits for a person",
        DutyState::Done | DutyState::Cancelled => "is discharged",
    };
    write!(f, "kept because {what} {how}")?;
    match duty.reason {
        Some(reason) => write!(f, " ({reason})"),
        None => Ok(()),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discharged => "deleted because everything that bound it was done",
            Self::Extracted => "deleted because the deadline has passed and a confirmed extract covers it",
            Self::EventHeld => "deleted because the event has been held",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duty(kind: DutyKind, state: DutyState) -> DutyFacts {
        DutyFacts {
            kind,
            state,
            reason: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// D1, D2: over every kind and state of two duties, in both orders.
    #[test]
    fn a_message_goes_exactly_when_what_binds_is_discharged() {
        for first in DutyKind::ALL {
            for first_state in DutyState::ALL {
                for second in DutyKind::ALL {
                    for second_state in DutyState::ALL {
                        let a = duty(*first, *first_state);
                        let b = duty(*second, *second_state);
                        let bound = [a, b].iter().any(|duty| {
                            duty.kind.binds() && !matches!(duty.state, DutyState::Done | DutyState::Cancelled)
                        });
                        for duties in [[a, b], [b, a]] {
                            let verdict = disposal(Kind::Message, &duties, None, &[], at(0));
                            assert_eq!(matches!(verdict, Disposal::Delete(_)), !bound, "{duties:?}");
                        }
                    }
                }
            }
        }
    }

    /// E1: of the four cells (deadline passed or not, extracted or not) only one deletes.
    #[test]
    fn a_registration_waits_for_the_deadline_and_the_extract() {
        let event = EventFacts {
            deadline: Some(at(100)),
            held: Some(at(1000)),
        };
        for (now, state, deletes) in [
            (99, DutyState::Ready, false),
            (99, DutyState::Done, false),
            (100, DutyState::Ready, false),
            (100, DutyState::Done, true),
        ] {
            let duties = [duty(DutyKind::Receipt, DutyState::Done), duty(DutyKind::Extract, state)];
            let verdict = disposal(Kind::Registration, &duties, Some(event), &[], at(now));
            assert_eq!(verdict == Disposal::Delete(Rule::Extracted), deletes, "{now} {state}");
        }
    }

    /// E3
    #[test]
    fn a_registration_without_dates_stays() {
        let duties = [duty(DutyKind::Extract, DutyState::Done)];
        let event = EventFacts {
            deadline: None,
            held: None,
        };
        let verdict = disposal(Kind::Registration, &duties, Some(event), &[], at(0));
        assert_eq!(verdict, Disposal::Keep(Why::NoDeadline));
    }

    /// D1, D2, E1, E3: every set of duties in every state, with and without a hold, before and after each date, against
    /// the two sentences that say what must hold.
    #[test]
    fn it_goes_exactly_when_nothing_binds_its_time_has_come_and_nobody_holds_it() {
        let dates = [None, Some(at(50)), Some(at(100)), Some(at(150))];
        let events = dates.map(|deadline| dates.map(|held| Some(EventFacts { deadline, held })));
        let events: Vec<_> = std::iter::once(None).chain(events.into_iter().flatten()).collect();
        let states = DutyState::ALL.len() + 1;
        let sets = states.pow(u32::try_from(DutyKind::ALL.len()).unwrap());
        for set in 0..sets {
            let mut rest = set;
            let mut duties = Vec::new();
            for kind in DutyKind::ALL {
                // One number more than there are states: it is not owed at all.
                if let Some(state) = DutyState::ALL.get(rest % states) {
                    duties.push(duty(*kind, *state));
                }
                rest /= states;
            }
            let bound = duties.iter().any(|duty| {
                !matches!(duty.kind, DutyKind::Journal | DutyKind::Notice)
                    && !matches!(duty.state, DutyState::Done | DutyState::Cancelled)
            });
            if set % 2 == 1 {
                duties.reverse();
            }
            for event in &events {
                let passed = |date: Option<Timestamp>| date.is_some_and(|date| date <= at(100));
                let event_is_over = event.is_some_and(|event| passed(event.deadline) || passed(event.held));
                for (kind, in_time) in [(Kind::Message, true), (Kind::Registration, event_is_over)] {
                    for holds in [&[][..], &[Hold]] {
                        let verdict = disposal(kind, &duties, *event, holds, at(100));
                        let goes = matches!(verdict, Disposal::Delete(_));
                        assert_eq!(
                            goes,
                            !bound && in_time && holds.is_empty(),
                            "{kind:?} {duties:?} {event:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_hold_keeps_what_would_go() {
        let duties = [duty(DutyKind::DepartmentMail, DutyState::Done)];
        let verdict = disposal(Kind::Message, &duties, None, &[Hold], at(0));
        assert_eq!(verdict, Disposal::Keep(Why::Held));
    }
}
