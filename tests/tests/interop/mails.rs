//! The mails that are opened: department mails and encrypted receipts, as intake has them made.

use std::path::{Path, PathBuf};

use domain::{Answers, EmailAddress, File, Form, Language, Reference, Submission, SubmissionId, Value, Words};
use jiff::Timestamp;
use kvit_tests::controller;
use letter::{DepartmentInput, Letters, Parcel, ReceiptInput};
use openpgp::{Certificate, Sealing, SigningKey, UnsealKey};
use serde_json::json;

use crate::bed::{Bed, now};
use crate::certificates::{Key, Kind};
use crate::mime;

/// The name of the answers as they were sent.
pub(crate) const JSON_NAME: &str = "indsendelse.json";
/// What stands outside.
pub(crate) const REFERENCE: &str = "K-7Q4M-2XRD";

const LIMIT: usize = 100_000_000;

/// Which mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letter {
    Department {
        files: usize,
    },
    /// With a file of five megabytes.
    Large,
    Receipt,
}

/// The small mails of the full cross product, signed and not.
pub(crate) const SMALL: [(Letter, bool); 8] = [
    (Letter::Department { files: 0 }, false),
    (Letter::Department { files: 0 }, true),
    (Letter::Department { files: 1 }, false),
    (Letter::Department { files: 1 }, true),
    (Letter::Department { files: 5 }, false),
    (Letter::Department { files: 5 }, true),
    (Letter::Receipt, false),
    (Letter::Receipt, true),
];

/// A mail on its way, and what must come out of it.
pub(crate) struct Sample {
    pub(crate) letter: Letter,
    pub(crate) signed: bool,
    /// The mail as it is sent.
    pub(crate) mail: Vec<u8>,
    /// The OpenPGP message that Python found in it.
    pub(crate) armored: PathBuf,
    /// What was encrypted.
    pub(crate) inner: Vec<u8>,
}

/// The files of a department mail with so many, under the names that readers show.
pub(crate) fn files(letter: Letter) -> Vec<(&'static str, Vec<u8>)> {
    let all_octets: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let five = [
        ("plan 😀 æøå.png", all_octets),
        ("tom.txt", Vec::new()),
        (
            "Dagsorden til Økonomiudvalgets møde på Ærø.pdf",
            b"%PDF-1.7\r\n.\r\n..\r\nFrom x\r\n".to_vec(),
        ),
        ("familie 👨‍👩‍👧 ved åen.jpg", b"\xff\xd8\xff\0\n\r".to_vec()),
        (
            "En meget lang beskrivelse af det hul i vejen som vi så på Blåbærvej ved søen i går aftes.txt",
            "linje uden ende æøå ".repeat(500).into_bytes(),
        ),
    ];
    match letter {
        Letter::Receipt => Vec::new(),
        Letter::Department { files } => five.into_iter().take(files).collect(),
        Letter::Large => vec![("stor.bin", large())],
    }
}

/// Five megabytes that no compression and no line end makes alike.
fn large() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut octets = Vec::with_capacity(5 * 1024 * 1024);
    while octets.len() < 5 * 1024 * 1024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend(state.to_le_bytes());
    }
    octets
}

/// Mails to one recipient, written to files of `folder` for the readers.
pub(crate) fn samples(bed: &Bed, folder: &Path, kind: Kind, key: &Key, wanted: &[(Letter, bool)]) -> Vec<Sample> {
    let letters = Letters::load(controller(), None).unwrap();
    let (certificate, unseal) = (key.certificate(), UnsealKey::read(&key.secret).unwrap());
    let parcels: Vec<Parcel> = wanted
        .iter()
        .map(|(letter, signed)| {
            write(
                &letters,
                *letter,
                &certificate,
                signed.then_some(&bed.signer),
                kind.rfc9580(),
            )
        })
        .collect();
    let mails: Vec<&[u8]> = parcels.iter().map(|parcel| parcel.mail.as_bytes()).collect();
    let read = mime::read(folder, &mails);
    wanted
        .iter()
        .zip(parcels)
        .zip(read)
        .enumerate()
        .map(|(at, ((&(letter, signed), parcel), outer))| {
            assert!(parcel.mail.is_sealed());
            let message = outer.expect("the mail that is sent is right").encrypted();
            let armored = folder.join(format!("{at}.asc"));
            std::fs::write(&armored, &message).unwrap();
            Sample {
                letter,
                signed,
                mail: parcel.mail.as_bytes().to_vec(),
                armored,
                inner: unseal.open(&message, LIMIT).unwrap(),
            }
        })
        .collect()
}

