//! Mails as their reader sees them: headers, parts, and what was encrypted.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Language;
use jiff::tz::TimeZone;
use kvit_cli::demo::inbox::Mail;
use letter::Facts;
use openpgp::{Mailbox, UnsealKey};

/// A MIME entity.
#[derive(Clone, Default)]
pub struct Entity {
    /// Names in lower case, values unfolded, in order.
    pub headers: Vec<(String, String)>,
    /// The decoded content of a leaf.
    pub content: Vec<u8>,
    /// The parts of a multipart.
    pub parts: Vec<Entity>,
}

impl Entity {
    /// Reads an entity.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        Self::from_text(&text)
    }

    fn from_text(text: &str) -> Self {
        let (head, body) = match text.strip_prefix('\n') {
            Some(body) => ("", body),
            None => text.split_once("\n\n").unwrap_or((text, "")),
        };
        let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
        let fields = unfolded.lines().filter_map(|line| line.split_once(':'));
        let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut entity = Self {
            headers: headers.collect(),
            ..Self::default()
        };
        match entity.boundary() {
            Some(boundary) => {
                let marker = format!("--{boundary}");
                let whole = format!("\n{body}");
                let separator = format!("\n{marker}");
                let pieces = whole.split(&separator).skip(1);
                entity.parts = pieces
                    .take_while(|piece| !piece.starts_with("--"))
                    .map(|piece| Self::from_text(piece.strip_prefix('\n').unwrap_or(piece)))
                    .collect();
            }
            None => entity.content = decoded(body, entity.header("content-transfer-encoding")),
        }
        entity
    }

    fn boundary(&self) -> Option<String> {
        let kind = self.header("content-type");
        if !kind.to_ascii_lowercase().starts_with("multipart/") {
            return None;
        }
        let rest = kind.split_once("boundary=")?.1;
        let value = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split(';').next(),
        };
        value.map(|value| value.trim().to_owned())
    }

    /// The first value of a header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value)
    }

    /// Every part that has no parts.
    #[must_use]
    pub fn leaves(&self) -> Vec<&Self> {
        if self.parts.is_empty() {
            return vec![self];
        }
        self.parts.iter().flat_map(Self::leaves).collect()
    }

    /// The first leaf of this type, as text.
    #[must_use]
    pub fn text(&self, kind: &str) -> String {
        let leaves = self.leaves();
        let found = leaves.iter().find(|leaf| leaf.header("content-type").starts_with(kind));
        found.map_or_else(String::new, |leaf| String::from_utf8_lossy(&leaf.content).into_owned())
    }

    /// The leaf whose type or disposition names this file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Self> {
        self.leaves().into_iter().find(|leaf| {
            leaf.header("content-disposition").contains(name) || leaf.header("content-type").contains(name)
        })
    }
}

/// Those that are encrypted: a department's mails, and not the notices to it.
#[must_use]
pub fn encrypted(mut mails: Vec<Mail>) -> Vec<Mail> {
    mails.retain(|mail| {
        let outer = Entity::read(&mail.data);
        outer.header("content-type").starts_with("multipart/encrypted")
    });
    mails
}

/// The encrypted part of a department's mail, opened.
///
/// # Errors
///
/// Where it is no `multipart/encrypted` of two parts, or the key does not open it.
pub fn opened(mail: &Mail, key: &UnsealKey) -> anyhow::Result<Entity> {
    let outer = Entity::read(&mail.data);
    anyhow::ensure!(
        outer.header("content-type").starts_with("multipart/encrypted") && outer.parts.len() == 2,
        "not an encrypted mail"
    );
    let inner = key
        .open(&outer.parts[1].content, 100_000_000)
        .context("opening the department's mail")?;
    Ok(Entity::read(&inner))
}

/// Everything that somebody without a key can read in a mail: its bytes, and its leaves decoded.
#[must_use]
pub fn reads(mail: &Mail) -> String {
    let mut text = String::from_utf8_lossy(&mail.data).into_owned();
    for leaf in Entity::read(&mail.data).leaves() {
        text += &String::from_utf8_lossy(&leaf.content);
    }
    text
}

fn decoded(body: &str, encoding: &str) -> Vec<u8> {
    match encoding.to_ascii_lowercase().as_str() {
        "base64" => {
            let packed: String = body.split_ascii_whitespace().collect();
            STANDARD.decode(packed).unwrap_or_default()
        }
        "quoted-printable" => quoted_printable(body),
        _ => body.as_bytes().to_vec(),
    }
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        if let (b'=', Some(byte)) = (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

/// The controller whose letters the tests compose.
///
/// # Panics
///
/// Where the machine has no time zones.
#[must_use]
pub fn controller() -> Facts {
    Facts {
        name: "Eksempel Kommune".to_owned(),
        address: "Rådhuspladsen 1, 9999 Eksempel".to_owned(),
        dpo: "https://dpo.eksempel.example".to_owned(),
        contact_url: "https://eksempel.example/digital-post".to_owned(),
        privacy_url: "https://eksempel.example/databeskyttelse".to_owned(),
        complaint: "Datatilsynet, www.datatilsynet.dk".to_owned(),
        language: Language::Da,
        time_zone: TimeZone::get("Europe/Copenhagen").expect("a time zone"),
        from: Mailbox::parse("Blåbjerg Kommune <kvittering@eksempel.example>").expect("a mailbox"),
    }
}
