//! The encrypted test mail to a department: whether it can read what is encrypted to its keys.

use domain::{EmailAddress, Language, Words};
use openpgp::{Outer, SealedMail, Sealing};
use serde::Serialize;

use crate::mime::{self, Body};
use crate::parcel::{Mail, Parcel};
use crate::templates::Letter;
use crate::words::one_line;
use crate::{LetterError, Letters};

/// What a test mail is made from.
pub struct KeyTestInput<'a> {
    /// The department's mailbox; answers go there too.
    pub to: &'a EmailAddress,
    /// Its name.
    pub department: &'a Words,
    /// Without angle brackets.
    pub message_id: &'a str,
}

#[derive(Serialize)]
struct View<'a> {
    language: &'static str,
    department: String,
    controller: &'a str,
    fingerprints: &'a [String],
}

impl Letters {
    /// A mail about no submission, encrypted and signed as a department's mails are. Its role is `department`.
    ///
    /// # Errors
    ///
    /// [`LetterError::Seal`] where it cannot be encrypted; it is never sent in plain text.
    pub fn key_test(&self, input: &KeyTestInput, sealing: &Sealing) -> Result<Parcel, LetterError> {
        let language = self.facts.language;
        let fingerprints: Vec<String> = sealing
            .recipients
            .iter()
            .map(openpgp::Certificate::fingerprint)
            .collect();
        let letter = self.key_test_words(input.department, &fingerprints, language)?;
        let outer = Outer {
            from: &self.facts.from,
            to: input.to,
            reply_to: Some(input.to),
            subject: &letter.subject,
            message_id: input.message_id,
            references: &[],
            date: sealing.now,
            auto_submitted: true,
        };
        let body = Body {
            text: &letter.text,
            html: &letter.html,
            language,
        };
        let inner = mime::payload(&outer, &letter.subject, &body, &[]);
        let mail = SealedMail::compose(&outer, &inner, sealing).map_err(LetterError::Seal)?;
        Ok(Parcel {
            role: "department".to_owned(),
            to: input.to.clone(),
            message_id: input.message_id.to_owned(),
            mail: Mail::Sealed(mail),
        })
    }

    pub(crate) fn key_test_words(
        &self,
        department: &Words,
        fingerprints: &[String],
        language: Language,
    ) -> Result<Letter, LetterError> {
        let view = View {
            language: language.code(),
            department: one_line(department.get(language)),
            controller: &self.facts.name,
            fingerprints,
        };
        self.templates.notice("notice-keytest", language, &view, false)
    }
}
