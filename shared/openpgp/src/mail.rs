//! The sealed mail: a whole RFC 5322 message whose body is one encrypted OpenPGP message (RFC 3156).
//!
//! [`SealedMail::compose`] writes one form, and [`SealedMail::from_stored`] takes that form and no other. A later form
//! must be added beside it: mails of the old one may wait in the ledger for days.

use std::fmt;

use domain::EmailAddress;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memchr3;

use crate::armor::{self, SessionKeys};
use crate::header::{self, Mailbox};
use crate::seal::{SealError, Sealing, encrypt};

/// RFC 5322's longest line, without CRLF.
const LONGEST_LINE: usize = 998;

/// What the outer header may hold: what delivery needs, and nothing of the form. The first seven must be there.
const FIELDS: [&str; 10] = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Reply-To",
    "References",
    "Auto-Submitted",
];
const NEEDED: usize = 7;

/// The parts of the outer header that every relay reads.
#[derive(Debug, Clone, Copy)]
pub struct Outer<'a> {
    /// Who sends.
    pub from: &'a Mailbox,
    /// Who receives.
    pub to: &'a EmailAddress,
    /// Where answers go.
    pub reply_to: Option<&'a EmailAddress>,
    /// The subject that anybody may read.
    pub subject: &'a str,
    /// The message's identifier, without angle brackets.
    pub message_id: &'a str,
    /// Identifiers of the earlier mails that it belongs to, without angle brackets.
    pub references: &'a [String],
    /// When it was made.
    pub date: Timestamp,
    /// Whether it says that no person wrote it (RFC 3834).
    pub auto_submitted: bool,
}

/// Why stored bytes are no sealed mail.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    /// Not text in lines that end with CRLF, of at most 998 octets.
    #[error("not the lines of a mail")]
    Lines,
    /// A field is missing, twice there, or not one of those that a sealed mail has.
    #[error("not the header of a sealed mail")]
    Header,
    /// Not exactly the version part and the encrypted part.
    #[error("not the two parts of an encrypted mail")]
    Parts,
    /// The second part is not one encrypted OpenPGP message and nothing else.
    #[error("not one encrypted OpenPGP message")]
    Content(#[source] Option<anyhow::Error>),
}

/// A whole mail that only its recipients' keys open.
///
/// There are two ways to one: encrypting here, and bytes that are checked to be such a mail.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedMail(Vec<u8>);

impl SealedMail {
    /// Encrypts `inner`, a MIME entity with its protected header fields, and puts it into a mail.
    ///
    /// # Errors
    ///
    /// [`SealError::Header`] where a value could change the header, or what [`encrypt`] fails with.
    pub fn compose(outer: &Outer<'_>, inner: &[u8], sealing: &Sealing<'_>) -> Result<Self, SealError> {
        let boundary = new_boundary().map_err(SealError::Backend)?;
        let mut mail = head(outer, &boundary)?;
        let message = encrypt(inner, sealing)?;
        let message = str::from_utf8(&message).map_err(|error| SealError::Backend(error.into()))?;
        mail.reserve(message.len() + message.len() / 32 + 512);
        mail.push_str(&opening(&boundary));
        for line in message.trim_end().lines() {
            mail.push_str(line);
            mail.push_str("\r\n");
        }
        mail.push_str(&closing(&boundary));
        Ok(Self(mail.into_bytes()))
    }

    /// Takes back what [`SealedMail::compose`] made and a store kept.
    ///
    /// # Errors
    ///
    /// [`NotSealed`] for everything else: a plaintext mail, one with something beside the encrypted message, a message
    /// that is signed or compressed only, or one cut short.
    pub fn from_stored(bytes: Vec<u8>) -> Result<Self, NotSealed> {
        check(&bytes)?;
        Ok(Self(bytes))
    }

    /// The mail as it is sent, before dot-stuffing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The mail as it is sent, before dot-stuffing.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for SealedMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedMail({} octets)", self.0.len())
    }
}

/// Refuses every value that could end its line or stand for something else.
fn check_outer(outer: &Outer<'_>) -> Result<(), SealError> {
    let checks = [
        ("sender", outer.from.name.as_deref().is_none_or(header::is_safe)),
        ("subject", header::is_safe(outer.subject)),
        ("message identifier", header::is_message_id(outer.message_id)),
        (
            "references",
            outer
                .references
                .iter()
                .all(|reference| header::is_message_id(reference)),
        ),
    ];
    match checks.into_iter().find(|(_, is_safe)| !is_safe) {
        Some((what, _)) => Err(SealError::Header(what)),
        None => Ok(()),
    }
}

