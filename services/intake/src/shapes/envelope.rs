//! The envelope: which submission on the site a message is about.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Token;
use crate::coerce;

/// Webform's base fields. `notes`, `remote_addr` and the rest are read past: nothing but the answers is passed on (P3).
pub(super) const KEYS: [&str; 19] = [
    "serial",
    "sid",
    "uuid",
    "token",
    "uri",
    "created",
    "completed",
    "changed",
    "in_draft",
    "current_page",
    "remote_addr",
    "uid",
    "langcode",
    "webform_id",
    "entity_type",
    "entity_id",
    "locked",
    "sticky",
    "notes",
];

/// The longest id that is kept.
const MAX_ID: usize = 128;

/// Which submission, when, and in which state on the site. What is not there, or not readable, is `None`.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// The submission's uuid: the identity of all its versions.
    pub uuid: Option<String>,
    /// Its number on the site; empty where nothing is stored there.
    pub sid: Option<String>,
    /// Its number within the form; it has gaps by nature.
    pub serial: Option<String>,
    /// When it was begun.
    pub created: Option<Timestamp>,
    /// When it was sent.
    pub completed: Option<Timestamp>,
    /// When it was last changed, to the second.
    pub changed: Option<Timestamp>,
    /// Whether it is a draft.
    pub in_draft: Option<bool>,
    /// The language it was filled in in.
    pub langcode: Option<String>,
    /// What it was sent through: `node`, say.
    pub entity_type: Option<String>,
    /// Which one of those: the event, where several share a form.
    pub entity_id: Option<String>,
    /// What opens the submission on the site.
    pub token: Option<Token>,
}

impl Envelope {
    pub(super) fn read(fields: &Map<String, Value>) -> Self {
        let id = |key| coerce::filled_text(fields.get(key)?).and_then(|text| printable(&text));
        let time = |key| coerce::time(fields.get(key)?);
        Self {
            uuid: id("uuid").map(normalised),
            sid: id("sid"),
            serial: id("serial"),
            created: time("created"),
            completed: time("completed"),
            changed: time("changed"),
            in_draft: fields.get("in_draft").and_then(coerce::boolean),
            langcode: id("langcode"),
            entity_type: id("entity_type"),
            entity_id: id("entity_id"),
            token: fields.get("token").and_then(Value::as_str).and_then(Token::read),
        }
    }
}

/// Whether a key of a flat message is the envelope's: of its names, and with a value that Webform could have put there.
/// So an undeclared field that happens to be called `uuid` neither merges two citizens' submissions nor gets lost.
pub(super) fn may_be(key: &str, value: &Value) -> bool {
    let empty = coerce::is_empty(value);
    match key {
        "uuid" => empty || value.as_str().is_some_and(|text| Uuid::try_parse(text).is_ok()),
        "sid" | "serial" => empty || coerce::text(value).is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit())),
        "created" | "completed" | "changed" => {
            empty || coerce::time(value).is_some() || coerce::number(value).is_some_and(|number| number == "0")
        }
        "in_draft" => empty || coerce::boolean(value).is_some(),
        _ => KEYS.contains(&key),
    }
}

/// The value of a field list's first item (`[{"value":…}]`, `[{"target_id":…}]`), as entities are exported.
pub(super) fn first_item(list: &Value) -> Option<&Value> {
    let item = list.as_array()?.first()?.as_object()?;
    item.get("value").or_else(|| item.get("target_id"))
}

pub(super) fn uuid_from_header(text: &str) -> Option<String> {
    printable(text).map(normalised)
}

/// A uuid in its usual writing, so that another one finds the same submission; any other id as it is.
pub(crate) fn normalised(id: String) -> String {
    match Uuid::try_parse(&id) {
        Ok(uuid) => uuid.hyphenated().to_string(),
        Err(_) => id,
    }
}

/// An id that is short and has no blank or control character.
fn printable(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    plain.then(|| text.to_owned())
}
