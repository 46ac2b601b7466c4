//! The MIME trees of the letters, and their protected headers (RFC 9788, and the older `protected-headers="v1"`).
//!
//! Inside an encrypted mail stands `multipart/mixed { multipart/alternative { text, HTML }, files … }`, always a
//! multipart: readers that know the older draft alone look for its parameter there.

use std::borrow::Cow;

use domain::Language;
use mail_builder::headers::address::Address;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::headers::{Header, HeaderType};
use mail_builder::mime::{BodyPart, MimePart};
use openpgp::Outer;

/// The words of a letter in both forms.
pub(crate) struct Body<'a> {
    /// `text/plain`.
    pub(crate) text: &'a str,
    /// `text/html`.
    pub(crate) html: &'a str,
    /// What both are written in.
    pub(crate) language: Language,
}

/// A file of the submitter under the name it is shown by.
pub(crate) struct Attachment<'a> {
    /// Safe and unique.
    pub(crate) name: String,
    /// The media type as the site says it; not trusted.
    pub(crate) mime: String,
    /// The bytes.
    pub(crate) content: Cow<'a, [u8]>,
}

/// What is encrypted: a MIME entity whose header repeats the outer header with the true subject.
pub(crate) fn payload(outer: &Outer, subject: &str, body: &Body, files: &[Attachment]) -> Vec<u8> {
    let mut headers = fields(outer, subject);
    headers.extend(
        fields(outer, outer.subject)
            .iter()
            .map(|(name, value)| outer_field(name, value)),
    );
    let mixed = ContentType::new("multipart/mixed")
        .attribute("protected-headers", "v1")
        .attribute("hp", "cipher");
    headers.push(("Content-Type".into(), mixed.into()));
    let parts = std::iter::once(alternative(body))
        .chain(files.iter().map(attachment))
        .collect();
    written(MimePart {
        headers,
        contents: BodyPart::Multipart(parts),
    })
}

/// A whole mail that is not encrypted.
pub(crate) fn message(outer: &Outer, body: &Body) -> Vec<u8> {
    let MimePart { headers, contents } = alternative(body);
    let mut all = fields(outer, outer.subject);
    all.push(("MIME-Version".into(), Raw::new("1.0").into()));
    all.extend(headers);
    written(MimePart { headers: all, contents })
}

/// A whole mail that is not encrypted, with files.
pub(crate) fn message_with_files(outer: &Outer, body: &Body, files: &[Attachment]) -> Vec<u8> {
    let mut headers = fields(outer, outer.subject);
    headers.push(("MIME-Version".into(), Raw::new("1.0").into()));
    headers.push(("Content-Type".into(), ContentType::new("multipart/mixed").into()));
    let parts = std::iter::once(alternative(body))
        .chain(files.iter().map(attachment))
        .collect();
    written(MimePart {
        headers,
        contents: BodyPart::Multipart(parts),
    })
}

/// How many bytes an attachment takes in the tree, at most: base64 in lines of 76, and its header.
pub(crate) fn attached_size(file: &Attachment) -> usize {
    file.content.len().div_ceil(57) * 78 + file.name.len() * 4 + 512
}

fn written(part: MimePart) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.size() * 3 / 2 + 4096);
    part.write_part(&mut bytes);
    bytes
}

type Field<'a> = (Cow<'a, str>, HeaderType<'a>);

/// The header fields that are not structural, in the order of RFC 5322's examples.
fn fields<'a>(outer: &Outer<'a>, subject: &'a str) -> Vec<Field<'a>> {
    let from = Address::new_address(outer.from.name.as_deref(), outer.from.address.expose());
    let mut fields: Vec<Field> = vec![
        ("From".into(), from.into()),
        ("To".into(), Raw::new(outer.to.expose()).into()),
    ];
    if let Some(address) = outer.reply_to {
        fields.push(("Reply-To".into(), Raw::new(address.expose()).into()));
    }
    fields.push(("Subject".into(), Text::new(subject).into()));
    fields.push(("Date".into(), Date::new(outer.date.as_second()).into()));
    fields.push(("Message-ID".into(), MessageId::new(outer.message_id).into()));
    if !outer.references.is_empty() {
        let ids = MessageId::new_list(outer.references.iter().map(String::as_str));
        fields.push(("References".into(), ids.into()));
    }
    if outer.auto_submitted {
        fields.push(("Auto-Submitted".into(), Raw::new("auto-generated").into()));
    }
    fields
}

/// `HP-Outer`: how a field stands outside, so that a reader can tell which were confidential (RFC 9788 section 2.2).
fn outer_field(name: &str, value: &HeaderType) -> Field<'static> {
    let mut written = Vec::new();
    value.write_header(&mut written, name.len() + 2);
    let unfolded = String::from_utf8_lossy(&written).replace("\r\n", "");
    (
        "HP-Outer".into(),
        Raw::new(format!("{name}: {}", unfolded.trim())).into(),
    )
}

fn alternative<'a>(body: &Body<'a>) -> MimePart<'a> {
    let code = body.language.code();
    MimePart::new(
        "multipart/alternative",
        vec![
            MimePart::new("text/plain", body.text).language(code),
            MimePart::new("text/html", body.html).language(code),
        ],
    )
}

fn attachment<'a>(file: &'a Attachment) -> MimePart<'a> {
    MimePart::new(media_type(&file.mime), file.content.as_ref()).attachment(file.name.as_str())
}

/// A media type that names bytes and nothing that a reader would act upon, show within the mail or mistake for a part
/// of it; `application/octet-stream` else.
fn media_type(claimed: &str) -> String {
    let bare = claimed
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let token = |text: &str| {
        !text.is_empty()
            && text.len() <= 100
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let kept = match bare.split_once('/') {
        Some(("image", kind)) => token(kind) && !kind.starts_with("svg"),
        Some(("audio" | "video" | "font", kind)) => token(kind),
        Some(("application", kind)) => token(kind) && !ACTIVE.iter().any(|active| kind.starts_with(active)),
        _ => false,
    };
    if kept {
        bare
    } else {
        "application/octet-stream".to_owned()
    }
}

/// Kinds of `application/` that mail readers act upon.
const ACTIVE: [&str; 8] = [
    "pgp",
    "pkcs7",
    "x-pkcs7",
    "xhtml",
    "javascript",
    "ms-tnef",
    "vnd.ms-tnef",
    "x-javascript",
];
