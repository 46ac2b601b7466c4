//! The dates of an event, and who may change them.
//!
//! An operator's date stands. The first message's date replaces the form's, and later messages only postpone it.

use jiff::Timestamp;

/// Who said a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The form's file.
    Form,
    /// A message from the site.
    Message,
    /// A person (`kvit event set`).
    Operator,
}

/// A date and who said it.
pub type Dated = (Timestamp, Source);

/// The dates that one side says, or that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates<T> {
    /// The registration deadline.
    pub deadline: Option<T>,
    /// When the event has been held.
    pub held: Option<T>,
}

impl<T> Default for Dates<T> {
    fn default() -> Self {
        Self {
            deadline: None,
            held: None,
        }
    }
}

/// What is known of an event after a message about it.
#[must_use]
pub fn after_message(recorded: Dates<Dated>, message: Dates<Timestamp>, form: Dates<Timestamp>) -> Dates<Dated> {
    Dates {
        deadline: one(recorded.deadline, message.deadline, form.deadline),
        held: one(recorded.held, message.held, form.held),
    }
}

fn one(recorded: Option<Dated>, message: Option<Timestamp>, form: Option<Timestamp>) -> Option<Dated> {
    match recorded {
        Some((_, Source::Operator)) => recorded,
        Some((known, Source::Message)) => Some((message.map_or(known, |said| said.max(known)), Source::Message)),
        Some((_, Source::Form)) | None => {
            let message = message.map(|said| (said, Source::Message));
            message.or(form.map(|said| (said, Source::Form))).or(recorded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// E4
    #[test]
    fn an_operators_date_stands_and_a_messages_is_only_postponed() {
        let operator = Some((at(5), Source::Operator));
        assert_eq!(one(operator, Some(at(9)), Some(at(1))), operator);
        let said = Some((at(5), Source::Message));
        assert_eq!(one(said, Some(at(9)), Some(at(1))), Some((at(9), Source::Message)));
        assert_eq!(one(said, Some(at(3)), Some(at(1))), said);
        assert_eq!(one(said, None, Some(at(9))), said);
    }

    /// E4
    #[test]
    fn the_first_messages_date_replaces_the_forms() {
        let form = Some((at(5), Source::Form));
        assert_eq!(one(form, Some(at(3)), Some(at(5))), Some((at(3), Source::Message)));
        assert_eq!(one(form, None, Some(at(7))), Some((at(7), Source::Form)));
        assert_eq!(one(None, None, Some(at(7))), Some((at(7), Source::Form)));
        assert_eq!(one(None, None, None), None);
        assert_eq!(one(form, None, None), form);
    }
}
