//! The key that Kvit signs with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use sequoia_openpgp::Cert;
use sequoia_openpgp::crypto::KeyPair;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{SecretParts, UnspecifiedRole};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::types::PublicKeyAlgorithm;

use crate::certificate::{Certificate, CertificateState, holds_until};
use crate::verdict::{LiveKey, Purpose, ends, judge};

/// How long a choice of key is used again.
const CHOICE_HOLDS: SignedDuration = SignedDuration::from_hours(1);

/// Why a secret key cannot be used, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not an OpenPGP key.
    #[error("cannot read the OpenPGP key")]
    Unreadable(#[source] anyhow::Error),
    /// A certificate without secrets, or without one for the purpose.
    #[error("the OpenPGP key holds no secret key for this purpose")]
    NoSecretKey,
    /// Nobody is there to type a password.
    #[error("the OpenPGP key is protected by a password")]
    Protected,
    /// A user ID that is empty or holds a control character.
    #[error("not a usable user id for an OpenPGP key")]
    UserId,
    /// The backend failed.
    #[error("cannot make an OpenPGP key")]
    Generate(#[source] anyhow::Error),
}

/// The key that mails to departments are signed with. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    cert: Cert,
    warm: Mutex<Option<Choice>>,
}

#[derive(Clone)]
struct Choice {
    pair: Result<KeyPair, CertificateState>,
    from: Timestamp,
    until: Timestamp,
}

impl SigningKey {
    /// Reads an unprotected secret key, armored or binary.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where it is no key, holds no secret that signs, or wants a password.
    pub fn read(bytes: &[u8]) -> Result<Self, KeyError> {
        let cert = read_secret(bytes, PublicKeyAlgorithm::for_signing)?;
        Ok(Self(Arc::new(Inner {
            cert,
            warm: Mutex::new(None),
        })))
    }

    /// Whether it can sign at `now`, judged as a recipient's certificate is.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> CertificateState {
        self.pair(now).err().unwrap_or(CertificateState::Usable)
    }

    /// When it can no longer sign, or, where it has expired, since when; `None` where that is never, or for another reason.
    #[must_use]
    pub fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        ends(&self.0.cert, Purpose::Signing, self.state(now), now)
    }

    /// The primary key's fingerprint, in upper case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.cert.fingerprint().to_hex()
    }

    /// The public half, to give to those who verify.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        Certificate::from(self.0.cert.clone())
    }

    /// The key to sign with at `now`: Ed25519 before others (RSA-4096 takes tens of milliseconds), then the newest.
    pub(crate) fn pair(&self, now: Timestamp) -> Result<KeyPair, CertificateState> {
        let mut warm = self.0.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(choice) = warm.as_ref().filter(|choice| choice.from <= now && now < choice.until) {
            return choice.pair.clone();
        }
        let pair = choose(&self.0.cert, now);
        let until = holds_until(&self.0.cert, now, CHOICE_HOLDS);
        *warm = Some(Choice {
            pair: pair.clone(),
            from: now.saturating_sub(CHOICE_HOLDS).unwrap_or(now),
            until,
        });
        pair
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.fingerprint()).finish()
    }
}

fn choose(cert: &Cert, now: Timestamp) -> Result<KeyPair, CertificateState> {
    let is_ed25519 = |key: &LiveKey| matches!(key.pk_algo(), PublicKeyAlgorithm::EdDSA | PublicKeyAlgorithm::Ed25519);
    judge(cert, Purpose::Signing, now)?
        .into_iter()
        .max_by_key(|key| (is_ed25519(key), key.creation_time()))
        .and_then(|key| key.parts_into_secret().ok())
        .and_then(|key| key.into_keypair().ok())
        .ok_or(CertificateState::Unsupported)
}

/// Reads a key that has at least one unprotected secret of the algorithms wanted.
pub(crate) fn read_secret(bytes: &[u8], wanted: fn(&PublicKeyAlgorithm) -> bool) -> Result<Cert, KeyError> {
    let cert = Cert::from_bytes(bytes).map_err(KeyError::Unreadable)?;
    let secrets = || cert.keys().secret().filter(|key| wanted(&key.key().pk_algo()));
    if secrets().any(|key| key.key().has_unencrypted_secret()) {
        Ok(cert)
    } else if secrets().next().is_some() {
        Err(KeyError::Protected)
    } else {
        Err(KeyError::NoSecretKey)
    }
}

/// Every unprotected secret of the algorithms wanted.
pub(crate) fn secrets(cert: &Cert, wanted: fn(&PublicKeyAlgorithm) -> bool) -> Vec<Key<SecretParts, UnspecifiedRole>> {
    let keys = cert
        .keys()
        .unencrypted_secret()
        .filter(|key| wanted(&key.key().pk_algo()));
    keys.map(|key| key.key().clone()).collect()
}