fn write(letters: &Letters, letter: Letter, to: &Certificate, signer: Option<&SigningKey>, rfc9580: bool) -> Parcel {
    let recipients = std::slice::from_ref(to);
    let sealing = Sealing {
        recipients,
        signer,
        rfc9580,
        now: now(),
    };
    let (form, submission) = (a_form(), a_submission(letter));
    let department = words("Teknik & Miljø", "Roads and Environment");
    if letter == Letter::Receipt {
        let to = EmailAddress::parse("aase@example.com").unwrap();
        return letters
            .receipt(&ReceiptInput {
                submission: &submission,
                form: &form,
                department: &department,
                to: &to,
                message_id: "1.receipt@kvit.example",
                date: now(),
                sealing: Some(&sealing),
            })
            .unwrap();
    }
    let to = EmailAddress::parse("teknik@eksempel.example").unwrap();
    let input = DepartmentInput {
        submission: &submission,
        form: &form,
        department: &department,
        to: &to,
        reply_to: &to,
        message_id: &|role| format!("1.{role}@kvit.example"),
        references: &["0.department@kvit.example".to_owned()],
    };
    let mut parcels = letters.department(&input, &sealing, LIMIT).unwrap();
    assert_eq!(parcels.len(), 1);
    parcels.remove(0)
}

fn a_form() -> Form {
    serde_json::from_value(json!({
        "id": "anmeldelse", "site": "eksempel", "department": "teknik-miljoe",
        "title": {"da": "Anmeldelse til Teknik & Miljø", "en": "Report to Roads and Environment"},
        "purpose": {"da": "Behandling af din anmeldelse", "en": "To act on your report"},
        "legal_basis": ["gdpr-6-1-e"],
        "journal": {"when": "always", "period": "P5Y", "archive": "discard"},
        "fields": {
            "navn": {"label": {"da": "Navn", "en": "Name"}},
            "beskrivelse": {"label": {"da": "Beskrivelse", "en": "Description"}},
            "foto": {"label": {"da": "Foto", "en": "Photo"}, "type": "file", "multiple": true}
        }
    }))
    .unwrap()
}

/// The answer that must be read in every department mail.
pub(crate) const ANSWER: &str = "From øst til vest: 😀 -- ";

fn a_submission(letter: Letter) -> Submission {
    let foto = files(letter).into_iter().enumerate().map(|(at, (name, content))| {
        Value::File(File {
            id: Some(at.to_string()),
            name: Some(name.to_owned()),
            mime: Some("application/pdf".to_owned()),
            content: Some(content.into()),
        })
    });
    let text = format!("{ANSWER}\r\n.\r\n--=_x\r\n{}", "meget ".repeat(300));
    let declared = [
        ("navn", Value::Text("Åse Ærø".to_owned())),
        ("beskrivelse", Value::Text(text)),
        ("foto", Value::List(foto.collect())),
    ];
    let mut answers = Answers {
        declared: declared
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        ..Answers::default()
    };
    answers.raw.insert("navn".to_owned(), json!("Åse Ærø"));
    Submission {
        id: SubmissionId::new(),
        reference: REFERENCE.parse::<Reference>().unwrap(),
        site: "eksempel".parse().unwrap(),
        form: "anmeldelse".parse().unwrap(),
        version: 1,
        received_at: "2026-11-21T13:05:00Z".parse::<Timestamp>().unwrap(),
        language: Language::Da,
        answers,
        remarks: Vec::new(),
        changed: Vec::new(),
        withdrawn: false,
        late: false,
        test: false,
    }
}

fn words(da: &str, en: &str) -> Words {
    Words {
        da: Some(da.to_owned()),
        en: Some(en.to_owned()),
    }
}
