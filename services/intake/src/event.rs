//! The dates of the event that a registration is for, and whether the registration comes too late.

use domain::Form;
use domain::event::{Dated, Dates, after_message};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::EventSaid;

use crate::coerce::moment;
use crate::shapes::{Headers, Incoming};

/// The event of a registration, `site/form/entity_id` or else `site/form`, and what message and form say of its dates. An
/// unresolved Drupal token, or anything else that is no date, is none.
pub(crate) fn said(site: &str, form: &Form, headers: &Headers, incoming: &Incoming, zone: &TimeZone) -> EventSaid {
    let node = incoming.envelope.entity_id.as_deref().filter(|id| !id.is_empty());
    let id = match node {
        Some(node) => format!("{site}/{}/{node}", form.id),
        None => format!("{site}/{}", form.id),
    };
    let by_message = |header: &Option<String>, keys: &[&str]| {
        let custom = keys.iter().filter_map(|key| incoming.custom_text(key));
        header
            .iter()
            .cloned()
            .chain(custom)
            .find_map(|text| moment(&text, zone))
    };
    let rule = form.event.as_ref();
    let declared = |text: Option<&String>| text.and_then(|text| moment(text, zone));
    EventSaid {
        id,
        message: Dates {
            deadline: by_message(&headers.deadline, &["deadline", "close"]),
            held: by_message(&headers.held, &["event_held"]),
        },
        form: Dates {
            deadline: declared(rule.and_then(|rule| rule.deadline.as_ref())),
            held: declared(rule.and_then(|rule| rule.held.as_ref())),
        },
    }
}

/// Whether a registration comes after the deadline that counts once this message is known.
pub(crate) fn is_late(recorded: Dates<Dated>, said: &EventSaid, sent: Timestamp) -> bool {
    let dates = after_message(recorded, said.message, said.form);
    dates.deadline.is_some_and(|(deadline, _)| sent > deadline)
}

/// When the citizen sent it: the envelope's `completed`, else the AMQP timestamp, else its arrival.
pub(crate) fn sent_at(headers: &Headers, incoming: &Incoming, arrived: Timestamp) -> Timestamp {
    let stamped = headers.timestamp.and_then(|second| Timestamp::from_second(second).ok());
    incoming.envelope.completed.or(stamped).unwrap_or(arrived)
}
