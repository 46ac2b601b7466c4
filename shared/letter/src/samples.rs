//! Sample input that takes every branch of every template, so that a faulty one is found when a service starts.

use domain::{
    Answers, File, Form, Kind, Language, Reason, Reference, Remark, SiteId, Submission, SubmissionId, Value, Words,
};
use jiff::Timestamp;
use serde_json::json;

use crate::department::{DepartmentInput, Draft};
use crate::extract::{ExtractInput, Purpose};
use crate::notice::{Notice, NoticeInput};
use crate::receipt::ReceiptInput;
use crate::{LetterError, Letters};

impl Letters {
    /// Renders every template in every language.
    pub(crate) fn check(&self) -> Result<(), LetterError> {
        let department = Words {
            da: Some("Afdelingen".to_owned()),
            en: Some("The department".to_owned()),
        };
        for language in [Language::Da, Language::En] {
            self.check_departments(&department, language)?;
            self.check_receipts(&department, language)?;
            self.check_notices(&department, language)?;
            self.check_extracts(&department, language)?;
        }
        Ok(())
    }

    fn check_departments(&self, department: &Words, language: Language) -> Result<(), LetterError> {
        let to = self.facts.from.address.clone();
        for full in [true, false] {
            let (form, submission) = (form(), submission(full, language));
            let input = DepartmentInput {
                submission: &submission,
                form: &form,
                department,
                to: &to,
                reply_to: &to,
                message_id: &|role: &str| role.to_owned(),
                references: &[],
            };
            let draft = Draft::new(&input, language);
            let halves = [0..1, 1..draft.files.len()];
            self.department_words(&draft, &draft.undivided(), 0)?;
            self.department_words(&draft, &halves, 0)?;
            self.department_words(&draft, &halves, 1)?;
            self.record_in(&submission, &form, department, language)?;
        }
        Ok(())
    }

    fn check_receipts(&self, department: &Words, language: Language) -> Result<(), LetterError> {
        let to = self.facts.from.address.clone();
        for choice in 0_u8..128 {
            let is = |bit: u8| choice & (1 << bit) != 0;
            let (mut form, mut submission) = (form(), submission(false, language));
            form.discreet = is(0);
            form.kind = if is(1) { Kind::Registration } else { Kind::Message };
            if is(2) {
                form.journal = None;
            }
            if is(3) {
                form.legal_basis = vec!["gdpr-6-1-a".to_owned()];
            }
            (submission.late, submission.withdrawn, submission.test) = (is(4), is(5), is(6));
            let input = ReceiptInput {
                submission: &submission,
                form: &form,
                department,
                to: &to,
                message_id: "sample@example.com",
                date: Timestamp::UNIX_EPOCH,
                sealing: None,
            };
            self.receipt_words(&input)?;
        }
        Ok(())
    }

    fn check_extracts(&self, department: &Words, language: Language) -> Result<(), LetterError> {
        let to = self.facts.from.address.clone();
        let (form, registrations) = (form(), [submission(true, language), submission(false, language)]);
        for choice in 0_u8..64 {
            let is = |bit: u8| choice & (1 << bit) != 0;
            let input = ExtractInput {
                purpose: if is(0) { Purpose::Export } else { Purpose::Extract },
                form: &form,
                event: "E-0000-0000",
                department,
                to: &to,
                reply_to: &to,
                message_id: "sample@example.com",
                code: is(1).then_some("0000-0000"),
                supplement: is(2),
                deadline: is(3).then_some(Timestamp::UNIX_EPOCH),
                held: is(3).then_some(Timestamp::UNIX_EPOCH),
                registrations: &registrations[usize::from(is(4))..],
                addresses: &if is(5) {
                    vec![(Reference::from_random([7; 5]), to.clone())]
                } else {
                    Vec::new()
                },
                test: is(5),
            };
            self.extract_words(&input, language)?;
        }
        Ok(())
    }

    fn check_notices(&self, department: &Words, language: Language) -> Result<(), LetterError> {
        let to = self.facts.from.address.clone();
        for notice in notices() {
            let input = NoticeInput {
                notice: &notice,
                to: &to,
                department,
                message_id: "sample@example.com",
                references: &[],
                date: Timestamp::UNIX_EPOCH,
                test: false,
            };
            self.notice_words(&input, language)?;
        }
        self.key_test_words(department, &["0123 4567".to_owned()], language)?;
        Ok(())
    }
}

