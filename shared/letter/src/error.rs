//! Why a letter could not be made. No answer is ever in it.

use std::io;

use openpgp::SealError;

/// Why templates did not load, or a letter could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// A file of the overriding folder cannot be read.
    #[error("cannot read template {name}")]
    Unreadable {
        /// Relative to the folder; empty for the folder itself.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file of the overriding folder replaces nothing.
    #[error("template {name} replaces none of Kvit's")]
    Unknown {
        /// Relative to the folder.
        name: String,
    },
    /// A template is no valid template. Found when loading.
    #[error("template {name} is not valid")]
    Invalid {
        /// Which.
        name: String,
        /// Why, and in which line.
        #[source]
        cause: minijinja::Error,
    },
    /// A template does not render, found when loading with sample input or when a letter is made. The cause is the kind
    /// of fault alone, since a detail could show what was rendered.
    #[error("template {name} does not render, line {line}: {kind}")]
    Unrendered {
        /// Which.
        name: String,
        /// Where; 0 if unknown.
        line: usize,
        /// What.
        kind: minijinja::ErrorKind,
    },
    /// A text template has no first line to be the subject.
    #[error("template {name} has no subject in its first line")]
    NoSubject {
        /// Which.
        name: String,
    },
    /// The mail cannot be encrypted.
    #[error("cannot seal a mail")]
    Seal(#[source] SealError),
    /// One attachment alone, or the text alone, makes a mail larger than the limit.
    #[error("a mail would be larger than the limit, however it is split")]
    TooLarge,
    /// An extract's list cannot be written. The cause could show a cell, and is not kept.
    #[error("cannot write the list of an extract")]
    List,
}
