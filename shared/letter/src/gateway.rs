//! The mail to a journal's gateway: nothing to read but its files, for a program.

use std::borrow::Cow;

use domain::{EmailAddress, Language, Reference};
use jiff::Timestamp;
use openpgp::{Outer, SealedMail, Sealing};

use crate::mime::{self, Attachment, Body};
use crate::{LetterError, Letters};

/// What a gateway's mail is made from.
pub struct GatewayInput<'a> {
    /// The gateway's mailbox.
    pub to: &'a EmailAddress,
    /// What the citizen quotes.
    pub reference: &'a Reference,
    /// Without angle brackets.
    pub message_id: &'a str,
    /// When the mail is made.
    pub date: Timestamp,
    /// Name, media type and content of each file.
    pub files: &'a [(String, String, Vec<u8>)],
    /// To whom it is encrypted; not at all where the way to the gateway is safe by itself.
    pub sealing: Option<&'a Sealing<'a>>,
}

impl Letters {
    /// The mail to a gateway, as it is sent.
    ///
    /// # Errors
    ///
    /// [`LetterError::Seal`] where it cannot be encrypted.
    pub fn gateway(&self, input: &GatewayInput<'_>) -> Result<Vec<u8>, LetterError> {
        let subject = format!("Formular {}", input.reference);
        let outer = Outer {
            from: &self.facts.from,
            to: input.to,
            reply_to: None,
            subject: &subject,
            message_id: input.message_id,
            references: &[],
            date: input.date,
            auto_submitted: true,
        };
        let files: Vec<Attachment<'_>> = input
            .files
            .iter()
            .map(|(name, mime, content)| Attachment {
                name: name.clone(),
                mime: mime.clone(),
                content: Cow::Borrowed(content),
            })
            .collect();
        let body = Body {
            text: &subject,
            html: &subject,
            language: Language::Da,
        };
        match input.sealing {
            None => Ok(mime::message_with_files(&outer, &body, &files)),
            Some(sealing) => {
                let inner = mime::payload(&outer, &subject, &body, &files);
                let sealed = SealedMail::compose(&outer, &inner, sealing).map_err(LetterError::Seal)?;
                Ok(sealed.into_bytes())
            }
        }
    }
}
