//! A submission as the journal keeps it: a readable document, the answers as they were sent, and the files.
//!
//! A file's name in the journal says nothing of anybody; the name that the submitter gave stands in the document, and
//! beside the file here.

use domain::{Form, Language, Submission, Words};

use crate::department::{DepartmentInput, Draft};
use crate::{LetterError, Letters};

/// The longest ending that a file keeps.
const LONGEST_ENDING: usize = 5;

/// A submission for the journal.
pub struct Record {
    /// The document that people read, in HTML.
    pub html: String,
    /// The delivered answers as they were sent, as JSON.
    pub answers: Vec<u8>,
    /// The files with content, in the order they are mentioned.
    pub files: Vec<RecordFile>,
}

/// A file of the submitter.
pub struct RecordFile {
    /// What the journal calls it.
    pub name: String,
    /// What the submitter called it, made safe. Personal.
    pub original: String,
    /// The media type as the site says it; not trusted.
    pub mime: String,
    /// The bytes.
    pub content: Vec<u8>,
}

impl Letters {
    /// The record of a submission, in the controller's language.
    ///
    /// # Errors
    ///
    /// [`LetterError`] where the template does not render.
    pub fn record(&self, submission: &Submission, form: &Form, department: &Words) -> Result<Record, LetterError> {
        self.record_in(submission, form, department, self.facts.language)
    }

    pub(crate) fn record_in(
        &self,
        submission: &Submission,
        form: &Form,
        department: &Words,
        language: Language,
    ) -> Result<Record, LetterError> {
        let nobody = &self.facts.from.address;
        let input = DepartmentInput {
            submission,
            form,
            department,
            to: nobody,
            reply_to: nobody,
            message_id: &|role: &str| role.to_owned(),
            references: &[],
        };
        let mut draft = Draft::new(&input, language);
        let answers = draft
            .files
            .pop()
            .map(|file| file.content.into_owned())
            .unwrap_or_default();
        let mut originals = Vec::with_capacity(draft.files.len());
        for (index, file) in draft.files.iter_mut().enumerate() {
            let name = neutral(index + 1, &file.name);
            originals.push((std::mem::take(&mut file.name), name.clone()));
            file.name = format!("{} ({name})", originals[index].0);
        }
        let html = self.record_words(&draft)?;
        let files = draft.files.into_iter().zip(originals);
        let files = files.map(|(file, (original, name))| RecordFile {
            name,
            original,
            mime: file.mime,
            content: file.content.into_owned(),
        });
        Ok(Record {
            html,
            answers,
            files: files.collect(),
        })
    }
}

/// `bilag-1.pdf`: the ending of a name where it is one, and nothing else of it.
fn neutral(number: usize, original: &str) -> String {
    let ending = original.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let is_ending = |ending: &String| {
        (1..=LONGEST_ENDING).contains(&ending.len())
            && ending.bytes().all(|b| b.is_ascii_alphanumeric())
            && ending.bytes().any(|b| b.is_ascii_lowercase())
    };
    match ending.filter(is_ending) {
        Some(ending) => format!("bilag-{number}.{ending}"),
        None => format!("bilag-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// J1: whatever a citizen calls a file, its name in the journal has no digits of theirs.
    #[test]
    fn a_file_is_named_by_its_number_and_its_ending() {
        for (original, name) in [
            ("hul.PDF", "bilag-1.pdf"),
            ("0101901234.0101901234", "bilag-1"),
            ("0101901234", "bilag-1"),
            ("brev fra Åse.docx", "bilag-1.docx"),
            ("a.b/../c", "bilag-1"),
            ("løn.123", "bilag-1"),
        ] {
            assert_eq!(neutral(1, original), name, "{original}");
        }
    }
}
