//! The wrapping keys: one a purpose.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::VaultError;
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
#[derive(Default, Clone)]
pub struct WrappingKeys {
    /// For [`Purpose::Intake`].
    pub intake: Option<Zeroizing<[u8; 32]>>,
    /// For [`Purpose::Mail`].
    pub mail: Option<Zeroizing<[u8; 32]>>,
    /// For [`Purpose::Journal`].
    pub journal: Option<Zeroizing<[u8; 32]>>,
    /// For [`Purpose::Registration`].
    pub registration: Option<Zeroizing<[u8; 32]>>,
    /// For keyed digests and the epochs' keys.
    pub index: Option<Zeroizing<[u8; 32]>>,
}

impl WrappingKeys {
    fn of(&self, purpose: Purpose) -> Result<XChaCha20Poly1305, VaultError> {
        let key = match purpose {
            Purpose::Intake => &self.intake,
            Purpose::Mail => &self.mail,
            Purpose::Journal => &self.journal,
            Purpose::Registration => &self.registration,
        };
        let key = key.as_ref().ok_or(VaultError::NoWrappingKey(purpose))?;
        Ok(XChaCha20Poly1305::new((&**key).into()))
    }

    /// Wraps a data key; owner and purpose are authenticated with it, so that a row cannot be moved.
    pub(crate) fn wrap(&self, owner: Uuid, purpose: Purpose, key: &DataKey) -> Result<Vec<u8>, VaultError> {
        let nonce = nonce()?;
        let aad = aad(owner, purpose);
        let wrapped = self
            .of(purpose)?
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
        let cipher = self.of(purpose)?;
        let wrong = VaultError::WrongWrappingKey(purpose);
        let (nonce, sealed) = wrapped.split_at_checked(NONCE).ok_or_else(|| wrong.clone())?;
        let nonce = XNonce::try_from(nonce).map_err(|_| wrong.clone())?;
        let aad = aad(owner, purpose);
        let key = Zeroizing::new(
            cipher
                .decrypt(&nonce, Payload { msg: sealed, aad: &aad })
                .map_err(|_| wrong.clone())?,
        );
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
