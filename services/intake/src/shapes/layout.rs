//! Where the envelope, the answers and the site's own additions stand in a message.

use std::sync::Arc;

use domain::Form;
use domain::quarantine::QuarantineReason;
use serde_json::{Map, Value};

use super::envelope::{self, KEYS};
use super::{FindForm, KVIT_CUSTOM, Named, Refusal, SiteRules, find};

/// A message taken apart.
#[derive(Default)]
pub(super) struct Parts {
    /// Webform's base fields.
    pub(super) envelope: Map<String, Value>,
    /// The answers, still with expanded files and, in a flat message, undeclared custom data among them.
    pub(super) data: Map<String, Value>,
    /// What the site's handler added.
    pub(super) custom: Map<String, Value>,
}

/// Finds the form and takes the message apart.
pub(super) fn parts(
    message: Map<String, Value>,
    named: Named,
    site: &SiteRules<'_>,
    forms: FindForm<'_>,
) -> Result<(Arc<Form>, Parts), Refusal> {
    let rest = is_rest(&message);
    let id = form_id(&message, rest);
    let has_header = named != Named::Not;
    let form = match named {
        Named::Not => id.and_then(|id| find(&id, forms)),
        Named::Unknown => None,
        Named::Known(form) => Some(form),
    };
    let refuse = |reason, form: Option<&Arc<Form>>| {
        Err(Refusal {
            reason,
            form: form.map(|form| form.id.clone()),
        })
    };

    if is_field_lists(&message) || is_queue_row(&message, form.as_deref()) {
        return refuse(QuarantineReason::Malformed, form.as_ref());
    }
    let Some(form) = form else {
        return refuse(QuarantineReason::UnknownForm, None);
    };
    if rest {
        return match from_rest(message) {
            Some(parts) => Ok((form, parts)),
            None => refuse(QuarantineReason::Malformed, Some(&form)),
        };
    }
    if is_enveloped(&message, &form) {
        return Ok((form, from_enveloped(message)));
    }
    if !has_header && form.fields.contains_key("webform_id") {
        // What stands there is what the citizen answered.
        return refuse(QuarantineReason::UnknownForm, None);
    }
    let parts = from_flat(message, &form, site);
    Ok((form, parts))
}

/// The form that the body names.
fn form_id(message: &Map<String, Value>, rest: bool) -> Option<String> {
    let body = if rest {
        message.get("entity")?.as_object()?
    } else {
        message
    };
    match body.get("webform_id")? {
        Value::String(id) => Some(id.clone()),
        list => envelope::first_item(list)?.as_str().map(str::to_owned),
    }
}

/// Shape 3: what `webform_rest` answers.
fn is_rest(message: &Map<String, Value>) -> bool {
    let Some(Value::Object(entity)) = message.get("entity") else {
        return false;
    };
    let is_list = |key| entity.get(key).and_then(envelope::first_item).is_some();
    !message.get("webform_id").is_some_and(Value::is_string) && (is_list("webform_id") || is_list("uuid"))
}

/// `toArray()` without TRUE: every base field a list of items, and no answers.
fn is_field_lists(message: &Map<String, Value>) -> bool {
    let item = |key| message.get(key).and_then(envelope::first_item).is_some();
    item("webform_id") && (item("uuid") || item("sid") || item("token"))
}

/// A row of Drupal's queue table, whose `data` PHP has serialized. A form that declares `data` may ask for such a text.
fn is_queue_row(message: &Map<String, Value>, form: Option<&Form>) -> bool {
    const ROW: [&str; 5] = ["item_id", "name", "data", "expire", "created"];
    let serialized = |text: &str| {
        matches!(
            text.as_bytes(),
            [b's' | b'a' | b'O' | b'C' | b'i' | b'b' | b'd', b':', ..]
        )
    };
    message.contains_key("item_id")
        && message.keys().all(|key| ROW.contains(&key.as_str()))
        && message.get("data").and_then(Value::as_str).is_some_and(serialized)
        && !form.is_some_and(|form| form.fields.contains_key("data"))
}

/// Shape 1 (`toArray(TRUE)`, answers under `data`) rather than 2 or 4 (flat, where `data` can only be a field).
fn is_enveloped(message: &Map<String, Value>, form: &Form) -> bool {
    let empty = Map::new();
    let data = match message.get("data") {
        Some(Value::Object(data)) => data,
        Some(Value::Array(items)) if items.is_empty() => &empty,
        _ => return false,
    };
    let declared = |key: &str| form.fields.contains_key(key);
    let is_beside = |key: &&String| declared(key) && *key != "data" && !KEYS.contains(&key.as_str());
    let beside = message
        .keys()
        .filter(is_beside)
        .filter(|key| !KVIT_CUSTOM.contains(&key.as_str()))
        .count();
    let below = data.keys().filter(|key| declared(key)).count();
    match form.fields.get("data") {
        None => beside == 0 || below > beside,
        Some(_) if beside > 0 => false,
        Some(_) if data.is_empty() || data.contains_key("data") => true,
        Some(field) => below > data.keys().filter(|key| field.fields.contains_key(*key)).count(),
    }
}

fn from_enveloped(message: Map<String, Value>) -> Parts {
    let mut parts = Parts::default();
    for (key, value) in message {
        match value {
            Value::Object(data) if key == "data" => parts.data = data,
            _ if key == "data" => {}
            value if KEYS.contains(&key.as_str()) => drop(parts.envelope.insert(key, value)),
            value => drop(parts.custom.insert(key, value)),
        }
    }
    parts
}

/// `None` where there are no answers in it.
fn from_rest(message: Map<String, Value>) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut answered = false;
    for (key, value) in message {
        match (key.as_str(), value) {
            ("entity", Value::Object(entity)) => {
                let items = entity
                    .into_iter()
                    .filter_map(|(key, list)| Some((key, envelope::first_item(&list)?.clone())));
                parts.envelope = items.collect();
            }
            ("data", Value::Object(data)) => {
                answered = true;
                parts.data = data;
            }
            ("data", Value::Array(items)) => answered = items.is_empty(),
            (_, value) => drop(parts.custom.insert(key, value)),
        }
    }
    answered.then_some(parts)
}

/// Shapes 2 and 4. A declared field is an answer whatever its name; a key of the envelope's whose value cannot be the
/// envelope's is one too, of a field that the form does not declare.
fn from_flat(message: Map<String, Value>, form: &Form, site: &SiteRules<'_>) -> Parts {
    let mut parts = Parts::default();
    for (key, value) in message {
        if site.custom_data.contains(&key) {
            parts.custom.insert(key, value);
        } else if !form.fields.contains_key(&key) && envelope::may_be(&key, &value) {
            parts.envelope.insert(key, value);
        } else {
            parts.data.insert(key, value);
        }
    }
    parts
}
