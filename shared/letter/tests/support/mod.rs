//! What the tests of letters share: a controller, keys, a form, a submission, and Python's view of a mail.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::io::Write;
use std::process::{Command, Stdio};

use domain::{Answers, EmailAddress, File, Form, Language, Reference, Submission, SubmissionId, Value, Words};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use letter::{DepartmentInput, Facts, LetterError, Letters, Mail, NoticeInput, Parcel, ReceiptInput};
use openpgp::{Certificate, Mailbox, Sealing, UnsealKey};
use serde_json::{Value as Json, json};

/// The bed of a test: letters of one controller, and the department's key.
pub(crate) struct Bed {
    pub(crate) letters: Letters,
    pub(crate) certificate: Certificate,
    pub(crate) key: UnsealKey,
    pub(crate) department: Words,
    pub(crate) to: EmailAddress,
}

pub(crate) const CPR: &str = "010203-0000";

pub(crate) fn now() -> Timestamp {
    "2026-11-21T13:05:00Z".parse().unwrap()
}

pub(crate) fn facts(language: Language) -> Facts {
    Facts {
        name: "Eksempel Kommune".to_owned(),
        address: "Rådhuspladsen 1, 9999 Eksempel".to_owned(),
        dpo: "https://dpo.eksempel.example".to_owned(),
        contact_url: "https://eksempel.example/digital-post".to_owned(),
        privacy_url: "https://eksempel.example/databeskyttelse".to_owned(),
        complaint: "Datatilsynet, www.datatilsynet.dk".to_owned(),
        language,
        time_zone: TimeZone::get("Europe/Copenhagen").unwrap(),
        from: Mailbox::parse("Blåbjerg Kommune <kvittering@eksempel.example>").unwrap(),
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::in_language(Language::Da)
    }

    pub(crate) fn in_language(language: Language) -> Self {
        let (certificate, secret) = openpgp::generate("Teknik <teknik@eksempel.example>", now(), None).unwrap();
        Self {
            letters: Letters::load(facts(language), None).unwrap(),
            certificate: Certificate::read(&certificate, None).unwrap(),
            key: UnsealKey::read(&secret).unwrap(),
            department: words("Teknik & Miljø", "Roads and Environment"),
            to: EmailAddress::parse("teknik@eksempel.example").unwrap(),
        }
    }

    pub(crate) fn sealing(&self) -> Sealing<'_> {
        Sealing {
            recipients: std::slice::from_ref(&self.certificate),
            signer: None,
            rfc9580: false,
            now: now(),
        }
    }

    pub(crate) fn department(
        &self,
        submission: &Submission,
        form: &Form,
        max: usize,
    ) -> Result<Vec<Parcel>, LetterError> {
        let version = submission.version;
        let references: Vec<String> = if version > 1 {
            vec!["1.department@kvit.example".to_owned()]
        } else {
            Vec::new()
        };
        let input = DepartmentInput {
            submission,
            form,
            department: &self.department,
            to: &self.to,
            reply_to: &self.to,
            message_id: &|role| format!("{version}.{role}@kvit.example"),
            references: &references,
        };
        self.letters.department(&input, &self.sealing(), max)
    }

    /// The one mail to the department, opened, as Python reads it.
    pub(crate) fn opened(&self, submission: &Submission, form: &Form) -> Json {
        let parcels = self.department(submission, form, 20_000_000).unwrap();
        assert_eq!(parcels.len(), 1);
        python(&self.open(&parcels[0]))
    }

    pub(crate) fn open(&self, parcel: &Parcel) -> Vec<u8> {
        let outer = python(parcel.mail.as_bytes());
        let armored = outer["parts"][1]["text"].as_str().unwrap().to_owned();
        self.key.open(armored.as_bytes(), 100_000_000).unwrap()
    }

    pub(crate) fn receipt(&self, submission: &Submission, form: &Form, sealing: Option<&Sealing>) -> Parcel {
        let to = EmailAddress::parse("aase@example.com").unwrap();
        let input = ReceiptInput {
            submission,
            form,
            department: &self.department,
            to: &to,
            message_id: "1.receipt@kvit.example",
            date: now(),
            sealing,
        };
        self.letters.receipt(&input).unwrap()
    }

    pub(crate) fn notice(&self, notice: &letter::Notice, test: bool) -> Parcel {
        let input = NoticeInput {
            notice,
            to: &self.to,
            department: &self.department,
            message_id: "1.notice@kvit.example",
            references: &["1.department@kvit.example".to_owned()],
            date: now(),
            test,
        };
        self.letters.notice(&input).unwrap()
    }
}

