//! Hostile names, labels and values in every letter: one header block, parts that end where they should, lines that a
//! relay takes, and the files as they came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{File, Form, Submission, Value};
use letter::{Mail, Parcel};
use proptest::prelude::*;
use serde_json::json;

use crate::desk::{Desk, a_form, a_submission};
use crate::fuzz;

/// The fields that an entity of ours may begin with, each once; `HP-Outer` apart.
const TOP: [&str; 14] = [
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Language",
    "Content-Disposition",
    "Content-ID",
];

const HOSTILE: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\r\n\r\n",
    "\r\nBcc: x@y.example\r\n",
    "\r\nContent-Type: text/html\r\n\r\n<b>",
    "\n.\n",
    "\r\n.\r\n",
    "--",
    "\r\n--=_",
    "\"",
    "\\",
    ";",
    "; filename=x.exe",
    "=?utf-8?B?AAAA?=",
    "=?utf-8?Q?=0D=0A?=",
    "*0*=utf-8''",
    "%0d%0aX: y",
    "\u{202e}",
    "\u{2028}",
    "\u{85}",
    "😀",
    "boundary=\"",
];

fn a_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => "[a-zæøåA-Z0-9 .]{0,20}",
        3 => proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => ("[a-zå ]", 1usize..3000).prop_map(|(letter, times)| letter.repeat(times)),
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

#[derive(Debug, Clone)]
struct Draw {
    labels: Vec<String>,
    values: Vec<String>,
    files: Vec<(String, String, Vec<u8>)>,
    signed: bool,
}

fn a_draw() -> impl Strategy<Value = Draw> {
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..3000),
        a_text().prop_map(String::into_bytes),
    ];
    let files = proptest::collection::vec((a_text(), a_text(), content), 0..5);
    let texts = || proptest::collection::vec(a_text(), 4);
    (texts(), texts(), files, any::<bool>()).prop_map(|(labels, values, files, signed)| Draw {
        labels,
        values,
        files,
        signed,
    })
}

impl Draw {
    fn form(&self) -> Form {
        let of = |n: usize| json!({"da": self.labels[n], "en": self.labels[n]});
        let mut form = a_form(&json!({
            "tekst": {"label": of(0), "section": of(1)},
            "gruppe": {"label": of(2), "type": "group", "multiple": true, "fields": {"et": {"label": of(3)}}},
            "filer": {"label": {"da": "Filer"}, "type": "file", "multiple": true}
        }));
        form.title = crate::desk::words(&self.labels[0]);
        form.purpose = crate::desk::words(&self.labels[1]);
        form
    }

    fn submission(&self) -> Submission {
        let text = |n: usize| Value::Text(self.values[n].clone());
        let file = |(name, mime, content): &(String, String, Vec<u8>)| {
            Value::File(File {
                id: None,
                name: Some(name.clone()),
                mime: Some(mime.clone()),
                content: Some(content.clone().into()),
            })
        };
        let group = Value::Group(vec![("et".to_owned(), text(1))]);
        let files = Value::List(self.files.iter().map(file).collect());
        let declared = [
            ("tekst", text(0)),
            ("gruppe", Value::List(vec![group])),
            ("filer", files),
        ];
        let mut submission = a_submission();
        submission.answers.declared = declared.map(|(key, value)| (key.to_owned(), value)).to_vec();
        submission.answers.undeclared = vec![(self.values[2].clone(), json!(self.values[3]))];
        submission
            .answers
            .raw
            .insert(self.values[2].clone(), json!(self.values[3]));
        submission
    }
}

/// Lines as RFC 5322 has them: CR LF and no other of either, at most 998 octets, no NUL.
fn check_lines(mail: &str) -> Result<(), TestCaseError> {
    prop_assert!(mail.ends_with("\r\n"));
    for line in mail.split("\r\n") {
        prop_assert!(line.len() <= 998, "a line of {} octets", line.len());
        prop_assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    Ok(())
}

/// An entity's header, unfolded, and its body.
type Split<'a> = (Vec<(String, String)>, &'a str);

/// Fields that are known, each once, before the first empty line.
fn header(entity: &str) -> Result<Split<'_>, TestCaseError> {
    let (head, body) = entity
        .split_once("\r\n\r\n")
        .ok_or_else(|| TestCaseError::fail("an entity without a body"))?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        if let (Some((_, value)), true) = (fields.last_mut(), line.starts_with([' ', '\t'])) {
            value.push_str(line);
            continue;
        }
        let (name, value) = line
            .split_once(": ")
            .or_else(|| line.split_once(':'))
            .ok_or_else(|| TestCaseError::fail(format!("no field: {line:?}")))?;
        let known = name == "HP-Outer" || (TOP.contains(&name) && fields.iter().all(|(other, _)| other != name));
        prop_assert!(known, "the field {name:?} is unknown, or there twice");
        fields.push((name.to_owned(), value.to_owned()));
    }
    Ok((fields, body))
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields
        .iter()
        .find(|(found, _)| found == name)
        .map_or("", |(_, value)| value)
}

