//! One version of one submission, between its check and its letters.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Answers, Remark};
use crate::duty::worded;
use crate::{FormId, Language, Reference, SiteId, SubmissionId};

/// What a form is for, and so what becomes of its submissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Mailed, and then deleted.
    #[default]
    Message,
    /// For an event: kept until it is extracted after the deadline.
    Registration,
}

impl Kind {
    /// The word for it in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Registration => "registration",
        }
    }
}

worded! {
    /// Where a submission is in its life.
    State {
        /// Something that binds is owed.
        Open = "open",
        /// Payloads are removed; the data key is being destroyed. Counts as open.
        Deleting = "deleting",
        /// Only a tombstone is left.
        Deleted = "deleted",
        /// Not taken; sealed, waiting for a person.
        Quarantined = "quarantined",
    }
}

/// What the letters are made from: a checked submission. It is in memory only, or sealed: what waits for a certificate,
/// the journal's copy and what is kept of a registration are this, without the envelope.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submission {
    /// Kvit's own id of this version.
    pub id: SubmissionId,
    /// What the citizen quotes; shared by all versions.
    pub reference: Reference,
    /// The producer.
    pub site: SiteId,
    /// The form.
    pub form: FormId,
    /// 1 for the first; a correction counts on.
    pub version: u32,
    /// When Kvit took it.
    pub received_at: Timestamp,
    /// The submitter's language, else the controller's.
    pub language: Language,
    /// The answers.
    pub answers: Answers,
    /// What the department is told about them.
    pub remarks: Vec<Remark>,
    /// The keys of the fields whose answers differ from the version before; empty for a first version.
    pub changed: Vec<String>,
    /// The submitter withdrew it.
    pub withdrawn: bool,
    /// Sent after the event's deadline: told so, and not kept.
    pub late: bool,
    /// From a test site or with `x-kvit-test`: mails go to the site's test address.
    pub test: bool,
}

/// What is kept sealed of a submission while something waits for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The submission as it was taken.
    pub submission: Submission,
    /// The `Message-ID`s that its mails refer to, without angle brackets.
    pub references: Vec<String>,
}

impl Kept {
    /// As bytes, to be sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a submission is plain JSON")
    }

    /// Reads what [`Kept::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
