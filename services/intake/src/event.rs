//! The dates of the event that a registration is for, and whether the registration comes too late.

use domain::Form;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::EventDates;

use crate::coerce::moment;
use crate::shapes::{Headers, Incoming};

/// The event of a registration: `site/form/entity_id`, else `site/form`, with its dates by the message, else the form.
/// An unresolved Drupal token, or anything else that is no date, is none.
pub(crate) fn dates(site: &str, form: &Form, headers: &Headers, incoming: &Incoming, zone: &TimeZone) -> EventDates {
    let node = incoming.envelope.entity_id.as_deref().filter(|id| !id.is_empty());
    let id = match node {
        Some(node) => format!("{site}/{}/{node}", form.id),
        None => format!("{site}/{}", form.id),
    };
    let said = |header: &Option<String>, keys: &[&str]| {
        let custom = keys.iter().filter_map(|key| incoming.custom_text(key));
        header
            .iter()
            .cloned()
            .chain(custom)
            .find_map(|text| moment(&text, zone))
    };
    let deadline = said(&headers.deadline, &["deadline", "close"]);
    let held = said(&headers.held, &["event_held"]);
    let rule = form.event.as_ref();
    let declared = |text: Option<&String>| text.and_then(|text| moment(text, zone));
    EventDates {
        id,
        deadline: deadline.or_else(|| declared(rule.and_then(|rule| rule.deadline.as_ref()))),
        held: held.or_else(|| declared(rule.and_then(|rule| rule.held.as_ref()))),
        from_message: deadline.is_some() || held.is_some(),
    }
}

/// The deadline that counts: what is recorded, unless this message postpones it.
pub(crate) fn deadline(recorded: Option<&EventDates>, message: &EventDates) -> Option<Timestamp> {
    let Some(recorded) = recorded else {
        return message.deadline;
    };
    match (recorded.deadline, message.deadline) {
        (Some(known), Some(said)) if message.from_message && !recorded.from_message => Some(said.max(known)),
        (Some(known), _) => Some(known),
        (None, said) => said,
    }
}

/// When the citizen sent it: the envelope's `completed`, else the AMQP timestamp, else its arrival.
pub(crate) fn sent_at(headers: &Headers, incoming: &Incoming, arrived: Timestamp) -> Timestamp {
    let stamped = headers.timestamp.and_then(|second| Timestamp::from_second(second).ok());
    incoming.envelope.completed.or(stamped).unwrap_or(arrived)
}
