//! A submission on its way into a journal: what every target needs of it, opened in memory.

use std::sync::Arc;

use domain::cpr::Cpr;
use domain::form::{Archive, JournalRule};
use domain::{Form, Language, Reason, Submission, Value};
use jiff::Timestamp;
use ledger::{EvidenceView, Theme};
use letter::Record;
use uuid::Uuid;
use vault::Index;

/// A submission with everything that an entry must say of it.
pub(crate) struct Entry {
    /// The version's id: the submission's, or that of the request that brought it. What makes a repeat recognisable.
    pub(crate) id: Uuid,
    /// The submission.
    pub(crate) submission: Submission,
    /// Its form as it is configured now.
    pub(crate) form: Arc<Form>,
    /// What people read, and the files.
    pub(crate) record: Record,
    /// The rule's words.
    pub(crate) rule: Rule,
    /// What identifies the parties; personal.
    pub(crate) parties: Vec<String>,
    /// How it came (J3).
    pub(crate) channel: &'static str,
    /// What has happened to the submission (J5).
    pub(crate) evidence: Vec<EvidenceView>,
    /// Who the controller is.
    pub(crate) controller: String,
    /// In which language it is described.
    pub(crate) language: Language,
    /// When it is journalised.
    pub(crate) now: Timestamp,
}

/// What a form's rule says of every entry.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) theme: Theme,
    pub(crate) kle: Option<String>,
    pub(crate) period: String,
    pub(crate) archive: Archive,
}

impl Rule {
    /// J2: what names no theme is not journalised; D4: nor what says not how long it is kept.
    pub(crate) fn of(form: &Form, language: Language) -> Result<Self, Reason> {
        let rule = form.journal.as_ref().filter(|rule| !rule.is_never());
        let rule: &JournalRule = rule.ok_or(Reason::UnknownForm)?;
        let theme = rule.theme.as_ref().map(|theme| theme.get(language));
        Ok(Self {
            theme: theme.and_then(Theme::new).ok_or(Reason::ThemeMissing)?,
            kle: rule.kle.clone(),
            period: rule.period.clone().ok_or(Reason::UnknownForm)?,
            archive: rule.archive.ok_or(Reason::UnknownForm)?,
        })
    }
}

/// What identifies the parties of a submission: the values of the field that the form's rule names.
pub(crate) fn parties(submission: &Submission, form: &Form) -> Vec<String> {
    let field = form.journal.as_ref().and_then(|rule| rule.party.as_ref());
    let value = field.and_then(|field| submission.answers.get(field));
    let mut found = Vec::new();
    if let Some(value) = value {
        texts(value, &mut found);
    }
    found
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Text(text) | Value::Number(text) if !text.trim().is_empty() => found.push(normal(text)),
        Value::List(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Group(members) => members.iter().for_each(|(_, value)| texts(value, found)),
        _ => {}
    }
}

/// One way of writing what identifies a person: a CPR number in its digits, anything else without case and gaps.
pub(crate) fn normal(text: &str) -> String {
    match Cpr::parse(text) {
        Some(cpr) => cpr.expose().to_owned(),
        None => text.split_whitespace().collect::<String>().to_lowercase(),
    }
}

/// The digest by which a party is found, for as long as the journal lives.
pub(crate) fn party_digest(index: &Index, party: &str) -> Vec<u8> {
    index.name("journal party", &[normal(party).as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_party_however_it_is_written() {
        for text in ["010190-1234", "0101901234", " 010190 1234 "] {
            assert_eq!(normal(text), "0101901234");
        }
        assert_eq!(normal("12 34 56 78"), "12345678");
        assert_eq!(normal("Åse@Example.dk "), "åse@example.dk");
    }
}
