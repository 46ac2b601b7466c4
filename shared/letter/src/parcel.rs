//! A finished mail on its way: what is sealed in the ledger, and opened again by the mailer.

use std::fmt;

use domain::EmailAddress;
use openpgp::SealedMail;
use serde::{Deserialize, Serialize};

/// The first bytes of an encoded parcel; the digit is the format's version.
const MAGIC: &[u8] = b"kvit-parcel-1\n";

/// Roles of mails that hold answers, which must be sealed.
const DEPARTMENT: &str = "department";

/// A whole mail in plain text, without an answer: a receipt or a notice. Only this crate makes one.
pub struct PlainMail(Vec<u8>);

impl PlainMail {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The mail as it is sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A mail in one of the two ways it may leave.
pub enum Mail {
    /// Encrypted: to departments, and to submitters who gave a certificate.
    Sealed(SealedMail),
    /// Not encrypted, without an answer.
    Plain(PlainMail),
}

impl Mail {
    /// The mail as it is sent: an RFC 5322 message with CRLF line ends, the same bytes every time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sealed(mail) => mail.as_bytes(),
            Self::Plain(mail) => mail.as_bytes(),
        }
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }
}

/// A mail and whom it is for.
pub struct Parcel {
    /// `department`, `department-2` …, `receipt`, `notice`.
    pub role: String,
    /// The only recipient.
    pub to: EmailAddress,
    /// Its `Message-ID`, without angle brackets.
    pub message_id: String,
    /// The mail.
    pub mail: Mail,
}

/// Bytes that are no parcel, or one that may not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a parcel that may be sent")]
pub struct NotAParcel;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    role: String,
    to: String,
    message_id: String,
    sealed: bool,
}

impl Parcel {
    /// The parcel as bytes. They are personal: seal them before they are stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = Head {
            role: self.role.clone(),
            to: self.to.expose().to_owned(),
            message_id: self.message_id.clone(),
            sealed: self.mail.is_sealed(),
        };
        let head = serde_json::to_vec(&head).expect("strings and a boolean are JSON");
        let body = self.mail.as_bytes();
        let mut bytes = Vec::with_capacity(MAGIC.len() + head.len() + 1 + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&head);
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads what [`Parcel::encode`] wrote. A sealed mail is checked to be one again, and a department's mail that is
    /// not sealed is refused (P1).
    ///
    /// # Errors
    ///
    /// [`NotAParcel`], saying nothing of the content.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAParcel> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(NotAParcel)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(NotAParcel)?;
        let head: Head = serde_json::from_slice(&rest[..end]).map_err(|_| NotAParcel)?;
        if head.role.starts_with(DEPARTMENT) && !head.sealed {
            return Err(NotAParcel);
        }
        let body = rest[end + 1..].to_vec();
        let mail = if head.sealed {
            Mail::Sealed(SealedMail::from_stored(body).map_err(|_| NotAParcel)?)
        } else {
            Mail::Plain(PlainMail(body))
        };
        let to = EmailAddress::parse(&head.to).map_err(|_| NotAParcel)?;
        Ok(Self {
            role: head.role,
            to,
            message_id: head.message_id,
            mail,
        })
    }
}

impl fmt::Debug for PlainMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainMail").field("bytes", &self.0.len()).finish()
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("sealed", &self.is_sealed())
            .field("bytes", &self.as_bytes().len())
            .finish()
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel")
            .field("role", &self.role)
            .field("mail", &self.mail)
            .finish_non_exhaustive()
    }
}
