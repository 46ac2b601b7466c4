//! The mail to the department: encrypted, with every answer and file of the submission.

use std::borrow::Cow;
use std::ops::Range;

use domain::{EmailAddress, Form, Language, Remark, Submission, Words};
use openpgp::{Outer, SealedMail, Sealing};
use serde::Serialize;

use crate::answers::{self, Entry, JSON_NAME, Reading, Section};
use crate::mime::{self, Attachment, Body};
use crate::parcel::{Mail, Parcel};
use crate::split::{self, Room};
use crate::templates::Letter;
use crate::words::{Moment, one_line};
use crate::{LetterError, Letters, labels};

/// What a department's mail is made from.
pub struct DepartmentInput<'a> {
    /// The submission.
    pub submission: &'a Submission,
    /// Its form.
    pub form: &'a Form,
    /// The department's name.
    pub department: &'a Words,
    /// Its mailbox, or the site's test address.
    pub to: &'a EmailAddress,
    /// Where answers to the mail go: the department itself.
    pub reply_to: &'a EmailAddress,
    /// The `Message-ID` of a role, without angle brackets: a keyed digest, the same every time.
    pub message_id: &'a dyn Fn(&str) -> String,
    /// The `Message-ID`s of the mails about the same reference that went before, without angle brackets.
    pub references: &'a [String],
}

/// What the template sees.
#[derive(Serialize)]
struct View<'a> {
    language: &'static str,
    form: String,
    reference: &'a str,
    department: String,
    controller: &'a str,
    received: Moment,
    test: bool,
    withdrawn: bool,
    correction: bool,
    files_missing: bool,
    changed: Vec<String>,
    part: usize,
    parts: usize,
    sections: &'a [Section],
    unanswered: &'a [String],
    undeclared: &'a [Entry],
    remarks: Vec<RemarkView>,
    files: Vec<FileView<'a>>,
    missing: &'a [String],
}

/// A remark whose words are the template's.
#[derive(Serialize)]
struct RemarkView {
    kind: &'static str,
    field: String,
}

/// An attachment, and in which part it comes.
#[derive(Serialize)]
struct FileView<'a> {
    name: &'a str,
    part: usize,
}

/// What all parts of one mail are made from.
pub(crate) struct Draft<'a> {
    pub(crate) input: &'a DepartmentInput<'a>,
    pub(crate) language: Language,
    pub(crate) reading: Reading<'a>,
    /// The submitter's files, and at the end the answers as they were sent.
    pub(crate) files: Vec<Attachment<'a>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(input: &'a DepartmentInput<'a>, language: Language) -> Self {
        let mut reading = answers::read(input.submission, input.form, language);
        let mut files = std::mem::take(&mut reading.files);
        files.push(as_sent(input.submission));
        Self {
            input,
            language,
            reading,
            files,
        }
    }

    /// The one part of a mail that is not split: all files.
    pub(crate) fn undivided(&self) -> [Range<usize>; 1] {
        let all = 0..self.files.len();
        [all]
    }
}

impl Letters {
    /// The mail to the department, or, where it would be larger than `max_bytes`, numbered mails of whole attachments.
    /// The roles are `department`, `department-2` …; the answers stand in the first, which the others refer to.
    ///
    /// # Errors
    ///
    /// [`LetterError::TooLarge`] where one attachment or the text alone is too large; [`LetterError::Seal`].
    pub fn department(
        &self,
        input: &DepartmentInput,
        sealing: &Sealing,
        max_bytes: usize,
    ) -> Result<Vec<Parcel>, LetterError> {
        let draft = Draft::new(input, self.facts.language);
        let words = self.department_words(&draft, &draft.undivided(), 0)?;
        for room in Room::attempts(max_bytes, words.text.len() + words.html.len(), sealing) {
            let Some(parts) = split::parts(&draft.files, room) else {
                continue;
            };
            let parcels = match parts.len() {
                1 => vec![self.sealed(&draft, sealing, &words, &parts, 0)?],
                _ => self.parts(&draft, sealing, &parts)?,
            };
            if parcels.iter().all(|parcel| parcel.mail.as_bytes().len() <= max_bytes) {
                return Ok(parcels);
            }
        }
        Err(LetterError::TooLarge)
    }

    fn parts(&self, draft: &Draft, sealing: &Sealing, parts: &[Range<usize>]) -> Result<Vec<Parcel>, LetterError> {
        let sealed = |index| {
            let words = self.department_words(draft, parts, index)?;
            self.sealed(draft, sealing, &words, parts, index)
        };
        (0..parts.len()).map(sealed).collect()
    }