/// A form with a field of every kind that letters treat in a way of its own.
pub(crate) fn form() -> Form {
    let words = |text: &str| json!({"da": text, "en": text});
    let form = json!({
        "id": "sample", "site": "sample", "department": "sample",
        "title": words("Sample form"), "purpose": words("To act on your report"), "legal_basis": ["gdpr-6-1-e", "dbl-11"],
        "fields": {
            "name": {"label": words("Name"), "section": words("You")},
            "choice": {"label": words("Choice"), "options": {"a": words("First")}},
            "group": {"label": words("Group"), "type": "group", "fields": {"one": {"label": words("One")}, "two": {"label": words("Two")}}},
            "groups": {"label": words("Groups"), "type": "group", "multiple": true, "fields": {"one": {"label": words("One")}}},
            "file": {"label": words("File"), "type": "file", "multiple": true},
            "empty": {"label": words("Empty")},
        },
        "journal": {"when": "always", "period": "P5Y", "archive": "preserve"},
    });
    serde_json::from_value(form).expect("the sample form is a form")
}

/// A submission with everything that a letter can show, or with nothing.
pub(crate) fn submission(full: bool, language: Language) -> Submission {
    let field = || "groups.1.one".to_owned();
    let remarks = vec![
        Remark::CprInText { field: field() },
        Remark::WrongType { field: field() },
        Remark::Missing { field: field() },
        Remark::FileMissing {
            field: "file".to_owned(),
        },
        Remark::TokenMasked { field: field() },
        Remark::Undeclared {
            field: "groups.1.three".to_owned(),
        },
        Remark::Undeclared {
            field: "extra".to_owned(),
        },
    ];
    Submission {
        id: nobody(),
        reference: Reference::from_random([7; 5]),
        site: site(),
        form: "sample".parse().expect("a form's id"),
        version: if full { 2 } else { 1 },
        received_at: Timestamp::UNIX_EPOCH,
        language,
        answers: if full { full_answers() } else { Answers::default() },
        remarks: if full { remarks } else { Vec::new() },
        changed: if full { vec!["name".to_owned()] } else { Vec::new() },
        withdrawn: full,
        late: false,
        test: full,
    }
}

fn full_answers() -> Answers {
    let text = |text: &str| Value::Text(text.to_owned());
    let group = |one: &str| Value::Group(vec![("one".to_owned(), text(one)), ("two".to_owned(), Value::Empty)]);
    let file = File {
        name: Some("plan.pdf".to_owned()),
        content: Some(b"%PDF".to_vec().into()),
        ..File::default()
    };
    let missing = File {
        id: Some("7".to_owned()),
        ..File::default()
    };
    let declared = [
        ("name", text("one line")),
        ("choice", text("a")),
        ("group", group("several\nlines")),
        (
            "groups",
            Value::List(vec![group("first"), Value::Empty, group("third")]),
        ),
        ("file", Value::List(vec![Value::File(file), Value::File(missing)])),
        ("empty", Value::Empty),
    ];
    Answers {
        declared: declared
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        undeclared: vec![("extra".to_owned(), json!({"a": [1, true, "x\ny"]}))],
        raw: serde_json::Map::new(),
    }
}

fn nobody() -> SubmissionId {
    "00000000-0000-7000-8000-000000000000"
        .parse()
        .expect("a submission's id")
}

fn site() -> SiteId {
    "sample".parse().expect("a site's id")
}

/// One of each kind, and more where a template tells them apart.
pub(crate) fn notices() -> Vec<Notice> {
    let at = Timestamp::UNIX_EPOCH;
    let reference = || Reference::from_random([7; 5]);
    let mut notices: Vec<Notice> = [60, 1, 0]
        .into_iter()
        .map(|days| Notice::CertificateExpires {
            days,
            at,
            fingerprint: "0123 4567".to_owned(),
        })
        .collect();
    let reasons = [
        Reason::Expired,
        Reason::Revoked,
        Reason::Weak,
        Reason::NoEncryptionKey,
        Reason::Unsupported,
        Reason::FingerprintMismatch,
        Reason::Unreadable,
        Reason::RateLimited,
        Reason::Undeliverable,
        Reason::FilesMissing,
        Reason::TooLarge,
        Reason::Smtp(550),
        Reason::Operator,
    ];
    notices.extend(reasons.into_iter().map(|reason| Notice::MailHeld {
        reference: reference(),
        reason,
    }));
    let quarantined = domain::quarantine::QuarantineReason::ALL.iter();
    notices.extend(quarantined.map(|reason| Notice::Quarantined {
        id: nobody(),
        site: site(),
        reason: *reason,
        since: at,
    }));
    notices.extend([
        Notice::ReceiptUndeliverable { reference: reference() },
        Notice::ExtractAwaitsCode {
            event: "E-1".to_owned(),
            since: at,
        },
        Notice::EventHeld {
            event: "E-1".to_owned(),
            held: at,
            references: vec![reference()],
            code: "1234".to_owned(),
        },
        Notice::EventHeld {
            event: "E-1".to_owned(),
            held: at,
            references: Vec::new(),
            code: "1234".to_owned(),
        },
        Notice::Withdrawn { reference: reference() },
        Notice::Corrected { reference: reference() },
        Notice::Checkpoint {
            at,
            note: "sample/log\n1\nroot\n\n— sample signature\n".to_owned(),
        },
    ]);
    notices
}