fn head(outer: &Outer<'_>, boundary: &str) -> Result<String, SealError> {
    check_outer(outer)?;
    let date = jiff::fmt::rfc2822::to_string(&outer.date.to_zoned(TimeZone::UTC));
    let mut head = String::new();
    let mut field = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
    field("Date", &date.map_err(|error| SealError::Backend(error.into()))?);
    field("From", &header::mailbox(outer.from));
    field("To", outer.to.expose());
    if let Some(address) = outer.reply_to {
        field("Reply-To", address.expose());
    }
    field("Subject", &header::unstructured(outer.subject));
    field("Message-ID", &format!("<{}>", outer.message_id));
    if !outer.references.is_empty() {
        let references: Vec<String> = outer
            .references
            .iter()
            .map(|reference| format!("<{reference}>"))
            .collect();
        field("References", &references.join("\r\n "));
    }
    if outer.auto_submitted {
        field("Auto-Submitted", "auto-generated");
    }
    field("MIME-Version", "1.0");
    field("Content-Type", &content_type(boundary));
    head.push_str("\r\n");
    Ok(head)
}

fn new_boundary() -> anyhow::Result<String> {
    use std::fmt::Write;

    let mut random = [0; 16];
    // sequoia's own makes a generator anew at each call: a tenth of what encrypting a mail costs.
    getrandom::fill(&mut random)?;
    let mut boundary = String::from("=_");
    for octet in random {
        write!(boundary, "{octet:02x}")?;
    }
    Ok(boundary)
}

fn content_type(boundary: &str) -> String {
    format!("multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n boundary=\"{boundary}\"")
}

/// Everything of the body before the OpenPGP message.
fn opening(boundary: &str) -> String {
    format!(
        "--{boundary}\r\n\
         Content-Type: application/pgp-encrypted\r\n\
         Content-Description: PGP/MIME version identification\r\n\
         \r\n\
         Version: 1\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
         Content-Description: OpenPGP encrypted message\r\n\
         Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\
         \r\n"
    )
}

/// Everything of the body after the OpenPGP message.
fn closing(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

fn check(bytes: &[u8]) -> Result<(), NotSealed> {
    let mail = str::from_utf8(bytes).map_err(|_| NotSealed::Lines)?;
    if lines(mail).is_none() {
        return Err(NotSealed::Lines);
    }
    let (head, body) = mail.split_once("\r\n\r\n").ok_or(NotSealed::Header)?;
    let boundary = check_head(head)?;
    let message = body
        .strip_prefix(&opening(boundary))
        .and_then(|rest| rest.strip_suffix(&closing(boundary)));
    let message = message
        .and_then(|message| message.strip_suffix("\r\n"))
        .ok_or(NotSealed::Parts)?;
    let octets = lines(message).and_then(|lines| armor::bare_block(&lines));
    match armor::session_keys(&octets.ok_or(NotSealed::Content(None))?) {
        Ok(Some(SessionKeys {
            keys: 1..,
            passwords: 0,
        })) => Ok(()),
        Ok(_) => Err(NotSealed::Content(None)),
        Err(error) => Err(NotSealed::Content(Some(error))),
    }
}

/// The lines of text that ends each but the last with CRLF, and has no such octet elsewhere, nor a NUL, nor a line that is
/// too long.
fn lines(text: &str) -> Option<Vec<&str>> {
    let mut lines = Vec::with_capacity(text.len() / 60 + 8);
    let mut rest = text;
    while let Some(at) = memchr3(b'\r', b'\n', b'\0', rest.as_bytes()) {
        let (line, end) = rest.split_at(at);
        rest = end.strip_prefix("\r\n")?;
        lines.push(line);
    }
    lines.push(rest);
    lines.iter().all(|line| line.len() <= LONGEST_LINE).then_some(lines)
}

/// Checks that the header has the known fields, once each, and gives the boundary.
fn check_head(head: &str) -> Result<&str, NotSealed> {
    let mut seen = [false; FIELDS.len()];
    let mut boundary = None;
    let mut rest = head;
    while !rest.is_empty() {
        let (field, after) = next_field(rest);
        let (name, value) = field.split_once(": ").ok_or(NotSealed::Header)?;
        let known = FIELDS
            .iter()
            .position(|field| *field == name)
            .ok_or(NotSealed::Header)?;
        if std::mem::replace(&mut seen[known], true) {
            return Err(NotSealed::Header);
        }
        if name == "Content-Type" {
            boundary = value
                .rsplit_once("boundary=\"")
                .and_then(|(_, text)| text.strip_suffix('"'));
            let is_ours = |boundary: &str| content_type(boundary) == value && is_boundary(boundary);
            boundary = boundary.filter(|boundary| is_ours(boundary));
        }
        rest = after;
    }
    if seen[..NEEDED].contains(&false) {
        return Err(NotSealed::Header);
    }
    boundary.ok_or(NotSealed::Header)
}

/// The first field, folded lines and all, and what follows it.
fn next_field(text: &str) -> (&str, &str) {
    let is_end = |at: &usize| !text[at + 2..].starts_with([' ', '\t']);
    match text.match_indices("\r\n").map(|(at, _)| at).find(is_end) {
        Some(at) => (&text[..at], &text[at + 2..]),
        None => (text, ""),
    }
}

fn is_boundary(text: &str) -> bool {
    text.len() == 34 && text.starts_with("=_") && text.bytes().skip(2).all(|b| b.is_ascii_hexdigit())
}
