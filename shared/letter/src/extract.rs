//! The extract of an event: its registrations as lists, encrypted to a department.

use domain::form::ExtractFormat;
use domain::{EmailAddress, Form, Language, Reference, Submission, Words};
use jiff::Timestamp;
use openpgp::{Outer, SealedMail, Sealing};
use serde::Serialize;

use crate::list::{Lists, read};
use crate::mime::{self, Attachment, Body};
use crate::parcel::{Mail, Parcel};
use crate::templates::Letter;
use crate::words::{Moment, one_line};
use crate::{LetterError, Letters};

/// What an extract is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The list at the deadline, or a supplement to it.
    Extract,
    /// What an operator asked for.
    Export,
}

/// What an extract is made from.
pub struct ExtractInput<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The form that was filled in.
    pub form: &'a Form,
    /// The event's opaque name, which alone stands outside the encryption.
    pub event: &'a str,
    /// The department's name.
    pub department: &'a Words,
    /// Where it goes; a test's goes elsewhere than the department.
    pub to: &'a EmailAddress,
    /// The department's mailbox.
    pub reply_to: &'a EmailAddress,
    /// Without angle brackets.
    pub message_id: &'a str,
    /// What is to be given back; `None` where nothing is.
    pub code: Option<&'a str>,
    /// Whether a list was sent before.
    pub supplement: bool,
    /// The event's deadline.
    pub deadline: Option<Timestamp>,
    /// When it is held.
    pub held: Option<Timestamp>,
    /// The registrations, in order.
    pub registrations: &'a [Submission],
    /// Of registrations that are deleted, what is kept.
    pub addresses: &'a [(Reference, EmailAddress)],
    /// Whether it is of tests.
    pub test: bool,
}

#[derive(Serialize)]
struct View<'a> {
    language: &'static str,
    department: String,
    controller: &'a str,
    purpose: &'static str,
    title: String,
    event: &'a str,
    count: usize,
    addresses: usize,
    code: Option<&'a str>,
    supplement: bool,
    deadline: Option<Moment>,
    held: Option<Moment>,
}

impl Letters {
    /// The extract as an encrypted mail with a list in each of the form's formats and the registrations' files. Its role
    /// is `department`.
    ///
    /// # Errors
    ///
    /// [`LetterError::TooLarge`] where it is larger than `max_bytes`: make several of fewer registrations.
    /// [`LetterError::Seal`] where it cannot be encrypted; it is never sent in plain text.
    pub fn extract(&self, input: &ExtractInput, sealing: &Sealing, max_bytes: usize) -> Result<Parcel, LetterError> {
        let language = self.facts.language;
        let letter = self.extract_words(input, language)?;
        let outside = match language {
            Language::Da => format!("Tilmeldinger {}", input.event),
            Language::En => format!("Registrations {}", input.event),
        };
        let outside = if input.test { format!("TEST {outside}") } else { outside };
        let outer = Outer {
            from: &self.facts.from,
            to: input.to,
            reply_to: Some(input.reply_to),
            subject: &outside,
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
        let files = self.extract_files(input, language)?;
        if files.iter().map(mime::attached_size).sum::<usize>() > max_bytes {
            return Err(LetterError::TooLarge);
        }
        let inner = mime::payload(&outer, &letter.subject, &body, &files);
        let mail = SealedMail::compose(&outer, &inner, sealing).map_err(LetterError::Seal)?;
        if mail.as_bytes().len() > max_bytes {
            return Err(LetterError::TooLarge);
        }
        Ok(Parcel {
            role: "department".to_owned(),
            to: input.to.clone(),
            message_id: input.message_id.to_owned(),
            mail: Mail::Sealed(mail),
        })
    }

    /// The lists first, then what the registrants uploaded.
    fn extract_files<'a>(
        &self,
        input: &ExtractInput<'a>,
        language: Language,
    ) -> Result<Vec<Attachment<'a>>, LetterError> {
        let formats = input.form.event.as_ref().map(|event| event.formats.clone());
        let mut formats = formats.unwrap_or_default();
        if formats.is_empty() {
            formats = vec![ExtractFormat::Xlsx, ExtractFormat::Csv];
        }
        let Lists { mut sheets, files } = read(input.registrations, input.form, language, &self.facts.time_zone);
        sheets.extend(crate::list::addresses(input.addresses, language));
        // A cell of a spreadsheet has an end; what it cannot hold must be somewhere.
        let cut = sheets.iter().any(crate::list::Sheet::exceeds_a_spreadsheet);
        if cut && formats == [ExtractFormat::Xlsx] {
            formats.push(ExtractFormat::Json);
        }
        let mut attached = Vec::new();
        for format in formats {
            match format {
                ExtractFormat::Xlsx => attached.push(crate::list::xlsx(&sheets, language)?),
                ExtractFormat::Csv => attached.extend(crate::list::csv(&sheets, language)?),
                ExtractFormat::Json => attached.push(crate::list::json(input.registrations, language)),
            }
        }
        attached.extend(files);
        Ok(attached)
    }

    pub(crate) fn extract_words(&self, input: &ExtractInput, language: Language) -> Result<Letter, LetterError> {
        let moment = |at: Timestamp| Moment::new(at, &self.facts.time_zone, language);
        let view = View {
            language: language.code(),
            department: one_line(input.department.get(language)),
            controller: &self.facts.name,
            purpose: match input.purpose {
                Purpose::Extract => "extract",
                Purpose::Export => "export",
            },
            title: one_line(input.form.title.get(language)),
            event: input.event,
            count: input.registrations.len(),
            addresses: input.addresses.len(),
            code: input.code,
            supplement: input.supplement,
            deadline: input.deadline.map(moment),
            held: input.held.map(moment),
        };
        self.templates.notice("extract", language, &view, input.test)
    }
}