pub(crate) fn words(da: &str, en: &str) -> Words {
    Words {
        da: Some(da.to_owned()),
        en: Some(en.to_owned()),
    }
}

pub(crate) fn a_form() -> Form {
    form_of(&json!({
        "navn": {"label": {"da": "Navn", "en": "Name"}, "section": {"da": "Dig", "en": "You"}},
        "e_mail": {"label": {"da": "E-mail"}, "type": "email", "section": {"da": "Dig", "en": "You"}},
        "kategori": {"label": {"da": "Kategori"}, "options": {"hul_i_vej": {"da": "Hul i vejen", "en": "Hole in the road"}}},
        "beskrivelse": {"label": {"da": "Beskrivelse"}},
        "deltagere": {"label": {"da": "Deltagere"}, "type": "group", "multiple": true, "fields": {
            "deltager_navn": {"label": {"da": "Deltagers navn"}},
            "alder": {"label": {"da": "Alder"}, "type": "number"}}},
        "adresse": {"label": {"da": "Adresse"}, "type": "group", "fields": {
            "vej": {"label": {"da": "Vej"}}, "by": {"label": {"da": "By"}}}},
        "foto": {"label": {"da": "Foto"}, "type": "file", "multiple": true},
        "underskrift": {"label": {"da": "Underskrift"}},
        "telefon": {"label": {"da": "Telefon"}, "type": "phone"}
    }))
}

