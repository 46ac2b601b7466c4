//! What a site publishes.

use std::collections::BTreeMap;
use std::path::Path;

use broker::Properties;
use serde_json::{Value, json};

/// A message of a site. Clones are repeats.
#[derive(Clone, Default)]
pub struct Message {
    /// The body.
    pub body: Vec<u8>,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The content type; none by default, as Drupal sends it.
    pub content_type: Option<String>,
    /// The content encoding.
    pub content_encoding: Option<String>,
    /// The message's id.
    pub message_id: Option<String>,
}

impl Message {
    /// These bytes.
    #[must_use]
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// This JSON.
    #[must_use]
    pub fn json(body: &Value) -> Self {
        Self::bytes(body.to_string())
    }

    /// With this header.
    #[must_use]
    pub fn with(mut self, header: &str, value: impl Into<String>) -> Self {
        self.headers.insert(header.to_owned(), value.into());
        self
    }

    /// With this content type.
    #[must_use]
    pub fn typed(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    pub(crate) fn properties(&self) -> Properties {
        Properties {
            content_type: self.content_type.clone(),
            content_encoding: self.content_encoding.clone(),
            message_id: self.message_id.clone(),
            headers: self.headers.clone(),
            ..Properties::default()
        }
    }
}

/// The real Drupal's payload with this number, exactly as it was sent.
///
/// # Panics
///
/// Where there is none.
#[must_use]
pub fn payload(number: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/drupal");
    let found = std::fs::read_dir(dir).expect("the payloads").flatten().find(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(&format!("{number}-"))
    });
    std::fs::read(found.expect("a payload with this number").path()).expect("a payload")
}

/// A report to `teknik-miljoe` with these answers, in the shape of `WebformSubmission::toArray(TRUE)`.
///
/// It has what the form requires; `answers` replaces and adds.
#[must_use]
pub fn report(uuid: &str, answers: &Value) -> Value {
    let mut data = json!({
        "navn": "Åse Ærø", "e_mail": "aase@borger.example", "telefon": "", "kategori": "hul_i_vej",
        "beskrivelse": "Et stort hul i vejen ved kirken", "kopi": 0
    });
    for (key, value) in answers.as_object().into_iter().flatten() {
        data[key] = value.clone();
    }
    json!({
        "serial": "1", "sid": "1", "uuid": uuid, "token": "y7xse42KiavUkXAZi06oJM7EXISFA-Ovtn2kPNdI1PU",
        "uri": "/webform/anmeldelse_teknik_miljoe", "created": 1_795_304_923, "completed": 1_795_304_923,
        "changed": 1_795_304_923, "in_draft": false, "current_page": "", "remote_addr": "127.0.0.1", "uid": 0,
        "langcode": "da", "webform_id": "anmeldelse_teknik_miljoe", "entity_type": "", "entity_id": "",
        "locked": false, "sticky": false, "notes": "", "data": data
    })
}

/// A number that the office gives out for tests: it names nobody.
pub const CPR: &str = "010190-1234";

/// A form whose submissions all go into the journal, with the submitter as the party.
pub const CASE: &str = r#"
id = "ansoegning"
site = "eksempel"
title = { da = "Ansøgning om hjælp" }
department = "social"
purpose = { da = "behandle din ansøgning" }
legal_basis = ["gdpr-6-1-e", "dbl-11"]
[fields.navn]
label = { da = "Navn" }
[fields.cpr]
label = { da = "CPR-nummer" }
type = "cpr"
class = "confidential"
[fields.besked]
label = { da = "Besked" }
[fields.bilag]
label = { da = "Bilag" }
type = "file"
[journal]
when = "always"
theme = { da = "Ansøgning om hjælp i hjemmet" }
kle = "27.36.04"
party = "cpr"
period = "P5Y"
archive = "discard"
"#;

/// An application with a file whose name holds a number.
#[must_use]
pub fn application(n: u32, besked: &str) -> Message {
    Message::json(&json!({
        "webform_id": "ansoegning",
        "uuid": format!("5b5e4f3e-0000-4000-8000-0000000006{n:02}"),
        "navn": "Åse Ærø", "cpr": CPR, "besked": besked, "bilag": 7,
        "_bilag": {"id": 7, "name": "0101901234 laegebrev.pdf", "uri": "private://x.pdf", "mime": "application/pdf",
            "uuid": "x", "data": "aGVqIGhlag=="}
    }))
}