    /// The words of one part: `parts` says which of the files each has.
    pub(crate) fn department_words(
        &self,
        draft: &Draft,
        parts: &[Range<usize>],
        index: usize,
    ) -> Result<Letter, LetterError> {
        let view = self.view(draft, parts, index);
        self.templates
            .letter("department", draft.language, &view, draft.input.submission.test)
    }

    /// The document of a submission, for the journal.
    pub(crate) fn record_words(&self, draft: &Draft) -> Result<String, LetterError> {
        let view = self.view(draft, &draft.undivided(), 0);
        let title = format!("{} · {}", view.form, view.reference);
        self.templates.document("record", draft.language, &title, &view)
    }

    fn view<'a>(&'a self, draft: &'a Draft, parts: &[Range<usize>], index: usize) -> View<'a> {
        let Draft {
            input,
            language,
            reading,
            files,
        } = draft;
        let (submission, language) = (input.submission, *language);
        let part_of = |at: usize| parts.iter().position(|range| range.contains(&at)).unwrap_or_default() + 1;
        let files = files.iter().enumerate().map(|(at, file)| FileView {
            name: &file.name,
            part: part_of(at),
        });
        View {
            language: language.code(),
            form: one_line(input.form.title.get(language)),
            reference: submission.reference.as_str(),
            department: one_line(input.department.get(language)),
            controller: &self.facts.name,
            received: Moment::new(submission.received_at, &self.facts.time_zone, language),
            test: submission.test,
            withdrawn: submission.withdrawn,
            correction: submission.version > 1 && !(submission.withdrawn && submission.changed.is_empty()),
            files_missing: !reading.missing.is_empty()
                || submission
                    .remarks
                    .iter()
                    .any(|remark| matches!(remark, Remark::FileMissing { .. })),
            changed: submission
                .changed
                .iter()
                .map(|path| labels::along(path, input.form, language))
                .collect(),
            part: index + 1,
            parts: parts.len(),
            sections: &reading.sections,
            unanswered: &reading.unanswered,
            undeclared: &reading.undeclared,
            remarks: remarks(submission, input.form, language),
            files: files.collect(),
            missing: &reading.missing,
        }
    }

    fn sealed(
        &self,
        draft: &Draft,
        sealing: &Sealing,
        words: &Letter,
        parts: &[Range<usize>],
        index: usize,
    ) -> Result<Parcel, LetterError> {
        let input = draft.input;
        let role = role(index + 1);
        let message_id = (input.message_id)(&role);
        let test = if input.submission.test { "TEST " } else { "" };
        let subject = format!("{test}Formular {}", input.submission.reference);
        let mut references = input.references.to_vec();
        if index > 0 {
            references.push((input.message_id)(&self::role(1)));
        }
        let outer = Outer {
            from: &self.facts.from,
            to: input.to,
            reply_to: Some(input.reply_to),
            subject: &subject,
            message_id: &message_id,
            references: &references,
            date: sealing.now,
            auto_submitted: true,
        };
        let body = Body {
            text: &words.text,
            html: &words.html,
            language: draft.language,
        };
        let inner = mime::payload(&outer, &words.subject, &body, &draft.files[parts[index].clone()]);
        let mail = SealedMail::compose(&outer, &inner, sealing).map_err(LetterError::Seal)?;
        Ok(Parcel {
            role,
            to: input.to.clone(),
            message_id,
            mail: Mail::Sealed(mail),
        })
    }
}

fn role(number: usize) -> String {
    if number == 1 {
        "department".to_owned()
    } else {
        format!("department-{number}")
    }
}

/// The delivered answers alone, as they came.
fn as_sent(submission: &Submission) -> Attachment<'static> {
    let json = serde_json::to_vec_pretty(&submission.answers.raw).expect("a map of JSON values is JSON");
    Attachment {
        name: JSON_NAME.to_owned(),
        mime: "application/json".to_owned(),
        content: Cow::Owned(json),
    }
}

/// What there is to remark, each once. An undeclared field of its own has a heading, and needs no remark.
fn remarks(submission: &Submission, form: &Form, language: Language) -> Vec<RemarkView> {
    let mut remarks: Vec<RemarkView> = Vec::new();
    for remark in &submission.remarks {
        let (kind, path) = match remark {
            Remark::CprInText { field } => ("cpr_in_text", field),
            Remark::WrongType { field } => ("wrong_type", field),
            Remark::Missing { field } => ("missing", field),
            Remark::FileMissing { field } => ("file_missing", field),
            Remark::TokenMasked { field } => ("token_masked", field),
            Remark::Undeclared { field } if field.contains('.') => ("undeclared", field),
            Remark::Undeclared { .. } => continue,
        };
        let field = labels::along(path, form, language);
        if !remarks.iter().any(|known| known.kind == kind && known.field == field) {
            remarks.push(RemarkView { kind, field });
        }
    }
    remarks
}
