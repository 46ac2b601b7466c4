//! The wrapping keys: a ring a purpose.

use std::fmt;

use chacha20poly1305::XNonce;
use chacha20poly1305::aead::{Aead, Payload};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::VaultError;
use crate::ring::Ring;
use crate::seal::{DataKey, NONCE, nonce};

/// What a data key's payloads are for, and so which service may open them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// What waits for intake: quarantined messages, and answers whose department has no usable certificate.
    Intake,
    /// Composed mails.
    Mail,
    /// The journal's own copy.
    Journal,
    /// What is kept of a registration.
    Registration,
}

impl Purpose {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Intake, Self::Mail, Self::Journal, Self::Registration];

    /// The word for it in the key store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Mail => "mail",
            Self::Journal => "journal",
            Self::Registration => "registration",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The wrapping keys that a program was given; a purpose without one cannot be opened by it.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct WrappingKeys {
    /// For [`Purpose::Intake`].
    pub intake: Option<Ring>,
    /// For [`Purpose::Mail`].
    pub mail: Option<Ring>,
    /// For [`Purpose::Journal`].
    pub journal: Option<Ring>,
    /// For [`Purpose::Registration`].
    pub registration: Option<Ring>,
    /// For keyed digests and the epochs' keys.
    pub index: Option<Ring>,
}

impl WrappingKeys {
    pub(crate) fn ring(&self, purpose: Purpose) -> Option<&Ring> {
        match purpose {
            Purpose::Intake => self.intake.as_ref(),
            Purpose::Mail => self.mail.as_ref(),
            Purpose::Journal => self.journal.as_ref(),
            Purpose::Registration => self.registration.as_ref(),
        }
    }

    /// Wraps a data key; owner and purpose are authenticated with it, so that a row cannot be moved.
    pub(crate) fn wrap(&self, owner: Uuid, purpose: Purpose, key: &DataKey) -> Result<Vec<u8>, VaultError> {
        let nonce = nonce()?;
        let aad = aad(owner, purpose);
        let ring = self.ring(purpose).ok_or(VaultError::NoWrappingKey(purpose))?;
        let wrapped = ring
            .cipher()
            .encrypt(
                &nonce,
                Payload {
                    msg: key.bytes(),
                    aad: &aad,
                },
            )
            .map_err(|_| VaultError::Damaged)?;
        Ok([nonce.as_slice(), &wrapped].concat())
    }

    pub(crate) fn unwrap(&self, owner: Uuid, purpose: Purpose, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        let ring = self.ring(purpose).ok_or(VaultError::NoWrappingKey(purpose))?;
        let wrong = VaultError::WrongWrappingKey(purpose);
        let (nonce, sealed) = wrapped.split_at_checked(NONCE).ok_or_else(|| wrong.clone())?;
        let nonce = XNonce::try_from(nonce).map_err(|_| wrong.clone())?;
        let aad = aad(owner, purpose);
        let opened = ring
            .ciphers()
            .find_map(|cipher| cipher.decrypt(&nonce, Payload { msg: sealed, aad: &aad }).ok());
        let key = Zeroizing::new(opened.ok_or_else(|| wrong.clone())?);
        DataKey::from_bytes(&key).ok_or(wrong)
    }
}

fn aad(owner: Uuid, purpose: Purpose) -> Vec<u8> {
    [
        b"kvit data key\0".as_slice(),
        owner.as_bytes(),
        purpose.as_str().as_bytes(),
    ]
    .concat()
}
