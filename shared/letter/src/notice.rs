//! Notices to departments and officers: something must be done, and nothing of any submission is said.

use domain::quarantine::QuarantineReason;
use domain::{EmailAddress, Reason, Reference, SiteId, SubmissionId, Words};
use jiff::Timestamp;
use openpgp::Outer;
use serde::Serialize;

use crate::mime::{self, Body};
use crate::parcel::{Mail, Parcel, PlainMail};
use crate::templates::Letter;
use crate::words::{Moment, one_line};
use crate::{LetterError, Letters};

/// The role of every notice.
const ROLE: &str = "notice";

/// What a notice is about.
///
/// `event` is whatever names the event to the department without telling what it is about: it travels in plain text, so
/// never a form's name or id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A certificate that mails are encrypted to expires.
    CertificateExpires {
        /// In how many days; 0 or less where it already has.
        days: i64,
        /// When.
        at: Timestamp,
        /// Which.
        fingerprint: String,
    },
    /// A mail waits and is not sent.
    MailHeld {
        /// Of the submission.
        reference: Reference,
        /// Why.
        reason: Reason,
    },
    /// A receipt could not be delivered: the submitter has no reference (D3).
    ReceiptUndeliverable {
        /// Of the submission.
        reference: Reference,
    },
    /// A message could not be taken, and waits for a person.
    Quarantined {
        /// Kvit's id of it.
        id: SubmissionId,
        /// Its producer.
        site: SiteId,
        /// Why.
        reason: QuarantineReason,
        /// When it came.
        since: Timestamp,
    },
    /// An extract was sent, and its code has not been given back.
    ExtractAwaitsCode {
        /// Names the event and nothing else.
        event: String,
        /// When the extract was sent.
        since: Timestamp,
    },
    /// The day after an event: the department deletes its mails (E4).
    EventHeld {
        /// Names the event and nothing else.
        event: String,
        /// When it was held.
        held: Timestamp,
        /// Of the mails to delete.
        references: Vec<Reference>,
        /// To be given back when they are deleted.
        code: String,
    },
    /// A registration that was already extracted has been withdrawn (E4).
    Withdrawn {
        /// Of the registration.
        reference: Reference,
    },
    /// What the department was given is corrected in the journal (C3).
    Corrected {
        /// Of the submission.
        reference: Reference,
    },
    /// The daily checkpoint of the evidence, to the data protection officer.
    Checkpoint {
        /// When it was signed.
        at: Timestamp,
        /// The signed note as it stands.
        note: String,
    },
}

/// A notice and whom it is for.
pub struct NoticeInput<'a> {
    /// What it is about.
    pub notice: &'a Notice,
    /// The department's or officer's mailbox.
    pub to: &'a EmailAddress,
    /// Its name.
    pub department: &'a Words,
    /// Without angle brackets.
    pub message_id: &'a str,
    /// The `Message-ID`s of the mails it is about, without angle brackets, so that it joins their thread.
    pub references: &'a [String],
    /// When the mail is made.
    pub date: Timestamp,
    /// Whether it is about a test.
    pub test: bool,
}

/// What the templates see: every field that any notice has.
#[derive(Serialize)]
struct View<'a> {
    language: &'static str,
    department: String,
    controller: &'a str,
    #[serde(flatten)]
    facts: NoticeFacts,
}

#[derive(Default, Serialize)]
struct NoticeFacts {
    days: i64,
    at: Option<Moment>,
    reference: String,
    references: Vec<String>,
    reason: String,
    smtp_code: Option<u16>,
    id: String,
    site: String,
    event: String,
    code: String,
    fingerprint: String,
    note: Vec<String>,
}

impl Notice {
    /// The name of its template.
    pub(crate) fn template(&self) -> &'static str {
        match self {
            Self::CertificateExpires { .. } => "notice-certificate",
            Self::MailHeld { .. } => "notice-held",
            Self::ReceiptUndeliverable { .. } => "notice-undeliverable",
            Self::Quarantined { .. } => "notice-quarantined",
            Self::ExtractAwaitsCode { .. } => "notice-extract",
            Self::EventHeld { .. } => "notice-event",
            Self::Withdrawn { .. } => "notice-withdrawn",
            Self::Corrected { .. } => "notice-corrected",
            Self::Checkpoint { .. } => "notice-checkpoint",
        }
    }

    fn facts(&self, moment: impl Fn(Timestamp) -> Moment) -> NoticeFacts {
        let none = NoticeFacts::default();
        match self {
            Self::CertificateExpires { days, at, fingerprint } => NoticeFacts {
                days: *days,
                at: Some(moment(*at)),
                fingerprint: fingerprint.clone(),
                ..none
            },
            Self::MailHeld { reference, reason } => NoticeFacts {
                reference: reference.to_string(),
                reason: reason.to_string(),
                smtp_code: if let Reason::Smtp(code) = reason {
                    Some(*code)
                } else {
                    None
                },
                ..none
            },
            Self::ReceiptUndeliverable { reference }
            | Self::Withdrawn { reference }
            | Self::Corrected { reference } => NoticeFacts {
                reference: reference.to_string(),
                ..none
            },
            Self::Quarantined {
                id,
                site,
                reason,
                since,
            } => NoticeFacts {
                id: id.to_string(),
                site: site.to_string(),
                reason: reason.to_string(),
                at: Some(moment(*since)),
                ..none
            },
            Self::ExtractAwaitsCode { event, since } => NoticeFacts {
                event: one_line(event),
                at: Some(moment(*since)),
                ..none
            },
            Self::EventHeld {
                event,
                held,
                references,
                code,
            } => NoticeFacts {
                event: one_line(event),
                at: Some(moment(*held)),
                references: references.iter().map(ToString::to_string).collect(),
                code: one_line(code),
                ..none
            },
            Self::Checkpoint { at, note } => NoticeFacts {
                at: Some(moment(*at)),
                note: note.lines().map(one_line).collect(),
                ..none
            },
        }
    }
}

impl Letters {
    /// A notice in the controller's language, in plain text.
    ///
    /// # Errors
    ///
    /// [`LetterError`] where an overridden template does not render.
    pub fn notice(&self, input: &NoticeInput) -> Result<Parcel, LetterError> {
        let language = self.facts.language;
        let letter = self.notice_words(input, language)?;
        let outer = Outer {
            from: &self.facts.from,
            to: input.to,
            reply_to: None,
            subject: &letter.subject,
            message_id: input.message_id,
            references: input.references,
            date: input.date,
            auto_submitted: true,
        };
        let body = Body {
            text: &letter.text,
            html: &letter.html,
            language,
        };
        let mail = Mail::Plain(PlainMail::new(mime::message(&outer, &body)));
        let (to, message_id) = (input.to.clone(), input.message_id.to_owned());
        Ok(Parcel {
            role: ROLE.to_owned(),
            to,
            message_id,
            mail,
        })
    }

    pub(crate) fn notice_words(&self, input: &NoticeInput, language: domain::Language) -> Result<Letter, LetterError> {
        let view = View {
            language: language.code(),
            department: one_line(input.department.get(language)),
            controller: &self.facts.name,
            facts: input
                .notice
                .facts(|at| Moment::new(at, &self.facts.time_zone, language)),
        };
        self.templates
            .notice(input.notice.template(), language, &view, input.test)
    }
}
