//! Header protection: RFC 9788, and the older draft's `protected-headers`.
//!
//! The rules are written here from the RFC (sections 2 and 4.3) as a reader follows them, and first tried on vectors
//! that are no mails of ours.

use crate::bed::Bed;
use crate::certificates::Kind;
use crate::mails::{self, ANSWER, Letter, REFERENCE, Sample};
use crate::mime::{self, Mail};

/// How a field that a reader shows is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// Anybody on the way could have written or changed it.
    Unprotected,
    /// It stands outside too, and a signature vouches for it.
    SignedOnly,
    /// It stands inside only.
    EncryptedOnly,
    /// It stands inside only, and a signature vouches for it.
    SignedAndEncrypted,
}
use Protection::{EncryptedOnly, SignedAndEncrypted, SignedOnly, Unprotected};

/// RFC 9788's reading of one field of an encrypted mail's payload: it is confidential unless `HP-Outer` records that
/// the same value stands outside. What really stands outside is not asked; relays change it.
fn protection(payload: &Mail, name: &str, is_signed: bool) -> Protection {
    let value = payload.header(name)[0];
    let outside = payload.header("hp-outer").into_iter().any(|recorded| {
        recorded
            .split_once(':')
            .is_some_and(|(outer, text)| outer.trim().eq_ignore_ascii_case(name) && text.trim() == value)
    });
    let confidential = match payload.parameters.get("hp").and_then(serde_json::Value::as_str) {
        Some("cipher") => !outside,
        Some("clear") => false,
        _ => return Unprotected,
    };
    match (confidential, is_signed) {
        (true, true) => SignedAndEncrypted,
        (true, false) => EncryptedOnly,
        (false, true) => SignedOnly,
        (false, false) => Unprotected,
    }
}

/// Structural fields are of the part they stand in, and never protected by a copy.
fn is_structural(name: &str) -> bool {
    name == "mime-version" || name.starts_with("content-")
}

