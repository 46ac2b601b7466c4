//! What a site's message is: which form, which submission, which answers, whatever shape they came in.
//!
//! The shapes are recognised by their structure and by what the form declares, never by a single key's presence: a form
//! may have fields called `uuid`, `data`, `token` or `_billede`. Nothing is checked against the form's types here; that
//! is [`crate::check`]'s part.

mod envelope;
mod files;
mod layout;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use domain::quarantine::QuarantineReason;
use domain::{Form, FormId};
use serde_json::{Map, Value};

pub use self::envelope::Envelope;
pub(crate) use self::envelope::normalised;
pub use self::files::{Files, Upload};
use self::layout::Parts;
pub use self::token::Token;
use crate::coerce;
use crate::json;

/// Keys of custom data that mean something to Kvit. They are never answers, unless the form declares a field of the name.
const KVIT_CUSTOM: [&str; 4] = ["deadline", "close", "event_held", "kvit_event"];

/// How large a message may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `intake.max_message_bytes`.
    pub max_bytes: usize,
}

/// What the configuration says about the producer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SiteRules<'a> {
    /// `custom_data`: keys that the site's handler adds beside the answers.
    pub custom_data: &'a [String],
}

/// What the broker's properties say about a message; used where present, and above the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `content_type`.
    pub content_type: Option<String>,
    /// `content_encoding`; not believed: the bytes say what they are.
    pub content_encoding: Option<String>,
    /// `message_id`: identity where there is no uuid.
    pub message_id: Option<String>,
    /// The AMQP timestamp, in Unix seconds.
    pub timestamp: Option<i64>,
    /// `x-kvit-form`: the form's id.
    pub form: Option<String>,
    /// `x-kvit-uuid`: the submission's uuid on the site.
    pub uuid: Option<String>,
    /// `x-kvit-event`: what happened on the site.
    pub event: Option<String>,
    /// `x-kvit-sequence`: the site's own count.
    pub sequence: Option<i64>,
    /// `x-kvit-deadline`: the event's deadline.
    pub deadline: Option<String>,
    /// `x-kvit-held`: when the event has been held.
    pub held: Option<String>,
    /// `x-kvit-test`: a test, whatever the site's environment.
    pub test: bool,
}

impl Headers {
    /// Reads the `x-kvit-*` headers; an empty one counts as absent.
    #[must_use]
    pub fn from_map(
        headers: &BTreeMap<String, String>,
        content_type: Option<String>,
        content_encoding: Option<String>,
        message_id: Option<String>,
        timestamp: Option<i64>,
    ) -> Self {
        let named = |name: &str| {
            let value = headers.get(name)?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        Self {
            content_type,
            content_encoding,
            message_id: message_id.filter(|id| !id.is_empty()),
            timestamp,
            form: named("x-kvit-form"),
            uuid: named("x-kvit-uuid"),
            event: named("x-kvit-event"),
            sequence: named("x-kvit-sequence").and_then(|text| text.parse().ok()),
            deadline: named("x-kvit-deadline"),
            held: named("x-kvit-held"),
            test: named("x-kvit-test").is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true")),
        }
    }
}

/// What happened on the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The citizen sent it.
    Completed,
    /// It was changed later.
    Updated,
    /// The citizen took it back.
    Withdrawn,
    /// The site's copy is gone.
    Deleted,
    /// Not sent yet.
    Draft,
    /// Something that changes nothing here (Webform's `converted`, say).
    Other,
}

impl Event {
    fn from_word(word: &str) -> Self {
        match word {
            "completed" => Self::Completed,
            "updated" => Self::Updated,
            "withdrawn" => Self::Withdrawn,
            "deleted" => Self::Deleted,
            draft if draft.starts_with("draft") => Self::Draft,
            _ => Self::Other,
        }
    }
}

/// A message that was understood: its answers are still the site's own JSON, the envelope's token masked in it.
pub struct Incoming {
    /// Which form.
    pub form: FormId,
    /// Which submission.
    pub envelope: Envelope,
    /// The answers by field, declared or not; no envelope, no custom data, no expanded file.
    pub answers: Map<String, Value>,
    /// The files whose content came beside the answers.
    pub files: Files,
    /// What the site's handler added: keys listed in its `custom_data`, those that mean something to Kvit, and what stands
    /// beside `data` without being the envelope's.
    pub custom: Map<String, Value>,
    /// What happened, by the header, else by `kvit_event`; `None` where the site does not say.
    pub event: Option<Event>,
    /// The top-level fields in which the envelope's token stood.
    pub masked: Vec<String>,
}

