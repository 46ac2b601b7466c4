//! What the letters of these tests are made with: a controller, keys, and every letter about a submission.

use domain::{EmailAddress, Form, Language, Reference, Submission, SubmissionId, Words};
use jiff::Timestamp;
use kvit_tests::controller;
use letter::{DepartmentInput, LetterError, Letters, Mail, Notice, NoticeInput, Parcel, ReceiptInput};
use openpgp::{Certificate, Sealing, SigningKey, UnsealKey};

/// One controller with its department.
pub(crate) struct Desk {
    pub(crate) letters: Letters,
    pub(crate) certificate: Certificate,
    pub(crate) key: UnsealKey,
    pub(crate) signer: SigningKey,
    department: Words,
    mailbox: EmailAddress,
    submitter: EmailAddress,
}

pub(crate) fn now() -> Timestamp {
    "2026-11-21T13:05:00Z".parse().unwrap()
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (certificate, secret) = openpgp::generate("Teknik <teknik@eksempel.example>", now(), None).unwrap();
        let (_, signer) = openpgp::generate("Kvit <kvit@eksempel.example>", now(), None).unwrap();
        Self {
            letters: Letters::load(controller(), None).unwrap(),
            certificate: Certificate::read(&certificate, None).unwrap(),
            key: UnsealKey::read(&secret).unwrap(),
            signer: SigningKey::read(&signer).unwrap(),
            department: words("Teknik & Miljø"),
            mailbox: EmailAddress::parse("teknik@eksempel.example").unwrap(),
            submitter: EmailAddress::parse("aase@borger.example").unwrap(),
        }
    }

    pub(crate) fn sealing(&self, signed: bool) -> Sealing<'_> {
        Sealing {
            recipients: std::slice::from_ref(&self.certificate),
            signer: signed.then_some(&self.signer),
            rfc9580: false,
            now: now(),
        }
    }

    pub(crate) fn department(
        &self,
        submission: &Submission,
        form: &Form,
        signed: bool,
        most: usize,
    ) -> Result<Vec<Parcel>, LetterError> {
        let input = DepartmentInput {
            submission,
            form,
            department: &self.department,
            to: &self.mailbox,
            reply_to: &self.mailbox,
            message_id: &|role| format!("1.{role}@kvit.example"),
            references: &[],
        };
        self.letters.department(&input, &self.sealing(signed), most)
    }

    pub(crate) fn receipt(&self, submission: &Submission, form: &Form, sealing: Option<&Sealing<'_>>) -> Parcel {
        let input = ReceiptInput {
            submission,
            form,
            department: &self.department,
            to: &self.submitter,
            message_id: "1.receipt@kvit.example",
            date: now(),
            sealing,
        };
        self.letters.receipt(&input).unwrap()
    }

    pub(crate) fn notice(&self, notice: &Notice, test: bool) -> Parcel {
        let input = NoticeInput {
            notice,
            to: &self.mailbox,
            department: &self.department,
            message_id: "1.notice@kvit.example",
            references: &["1.department@kvit.example".to_owned()],
            date: now(),
            test,
        };
        self.letters.notice(&input).unwrap()
    }

    /// The MIME entity inside a sealed mail.
    pub(crate) fn open(&self, parcel: &Parcel) -> Vec<u8> {
        let Mail::Sealed(mail) = &parcel.mail else {
            panic!("not a sealed mail");
        };
        let text = str::from_utf8(mail.as_bytes()).unwrap();
        let start = text.find("-----BEGIN PGP MESSAGE-----").unwrap();
        let end = text.find("-----END PGP MESSAGE-----").unwrap() + "-----END PGP MESSAGE-----".len();
        self.key.open(&text.as_bytes()[start..end], 100_000_000).unwrap()
    }
}

/// The same in both languages.
pub(crate) fn words(text: &str) -> Words {
    Words {
        da: Some(text.to_owned()),
        en: Some(text.to_owned()),
    }
}

/// A first submission without an answer.
pub(crate) fn a_submission() -> Submission {
    Submission {
        id: SubmissionId::new(),
        reference: "K-7Q4M-2XRD".parse::<Reference>().unwrap(),
        site: "eksempel".parse().unwrap(),
        form: "anmeldelse".parse().unwrap(),
        version: 1,
        received_at: now(),
        language: Language::Da,
        answers: domain::Answers::default(),
        remarks: Vec::new(),
        changed: Vec::new(),
        withdrawn: false,
        late: false,
        test: false,
    }
}

/// A form with these fields.
pub(crate) fn a_form(fields: &serde_json::Value) -> Form {
    serde_json::from_value(serde_json::json!({
        "id": "anmeldelse", "site": "eksempel", "department": "teknik-miljoe",
        "title": {"da": "Anmeldelse til Teknik & Miljø", "en": "Report to Roads and Environment"},
        "purpose": {"da": "Behandling af din anmeldelse", "en": "To act on your report"},
        "legal_basis": ["gdpr-6-1-e"],
        "journal": {"when": "always", "period": "P5Y", "archive": "discard"},
        "fields": fields
    }))
    .unwrap()
}
