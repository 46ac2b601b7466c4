//! What is owed for a submission, and how far it has come.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no duty kind, state or reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word for a duty")]
pub struct UnknownWord;

/// Gives an enum its exact words, in both directions, for the store, JSON and the command line.
macro_rules! worded {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $name { $($(#[$item])* $variant),+ }

        impl $name {
            /// Every one of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in the store, in JSON and on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self { value.as_str() }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::duty::UnknownWord;
            fn try_from(word: String) -> Result<Self, $crate::duty::UnknownWord> { word.parse() }
        }

        impl FromStr for $name {
            type Err = $crate::duty::UnknownWord;
            fn from_str(word: &str) -> Result<Self, $crate::duty::UnknownWord> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err($crate::duty::UnknownWord) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use worded;

worded! {
    /// What is owed.
    DutyKind {
        /// The encrypted mail to the department. Binds.
        DepartmentMail = "department_mail",
        /// The receipt to the submitter. Binds.
        Receipt = "receipt",
        /// The journal entry. Has a copy of its own, and never binds.
        Journal = "journal",
        /// The content of files that the site named without it. Binds.
        Files = "files",
        /// The confirmed extract of an event. Binds.
        Extract = "extract",
        /// A notice without content to a department or an officer. Never binds.
        Notice = "notice",
    }
}

impl DutyKind {
    /// Whether the submission must be kept until this duty is discharged.
    #[must_use]
    pub fn binds(self) -> bool {
        matches!(self, Self::DepartmentMail | Self::Receipt | Self::Files | Self::Extract)
    }
}

worded! {
    /// How far a duty has come.
    DutyState {
        /// To be done, now or at its next time.
        Ready = "ready",
        /// In a worker's hands; found so after a crash, its effect is unknown.
        Sending = "sending",
        /// Done.
        Done = "done",
        /// Waits for something or somebody; its reason says what.
        Held = "held",
        /// Given up, with an alarm: a person must decide. Binds like one not done.
        Failed = "failed",
        /// Never to be done, with a reason.
        Cancelled = "cancelled",
    }
}

impl DutyState {
    /// Whether nothing is owed any more.
    #[must_use]
    pub fn is_discharged(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// Why a duty is held, failed or cancelled: one code, never a relay's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The department's certificate has expired.
    Expired,
    /// The department's certificate, or the subkey, is revoked.
    Revoked,
    /// The certificate does not meet the policy.
    Weak,
    /// The certificate has no key to encrypt to.
    NoEncryptionKey,
    /// The backend cannot use the certificate's algorithm.
    Unsupported,
    /// The file holds another key than the pinned one.
    FingerprintMismatch,
    /// The file cannot be read as a certificate.
    Unreadable,
    /// Over the limit of receipts to one address.
    RateLimited,
    /// There is no address, or it cannot be delivered to.
    Undeliverable,
    /// Files were named without their content.
    FilesMissing,
    /// Larger than the relay takes.
    TooLarge,
    /// The relay's reply code, 400 to 599.
    Smtp(u16),
    /// A person decided.
    Operator,
    /// The journal's disk is full.
    DiskFull,
    /// The journal's folder cannot be written to.
    ReadOnly,
    /// Nobody marked the journal's copy while it waited.
    Unmarked,
    /// The form is not configured any more.
    UnknownForm,
    /// The journal target is not configured any more.
    UnknownTarget,
    /// The form names no theme, which every journal entry must have (J2).
    ThemeMissing,
    /// The journal target shows a certificate that is not trusted, or its own cannot be encrypted to.
    CertificateRefused,
    /// The journal target refuses it for good.
    Refused,
    /// The journal target's status code, 400 to 599.
    Http(u16),
}

impl Reason {
    /// Every one of them, with one reply of each sort for those that have a number.
    pub const ALL: &'static [Self] = &[
        Self::Expired,
        Self::Revoked,
        Self::Weak,
        Self::NoEncryptionKey,
        Self::Unsupported,
        Self::FingerprintMismatch,
        Self::Unreadable,
        Self::RateLimited,
        Self::Undeliverable,
        Self::FilesMissing,
        Self::TooLarge,
        Self::Smtp(450),
        Self::Smtp(550),
        Self::Operator,
        Self::DiskFull,
        Self::ReadOnly,
        Self::Unmarked,
        Self::UnknownForm,
        Self::UnknownTarget,
        Self::ThemeMissing,
        Self::CertificateRefused,
        Self::Refused,
        Self::Http(404),
        Self::Http(503),
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Weak => "weak",
            Self::NoEncryptionKey => "no_encryption_key",
            Self::Unsupported => "unsupported",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::Unreadable => "unreadable",
            Self::RateLimited => "rate_limited",
            Self::Undeliverable => "undeliverable",
            Self::FilesMissing => "files_missing",
            Self::TooLarge => "too_large",
            Self::Smtp(code) => return write!(f, "smtp_{code}"),
            Self::Operator => "operator",
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
            Self::Unmarked => "unmarked",
            Self::UnknownForm => "unknown_form",
            Self::UnknownTarget => "unknown_target",
            Self::ThemeMissing => "theme_missing",
            Self::CertificateRefused => "certificate_refused",
            Self::Refused => "refused",
            Self::Http(code) => return write!(f, "http_{code}"),
        })
    }
}

impl FromStr for Reason {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Ok(match word {
            "expired" => Self::Expired,
            "revoked" => Self::Revoked,
            "weak" => Self::Weak,
            "no_encryption_key" => Self::NoEncryptionKey,
            "unsupported" => Self::Unsupported,
            "fingerprint_mismatch" => Self::FingerprintMismatch,
            "unreadable" => Self::Unreadable,
            "rate_limited" => Self::RateLimited,
            "undeliverable" => Self::Undeliverable,
            "files_missing" => Self::FilesMissing,
            "too_large" => Self::TooLarge,
            "operator" => Self::Operator,
            "disk_full" => Self::DiskFull,
            "read_only" => Self::ReadOnly,
            "unmarked" => Self::Unmarked,
            "unknown_form" => Self::UnknownForm,
            "unknown_target" => Self::UnknownTarget,
            "theme_missing" => Self::ThemeMissing,
            "certificate_refused" => Self::CertificateRefused,
            "refused" => Self::Refused,
            other => {
                let (kind, code) = other.split_once('_').ok_or(UnknownWord)?;
                let code = code.parse().ok().filter(|code| (400..600).contains(code));
                match (kind, code) {
                    ("smtp", Some(code)) => Self::Smtp(code),
                    ("http", Some(code)) => Self::Http(code),
                    _ => return Err(UnknownWord),
                }
            }
        })
    }
}