impl Incoming {
    /// Whether it is a draft: ignored and counted.
    #[must_use]
    pub fn is_draft(&self) -> bool {
        self.event == Some(Event::Draft) || self.envelope.in_draft == Some(true)
    }

    /// The text of a key of custom data.
    #[must_use]
    pub fn custom_text(&self, key: &str) -> Option<String> {
        self.custom.get(key).and_then(coerce::filled_text)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("form", &self.form)
            .field("event", &self.event)
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

/// A message that cannot be taken, and goes to quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be taken: {reason}")]
pub struct Refusal {
    /// Why.
    pub reason: QuarantineReason,
    /// The form, where it is known all the same, so that its department can be told.
    pub form: Option<FormId>,
}

/// Finds a form of the message's site.
pub type FindForm<'a> = &'a dyn Fn(&FormId) -> Option<Arc<Form>>;

/// Reads a message in any of the shapes that sites send.
///
/// # Errors
///
/// `too_large`, `malformed` or `unknown_form`; the contract's "Messages from a site" says which is when.
pub fn read(
    body: &[u8],
    headers: &Headers,
    limits: &Limits,
    site: &SiteRules<'_>,
    forms: FindForm<'_>,
) -> Result<Incoming, Refusal> {
    let named = Named::by(headers, forms);
    let known = named.form_id();
    let refuse = |reason| Refusal {
        reason,
        form: known.clone(),
    };
    let message = match unwrapped(body, limits.max_bytes).map_err(refuse)? {
        Value::Object(message) => message,
        Value::Array(items) if items.is_empty() => Map::new(),
        _ => return Err(refuse(QuarantineReason::Malformed)),
    };
    if message.is_empty() && named == Named::Not {
        return Err(refuse(QuarantineReason::Malformed));
    }
    let (form, parts) = layout::parts(message, named, site, forms)?;
    Ok(assemble(&form, parts, headers, site))
}

/// The form that the header names.
#[derive(PartialEq)]
enum Named {
    /// No header.
    Not,
    /// The site has no such form.
    Unknown,
    /// This one.
    Known(Arc<Form>),
}

impl Named {
    fn by(headers: &Headers, forms: FindForm<'_>) -> Self {
        let Some(id) = &headers.form else {
            return Self::Not;
        };
        find(id, forms).map_or(Self::Unknown, Self::Known)
    }

    fn form_id(&self) -> Option<FormId> {
        match self {
            Self::Known(form) => Some(form.id.clone()),
            Self::Not | Self::Unknown => None,
        }
    }
}

/// The JSON, taken once out of a JSON string that holds it (`rabbitmq` 8.x-1.x encodes twice).
fn unwrapped(body: &[u8], max_bytes: usize) -> Result<Value, QuarantineReason> {
    match json::parse(body, max_bytes)? {
        Value::String(inner) => json::parse(inner.as_bytes(), max_bytes),
        value => Ok(value),
    }
}

fn find(id: &str, forms: FindForm<'_>) -> Option<Arc<Form>> {
    id.parse().ok().and_then(|id| forms(&id))
}

fn assemble(form: &Form, mut parts: Parts, headers: &Headers, site: &SiteRules<'_>) -> Incoming {
    let mut envelope = Envelope::read(&parts.envelope);
    if let Some(uuid) = headers.uuid.as_deref().and_then(envelope::uuid_from_header) {
        envelope.uuid = Some(uuid);
    }
    let mut data = Map::new();
    for (key, value) in parts.data {
        let custom = KVIT_CUSTOM.contains(&key.as_str()) || site.custom_data.contains(&key);
        if custom && !form.fields.contains_key(&key) {
            parts.custom.entry(key).or_insert(value);
        } else {
            data.insert(key, value);
        }
    }
    let (mut answers, mut files) = files::split(form, data);
    let masked = token::mask(envelope.token.as_ref(), &mut answers, &mut files);
    let said = headers
        .event
        .clone()
        .or_else(|| coerce::filled_text(parts.custom.get("kvit_event")?));
    Incoming {
        form: form.id.clone(),
        envelope,
        answers,
        files,
        custom: parts.custom,
        event: said.map(|word| Event::from_word(&word)),
        masked,
    }
}