/// The parts of a multipart, cut at its boundary wherever a reader would see one: a line that begins with it.
fn parts<'a>(fields: &[(String, String)], body: &'a str) -> Result<Vec<&'a str>, TestCaseError> {
    let kind = value(fields, "Content-Type");
    let boundary = kind
        .split_once("boundary=\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .ok_or_else(|| TestCaseError::fail(format!("no boundary in {kind:?}")))?;
    let mark = format!("--{boundary}");
    let mut starts = Vec::new();
    let mut at = 0;
    for line in body.split_inclusive("\r\n") {
        if line.starts_with(&mark) {
            starts.push((at, line));
        }
        at += line.len();
    }
    let closing = starts
        .pop()
        .map(|(at, line)| (at, line.trim_end() == format!("{mark}--")));
    let Some((mut end, true)) = closing else {
        return Err(TestCaseError::fail("no closing boundary"));
    };
    let mut parts = Vec::new();
    for (at, line) in starts.iter().rev() {
        prop_assert_eq!(line.trim_end(), &mark, "a part holds the boundary");
        parts.push(&body[at + line.len()..end]);
        end = *at;
    }
    parts.reverse();
    Ok(parts)
}

/// The words of a letter: text and HTML, and nothing else.
fn check_words(fields: &[(String, String)], body: &str) -> Result<(), TestCaseError> {
    prop_assert!(value(fields, "Content-Type").starts_with("multipart/alternative"));
    let mut kinds = Vec::new();
    for part in parts(fields, body)? {
        let (fields, _) = header(part)?;
        prop_assert_eq!(value(&fields, "Content-Disposition"), "");
        kinds.push(
            value(&fields, "Content-Type")
                .split(';')
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    prop_assert_eq!(kinds, ["text/plain", "text/html"]);
    Ok(())
}

fn check_inner(entity: &str, draw: &Draw) -> Result<(), TestCaseError> {
    check_lines(entity)?;
    let (fields, body) = header(entity)?;
    prop_assert_eq!(value(&fields, "To"), "teknik@eksempel.example");
    let parts = parts(&fields, body)?;
    prop_assert_eq!(parts.len(), 1 + draw.files.len() + 1, "words, files, indsendelse.json");
    let (words, body) = header(parts[0])?;
    check_words(&words, body)?;
    let mut names = Vec::new();
    let contents = draw.files.iter().map(|(_, _, content)| Some(content));
    for (part, content) in parts[1..].iter().zip(contents.chain([None])) {
        let (fields, body) = header(part)?;
        let disposition = value(&fields, "Content-Disposition");
        prop_assert!(disposition.starts_with("attachment;"), "{disposition:?}");
        prop_assert_eq!(disposition.matches("filename").count() >= 1, true);
        names.push(disposition.to_owned());
        let kind = value(&fields, "Content-Type");
        prop_assert!(
            !kind.contains("text/html") && !kind.contains("multipart") && !kind.contains("message/"),
            "{kind:?}"
        );
        if let Some(content) = content {
            prop_assert_eq!(value(&fields, "Content-Transfer-Encoding"), "base64");
            let packed: String = body.split_ascii_whitespace().collect();
            let decoded = STANDARD.decode(packed).ok();
            prop_assert_eq!(decoded.as_ref(), Some(content));
        }
    }
    let distinct = names.iter().collect::<std::collections::HashSet<_>>().len();
    prop_assert_eq!(distinct, names.len(), "two files have one name");
    Ok(())
}

fn text(parcel: &Parcel) -> Result<&str, TestCaseError> {
    str::from_utf8(parcel.mail.as_bytes()).map_err(|error| TestCaseError::fail(error.to_string()))
}

/// P1, P3
#[test]
fn no_name_label_or_value_changes_the_form_of_a_letter() {
    let desk = Desk::new();
    fuzz(&a_draw(), |draw| {
        let (form, submission) = (draw.form(), draw.submission());
        let mails = desk.department(&submission, &form, draw.signed, 20_000_000).unwrap();
        prop_assert_eq!(mails.len(), 1);
        let outside = text(&mails[0])?;
        check_lines(outside)?;
        let (fields, body) = header(outside)?;
        prop_assert_eq!(value(&fields, "Subject"), "Formular K-7Q4M-2XRD");
        prop_assert_eq!(parts(&fields, body)?.len(), 2);
        let inner = desk.open(&mails[0]);
        check_inner(str::from_utf8(&inner).unwrap(), &draw)?;

        let receipt = desk.receipt(&submission, &form, None);
        prop_assert!(matches!(receipt.mail, Mail::Plain(_)));
        let outside = text(&receipt)?;
        check_lines(outside)?;
        let (fields, body) = header(outside)?;
        prop_assert_eq!(value(&fields, "To"), "aase@borger.example");
        check_words(&fields, body)
    });
}

/// The control: what the property looks for is seen where it is.
#[test]
fn a_header_too_many_a_bare_line_end_and_a_boundary_in_a_part_are_seen() {
    let entity = |head: &str, part: &str| {
        format!(
            "Subject: x\r\n{head}Content-Type: multipart/alternative; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
             {part}\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n"
        )
    };
    let judged = |entity: &str| {
        check_lines(entity)?;
        let (fields, body) = header(entity)?;
        check_words(&fields, body)
    };
    assert!(judged(&entity("", "Hej")).is_ok());
    for (head, part) in [
        ("Bcc: x@y.example\r\n", "Hej"),
        ("Subject: y\r\n", "Hej"),
        ("", "Hej\nmed"),
        ("", "Hej\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>"),
        ("", "Hej\r\n--b--\r\nresten"),
        ("", "Hej\r\n--bogstav"),
        ("", &"x".repeat(999)),
    ] {
        assert!(judged(&entity(head, part)).is_err(), "{head:?} {part:?}");
    }
}
