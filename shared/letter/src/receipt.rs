//! The receipt to the submitter. Nothing in its view is an answer (P4, P9).

use domain::{EmailAddress, Form, Kind, Submission, Words};
use jiff::Timestamp;
use openpgp::{Outer, SealedMail, Sealing};
use serde::Serialize;

use crate::mime::{self, Body};
use crate::parcel::{Mail, Parcel, PlainMail};
use crate::templates::Letter;
use crate::words::{self, Moment, one_line};
use crate::{LetterError, Letters};

/// The role of every receipt.
const ROLE: &str = "receipt";

/// What a receipt is made from.
pub struct ReceiptInput<'a> {
    /// The submission; none of its answers is read.
    pub submission: &'a Submission,
    /// Its form.
    pub form: &'a Form,
    /// The department's name; left out of a discreet form's receipt.
    pub department: &'a Words,
    /// The submitter.
    pub to: &'a EmailAddress,
    /// Without angle brackets: a keyed digest, the same every time.
    pub message_id: &'a str,
    /// When the mail is made.
    pub date: Timestamp,
    /// With the submitter's own certificate, where a usable one was given.
    pub sealing: Option<&'a Sealing<'a>>,
}

/// What the template sees. What a discreet receipt may not say is `None` in it.
#[derive(Serialize)]
struct View<'a> {
    language: &'static str,
    reference: &'a str,
    received: Moment,
    form: Option<String>,
    department: Option<String>,
    purpose: Option<String>,
    basis: Option<String>,
    period: Option<String>,
    preserved: bool,
    registration: bool,
    late: bool,
    withdrawn: bool,
    consent: bool,
    discreet: bool,
    test: bool,
    controller: &'a str,
    address: &'a str,
    contact_url: &'a str,
    privacy_url: &'a str,
    dpo: &'a str,
    complaint: &'a str,
}

impl Letters {
    /// The receipt, in the submission's language. Encrypted where `sealing` is given.
    ///
    /// # Errors
    ///
    /// [`LetterError::Seal`] where the submitter's certificate cannot be used: the receipt may then go without.
    pub fn receipt(&self, input: &ReceiptInput) -> Result<Parcel, LetterError> {
        let letter = self.receipt_words(input)?;
        let short = short_subject(input.submission);
        let outer = Outer {
            from: &self.facts.from,
            to: input.to,
            reply_to: None,
            subject: if input.sealing.is_some() {
                &short
            } else {
                &letter.subject
            },
            message_id: input.message_id,
            references: &[],
            date: input.date,
            auto_submitted: true,
        };
        let body = Body {
            text: &letter.text,
            html: &letter.html,
            language: input.submission.language,
        };
        let mail = match input.sealing {
            Some(sealing) => {
                let inner = mime::payload(&outer, &letter.subject, &body, &[]);
                Mail::Sealed(SealedMail::compose(&outer, &inner, sealing).map_err(LetterError::Seal)?)
            }
            None => Mail::Plain(PlainMail::new(mime::message(&outer, &body))),
        };
        let (to, message_id) = (input.to.clone(), input.message_id.to_owned());
        Ok(Parcel {
            role: ROLE.to_owned(),
            to,
            message_id,
            mail,
        })
    }

    pub(crate) fn receipt_words(&self, input: &ReceiptInput) -> Result<Letter, LetterError> {
        let view = self.receipt_view(input);
        self.templates
            .letter("receipt", input.submission.language, &view, input.submission.test)
    }

    fn receipt_view<'a>(&'a self, input: &'a ReceiptInput) -> View<'a> {
        let (submission, form, facts) = (input.submission, input.form, &self.facts);
        let language = submission.language;
        let discreet = form.is_discreet();
        let open = |text: String| (!discreet).then_some(text);
        let journal = form.journal.as_ref().filter(|_| !discreet && form.may_be_journalised());
        View {
            language: language.code(),
            reference: submission.reference.as_str(),
            received: Moment::new(submission.received_at, &facts.time_zone, language),
            form: open(one_line(form.title.get(language))),
            department: open(one_line(input.department.get(language))),
            purpose: open(one_line(form.purpose.get(language))),
            basis: open(words::legal_bases(&form.legal_basis, language)),
            period: journal
                .and_then(|rule| rule.period.as_deref())
                .map(|period| words::period(period, language)),
            preserved: journal.is_some_and(|rule| rule.archive == Some(domain::form::Archive::Preserve)),
            registration: form.kind == Kind::Registration,
            late: submission.late,
            withdrawn: submission.withdrawn,
            consent: form.rests_on_consent(),
            discreet,
            test: submission.test,
            controller: &facts.name,
            address: &facts.address,
            contact_url: &facts.contact_url,
            privacy_url: &facts.privacy_url,
            dpo: &facts.dpo,
            complaint: &facts.complaint,
        }
    }
}

/// What stands outside an encrypted receipt.
fn short_subject(submission: &Submission) -> String {
    let word = match submission.language {
        domain::Language::Da => "Kvittering",
        domain::Language::En => "Receipt",
    };
    format!(
        "{}{word} {}",
        if submission.test { "TEST " } else { "" },
        submission.reference
    )
}
