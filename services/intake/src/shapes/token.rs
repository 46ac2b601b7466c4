//! The envelope's token: it opens the submission on the site, so it is nowhere stored, logged or mailed.

use std::fmt;

use serde_json::{Map, Value};

use super::Files;

/// What stands where the token stood.
const MASK: &str = "***";

/// The token of a submission. It is only ever looked for, to be masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads a token as Webform makes it: 43 characters of base64url. Somewhat shorter and longer ones are taken as well;
    /// a very short one would mask innocent text.
    pub(super) fn read(text: &str) -> Option<Self> {
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        ((20..=128).contains(&text.len()) && text.bytes().all(base64url)).then(|| Self(text.to_owned()))
    }

    /// The text without the token, where it stood in it.
    fn masked(&self, text: &str) -> Option<String> {
        text.contains(&self.0).then(|| text.replace(&self.0, MASK))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Masks the token wherever it stands in answers, their keys and files' names (Remote Post expands
/// `[webform_submission:token]` when a citizen types it), and says in which fields it stood.
pub(super) fn mask(token: Option<&Token>, answers: &mut Map<String, Value>, files: &mut Files) -> Vec<String> {
    let Some(token) = token else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in answers.iter_mut() {
        if mask_value(token, value) {
            found.push(key.clone());
        }
    }
    if answers.keys().any(|key| token.masked(key).is_some()) {
        mask_keys(token, answers);
        found = found.into_iter().map(|key| token.masked(&key).unwrap_or(key)).collect();
    }
    for upload in files.iter_mut() {
        if let Some(name) = upload.name.as_deref().and_then(|name| token.masked(name)) {
            upload.name = Some(name);
        }
    }
    found
}

fn mask_value(token: &Token, value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            let masked = token.masked(text);
            let found = masked.is_some();
            *text = masked.unwrap_or_else(|| std::mem::take(text));
            found
        }
        Value::Array(items) => mask_all(token, items.iter_mut()),
        Value::Object(fields) => {
            let in_keys = fields.keys().any(|key| token.masked(key).is_some());
            if in_keys {
                mask_keys(token, fields);
            }
            mask_all(token, fields.values_mut()) || in_keys
        }
        _ => false,
    }
}

fn mask_all<'v>(token: &Token, values: impl Iterator<Item = &'v mut Value>) -> bool {
    values
        .filter_map(|value| mask_value(token, value).then_some(()))
        .count()
        > 0
}

fn mask_keys(token: &Token, fields: &mut Map<String, Value>) {
    let unmasked = std::mem::take(fields);
    fields.extend(
        unmasked
            .into_iter()
            .map(|(key, value)| (token.masked(&key).unwrap_or(key), value)),
    );
}
