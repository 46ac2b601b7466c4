//! The canonical bytes of a submission's answers, which the idempotency digest is taken over.
//!
//! Two messages with the same answers have the same bytes, whatever the order of their keys, the way their numbers and
//! booleans are written, and what they leave out or send empty. The bytes hold personal data: only their keyed digest is
//! ever stored.

use domain::{Answers, Field, File, Form, Value};
use indexmap::IndexMap;
use serde_json::Value as Json;

/// The version of this encoding, first in the bytes: digests of different encodings never agree by accident.
const VERSION: &[u8] = b"kvit-answers-1\n";

/// The canonical bytes of all declared answers: coerced, computed ones left out, numbers canonical, files by id and whether
/// their content came, empties left out recursively, fields by key.
#[must_use]
pub fn canonical(form: &Form, answers: &Answers) -> Vec<u8> {
    let mut fields = field_canonicals(form, answers);
    fields.sort();
    let mut bytes = VERSION.to_vec();
    for (key, field) in fields.iter().filter(|(_, field)| !field.is_empty()) {
        put(&mut bytes, b'k', key.as_bytes());
        bytes.extend(field);
    }
    bytes
}

/// The canonical bytes of each declared field that is not computed, in the form's order; an empty field has none. Fields
/// whose bytes differ between two versions are what changed.
#[must_use]
pub fn field_canonicals(form: &Form, answers: &Answers) -> Vec<(String, Vec<u8>)> {
    let counted = |key: &String| form.fields.get(key).filter(|field| !field.computed);
    answers
        .declared
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), encoded(&counted(key)?.fields, value))))
        .collect()
}

/// A value's bytes: a letter for what it is, its length, its content, so that no two values share theirs. Nothing for what
/// says nothing: an unticked box is empty, because Drupal's cast makes one of the other.
fn encoded(fields: &IndexMap<String, Field>, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    match value {
        Value::Empty | Value::Boolean(false) => {}
        Value::Text(text) if text.is_empty() => {}
        Value::Text(text) => put(&mut bytes, b't', text.as_bytes()),
        Value::Number(digits) => put(&mut bytes, b'n', digits.as_bytes()),
        Value::Boolean(true) => put(&mut bytes, b'b', b"1"),
        Value::File(file) => put_file(&mut bytes, file),
        Value::Group(values) => {
            let counted = values
                .iter()
                .filter_map(|(key, value)| Some((key, value, fields.get(key)?)));
            let values = counted.filter(|(_, _, field)| !field.computed);
            bytes = object(values.map(|(key, value, field)| (key, encoded(&field.fields, value))));
        }
        Value::List(values) => bytes = list(values.iter().map(|value| encoded(fields, value))),
        Value::Other(json) => bytes = encoded_json(json),
    }
    bytes
}

/// A structure as it came: scalars as Drupal's reload writes them.
fn encoded_json(json: &Json) -> Vec<u8> {
    match json {
        Json::Object(fields) => object(fields.iter().map(|(key, value)| (key, encoded_json(value)))),
        Json::Array(items) => list(items.iter().map(encoded_json)),
        scalar => {
            let mut bytes = Vec::new();
            if let Some(text) = crate::coerce::filled_text(scalar) {
                put(&mut bytes, b't', text.as_bytes());
            }
            bytes
        }
    }
}

fn put_file(bytes: &mut Vec<u8>, file: &File) {
    match (&file.id, &file.content) {
        (Some(id), content) => {
            put(bytes, b'f', id.as_bytes());
            bytes.push(if content.is_some() { b'+' } else { b'-' });
        }
        (None, Some(content)) => put(bytes, b'c', content),
        (None, None) => put(bytes, b'c', file.name.as_deref().unwrap_or_default().as_bytes()),
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a String, Vec<u8>)>) -> Vec<u8> {
    let mut fields: Vec<_> = fields.filter(|(_, value)| !value.is_empty()).collect();
    fields.sort();
    let mut inner = Vec::new();
    for (key, value) in fields {
        put(&mut inner, b'k', key.as_bytes());
        inner.extend(value);
    }
    wrapped(b'g', &inner)
}

fn list(values: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    wrapped(b'l', &values.flatten().collect::<Vec<u8>>())
}

fn wrapped(kind: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !inner.is_empty() {
        put(&mut bytes, kind, inner);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.push(kind);
    bytes.extend(content.len().to_string().as_bytes());
    bytes.push(b':');
    bytes.extend(content);
}