/// The rules above, on payloads written by hand.
#[test]
fn the_rules_of_rfc_9788_judge_the_vectors() {
    let vectors: [(&str, &str, &str, [Protection; 2]); 9] = [
        (
            "another subject stands outside",
            "Subject: Sagen om hegnet\r\nHP-Outer: Subject: [...]\r\nContent-Type: text/plain; hp=\"cipher\"",
            "subject",
            [EncryptedOnly, SignedAndEncrypted],
        ),
        (
            "nothing stands outside",
            "Keywords: hegn\r\nHP-Outer: Subject: [...]\r\nContent-Type: text/plain; hp=\"cipher\"",
            "keywords",
            [EncryptedOnly, SignedAndEncrypted],
        ),
        (
            "the same stands outside",
            "To: a@b.example\r\nHP-Outer: To: a@b.example\r\nContent-Type: text/plain; hp=\"cipher\"",
            "to",
            [Unprotected, SignedOnly],
        ),
        (
            "a field's name has no letter case",
            "To: a@b.example\r\nHP-Outer: tO: a@b.example\r\nContent-Type: text/plain; hp=\"cipher\"",
            "to",
            [Unprotected, SignedOnly],
        ),
        (
            "a folded value is the same value",
            "References: <a@b>\r\n <c@d>\r\nHP-Outer: References: <a@b> <c@d>\r\nContent-Type: text/plain; hp=\"cipher\"",
            "references",
            [Unprotected, SignedOnly],
        ),
        (
            "only one of two recorded fields is this one",
            "Subject: a\r\nHP-Outer: To: a\r\nContent-Type: text/plain; hp=\"cipher\"",
            "subject",
            [EncryptedOnly, SignedAndEncrypted],
        ),
        (
            "a mail that its sender did not mean to encrypt",
            "Subject: a\r\nContent-Type: text/plain; hp=\"clear\"",
            "subject",
            [Unprotected, SignedOnly],
        ),
        (
            "without hp there is no header protection",
            "Subject: a\r\nHP-Outer: Subject: [...]\r\nContent-Type: text/plain",
            "subject",
            [Unprotected, Unprotected],
        ),
        (
            "the older draft's parameter is not RFC 9788's",
            "Subject: a\r\nContent-Type: text/plain; protected-headers=\"v1\"",
            "subject",
            [Unprotected, Unprotected],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = vectors
        .iter()
        .map(|(_, head, ..)| format!("{head}\r\n\r\nHej\r\n"))
        .collect();
    let bytes: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    for ((what, _, field, [unsigned, signed]), payload) in vectors.iter().zip(mime::read(folder.path(), &bytes)) {
        let payload = payload.unwrap();
        assert_eq!(protection(&payload, field, false), *unsigned, "{what}");
        assert_eq!(protection(&payload, field, true), *signed, "{what}");
    }
}

/// A mail as a relay sees it, and as its reader does.
struct Both {
    sample: Sample,
    outer: Mail,
    inner: Mail,
}

fn mails() -> Vec<Both> {
    let bed = Bed::new();
    let wanted = [
        (Letter::Department { files: 1 }, false),
        (Letter::Department { files: 1 }, true),
        (Letter::Receipt, false),
        (Letter::Receipt, true),
    ];
    let samples = mails::samples(
        &bed,
        bed.path(),
        Kind::Sequoia25519,
        &Kind::Sequoia25519.make(),
        &wanted,
    );
    let read = |bytes: &[u8]| mime::read(bed.path(), &[bytes]).remove(0).unwrap();
    let both = |sample: Sample| Both {
        outer: read(&sample.mail),
        inner: read(&sample.inner),
        sample,
    };
    samples.into_iter().map(both).collect()
}

/// P1
#[test]
fn the_outer_header_holds_only_what_delivery_needs() {
    const NEEDED: [&str; 10] = [
        "from",
        "to",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "references",
        "auto-submitted",
        "mime-version",
        "content-type",
    ];
    for mail in mails() {
        for (name, _) in &mail.outer.headers {
            assert!(NEEDED.contains(&name.as_str()), "{name}");
            assert_eq!(mail.outer.header(name).len(), 1, "{name} once");
        }
        let subject = match mail.sample.letter {
            Letter::Receipt => format!("Kvittering {REFERENCE}"),
            _ => format!("Formular {REFERENCE}"),
        };
        assert_eq!(mail.outer.header("subject"), [subject]);
        let outside = serde_json::to_string(&mail.outer.headers).unwrap();
        for told in ["Anmeldelse", "Miljø", "Åse", ANSWER] {
            assert!(!outside.contains(told), "{told} stands outside");
        }
        if mail.sample.letter != Letter::Receipt {
            assert!(!outside.contains("aase@example.com"));
        }
    }
}

/// P1
#[test]
fn only_the_subject_is_confidential_and_every_other_field_is_the_same_inside_and_outside() {
    for mail in mails() {
        let (inner, signed) = (&mail.inner, mail.sample.signed);
        let names = |mail: &Mail| {
            let fields = mail.headers.iter().map(|(name, _)| name.clone());
            let mut names: Vec<String> = fields
                .filter(|name| !is_structural(name) && name != "hp-outer")
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(inner), names(&mail.outer));
        for name in names(inner) {
            let (confidential, told) = if signed {
                (SignedAndEncrypted, SignedOnly)
            } else {
                (EncryptedOnly, Unprotected)
            };
            let expected = if name == "subject" { confidential } else { told };
            assert_eq!(protection(inner, &name, signed), expected, "{name}");
            assert_eq!(inner.header(&name).len(), 1, "{name} once");
            if name != "subject" {
                assert_eq!(inner.header(&name), mail.outer.header(&name));
            }
        }
        assert!(inner.header("subject")[0].contains(REFERENCE));
        assert_ne!(inner.header("subject"), mail.outer.header("subject"));
    }
}

/// P1
#[test]
fn what_stands_outside_is_recorded_inside_once_and_nothing_else_is() {
    for mail in mails() {
        assert!(mail.outer.header("hp-outer").is_empty());
        let mut recorded = mail.inner.header("hp-outer");
        let outside = mail.outer.headers.iter().filter(|(name, _)| !is_structural(name));
        let mut expected: Vec<(String, String)> = outside.cloned().collect();
        expected.sort_unstable();
        recorded.sort_unstable_by_key(|field| field.to_lowercase());
        let recorded: Vec<(String, String)> = recorded
            .into_iter()
            .map(|field| field.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        assert_eq!(recorded, expected);
    }
}

/// P1
#[test]
fn the_parameters_stand_on_the_payload_alone_and_no_part_repeats_the_header() {
    for mail in mails() {
        let inner = &mail.inner;
        assert_eq!(inner.parameters["hp"], "cipher");
        assert_eq!(inner.parameters["protected-headers"], "v1");
        assert_eq!(inner.header("content-type").len(), 1);
        assert!(!mail.outer.parameters.contains_key("hp"));
        let text = String::from_utf8_lossy(&mail.sample.inner);
        for once in ["hp=\"cipher\"", "protected-headers=\"v1\""] {
            assert_eq!(text.matches(once).count(), 1, "{once}");
        }
        // A copy of the subject for old readers would have to be marked; there is none.
        assert!(!text.contains("hp-legacy-display"));
        for leaf in &inner.leaves {
            for (name, _) in &leaf.headers {
                assert!(is_structural(name), "{name} stands in a part of {}", leaf.kind);
            }
        }
    }
}

/// P1: readers compare bytes as well as meanings, so a field inside and its record are written alike. What is sent may
/// encode a name otherwise, with the same meaning.
#[test]
fn a_field_and_its_record_are_written_alike() {
    for mail in mails() {
        let inside = raw_fields(&mail.sample.inner);
        let outside = raw_fields(&mail.sample.mail);
        let value = |fields: &[(String, String)], name: &str| {
            let field = fields.iter().find(|(found, _)| found == name);
            field.unwrap().1.clone()
        };
        for (_, recorded) in inside.iter().filter(|(name, _)| name == "hp-outer") {
            let (field, recorded) = recorded.split_once(": ").unwrap();
            let field = field.to_lowercase();
            if field != "subject" {
                assert_eq!(recorded, value(&inside, &field), "{field}");
            }
            if !recorded.contains("=?") {
                assert_eq!(recorded, value(&outside, &field), "{field}, and what is sent");
            }
        }
    }
}

/// The header's fields unfolded, and not decoded.
fn raw_fields(entity: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(entity);
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let fields = unfolded.split("\r\n").map(|line| line.split_once(':').unwrap());
    fields
        .map(|(name, value)| (name.to_lowercase(), value.trim().replace("  ", " ")))
        .collect()
}