pub(crate) fn form_of(fields: &Json) -> Form {
    serde_json::from_value(json!({
        "id": "anmeldelse", "site": "eksempel", "department": "teknik-miljoe",
        "title": {"da": "Anmeldelse til Teknik & Miljø", "en": "Report to Roads and Environment"},
        "purpose": {"da": "Behandling af din anmeldelse", "en": "To act on your report"},
        "legal_basis": ["gdpr-6-1-e"],
        "journal": {"when": "always", "period": "P5Y", "archive": "discard"},
        "fields": fields
    }))
    .unwrap()
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn group(members: &[(&str, Value)]) -> Value {
    Value::Group(
        members
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    )
}

pub(crate) fn file(name: &str, content: &[u8]) -> Value {
    Value::File(File {
        id: Some("3".to_owned()),
        name: Some(name.to_owned()),
        mime: Some("image/png".to_owned()),
        content: Some(content.to_vec().into()),
    })
}

pub(crate) fn answers(declared: &[(&str, Value)]) -> Answers {
    Answers {
        declared: declared
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        ..Answers::default()
    }
}

pub(crate) fn a_submission() -> Submission {
    let people = [
        group(&[
            ("deltager_navn", text("Ida Ærlig")),
            ("alder", Value::Number("9".to_owned())),
        ]),
        group(&[("deltager_navn", text("Bo")), ("alder", Value::Empty)]),
    ];
    let mut answers = answers(&[
        ("navn", text("Åse Ærø")),
        ("e_mail", text("aase@example.com")),
        ("kategori", text("hul_i_vej")),
        ("beskrivelse", text("Linje 1\r\nLinje 2 <script>alert(1)</script> & 😀")),
        ("deltagere", Value::List(people.to_vec())),
        ("adresse", group(&[("vej", text("Østergade 1")), ("by", Value::Empty)])),
        (
            "foto",
            Value::List(vec![file("plan 😀 æøå.png", b"\x89PNG\r\n\x1a\n\0")]),
        ),
        ("underskrift", text("data:image/png;base64,iVBORw0KGgo=")),
        ("telefon", Value::Empty),
    ]);
    answers.undeclared = vec![("nyt_felt".to_owned(), json!({"a": "uventet", "b": [1, true]}))];
    answers.raw.insert("navn".to_owned(), json!("Åse Ærø"));
    answers.raw.insert("kategori".to_owned(), json!("hul_i_vej"));
    Submission {
        id: SubmissionId::new(),
        reference: "K-7Q4M-2XRD".parse::<Reference>().unwrap(),
        site: "eksempel".parse().unwrap(),
        form: "anmeldelse".parse().unwrap(),
        version: 1,
        received_at: now(),
        language: Language::Da,
        answers,
        remarks: Vec::new(),
        changed: Vec::new(),
        withdrawn: false,
        late: false,
        test: false,
    }
}

/// A mail as Python's email package reads it, every defect an error: headers (every value), and the tree's leaves in
/// order with their type, disposition, file name, text and base64.
pub(crate) fn python(mail: &[u8]) -> Json {
    const SCRIPT: &str = r#"
import base64, email, email.policy, json, sys
policy = email.policy.default.clone(raise_on_defect=True)
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=policy)
def headers(part):
    # str() parses each value; the strict policy raises where one is not right.
    return [[name.lower(), str(value)] for name, value in part.items()]
def leaf(part):
    raw = part.get_payload(decode=True)
    return {"type": part.get_content_type(), "headers": headers(part), "disposition": part.get_content_disposition(),
            "name": part.get_filename(), "base64": base64.b64encode(raw).decode(),
            "text": raw.decode("utf-8", "replace").replace("\r\n", "\n"), "language": part.get("content-language")}
def tree(part):
    return [part.get_content_type(), [tree(p) for p in part.iter_parts()]] if part.is_multipart() else part.get_content_type()
print(json.dumps({"headers": headers(mail), "type": mail.get_content_type(), "params": dict(mail["content-type"].params),
  "tree": tree(mail), "parts": [leaf(p) for p in mail.walk() if not p.is_multipart()]}))
"#;
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(mail).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every value of a header, in order.
pub(crate) fn header(mail: &Json, name: &str) -> Vec<String> {
    let fields = mail["headers"].as_array().unwrap();
    let named = fields.iter().filter(|field| field[0] == name);
    named.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

/// The text of the first leaf of this type.
pub(crate) fn part(mail: &Json, kind: &str) -> String {
    let parts = mail["parts"].as_array().unwrap();
    let found = parts.iter().find(|part| part["type"] == kind).unwrap();
    found["text"].as_str().unwrap().to_owned()
}

/// The names of the attachments, in order.
pub(crate) fn names(mail: &Json) -> Vec<String> {
    let parts = mail["parts"].as_array().unwrap();
    parts
        .iter()
        .filter_map(|part| part["name"].as_str())
        .map(str::to_owned)
        .collect()
}

pub(crate) fn sent(parcel: &Parcel) -> &[u8] {
    parcel.mail.as_bytes()
}

pub(crate) fn is_plain(parcel: &Parcel) -> bool {
    matches!(parcel.mail, Mail::Plain(_))
}

/// Every line of a mail ends in CRLF, has at most 998 octets and no other control character.
pub(crate) fn assert_lines(mail: &[u8]) {
    assert!(mail.ends_with(b"\r\n"));
    for line in mail.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(line.len() <= 998, "a line of {} octets", line.len());
        assert!(!line.contains(&b'\r') && !line.contains(&0));
    }
    let text = String::from_utf8_lossy(mail).replace("\r\n", "");
    assert!(!text.contains('\n'));
}
