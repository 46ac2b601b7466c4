//! One data key, and sealing under it.

use std::fmt;

use chacha20poly1305::aead::{Aead, AeadInOut, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::VaultError;

/// The length of an `XChaCha20` nonce, in bytes.
pub(crate) const NONCE: usize = 24;
/// The length of a `Poly1305` tag, in bytes.
const TAG: usize = 16;

/// A random key that seals the payloads of one owner and purpose. Wiped from memory when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub(crate) fn random() -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| VaultError::NoRandomness)?;
        Ok(Self(key))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(|key| Self(Zeroizing::new(key)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Seals a payload; `context` says what it is and must be given again to open it.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the machine gave no randomness.
    pub fn seal(&self, context: &[u8], payload: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.seal_parts(context, &[payload])
    }

    /// Seals parts as the one payload that they make when joined. They are copied once, into the answer: a message may
    /// be large.
    ///
    /// # Errors
    ///
    /// As [`DataKey::seal`].
    pub fn seal_parts(&self, context: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, VaultError> {
        let nonce = nonce()?;
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut sealed = Vec::with_capacity(NONCE + length + TAG);
        sealed.extend_from_slice(&nonce);
        for part in parts {
            sealed.extend_from_slice(part);
        }
        if failpoint::mutant("payload_unsealed") {
            return Ok(sealed);
        }
        let payload = &mut sealed[NONCE..];
        let tag = self
            .cipher()
            .encrypt_inout_detached(&nonce, context, payload.into())
            .map_err(|_| VaultError::Damaged)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what was sealed under this key and context.
    ///
    /// # Errors
    ///
    /// [`VaultError::Damaged`] where it is not what was sealed.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or(VaultError::Damaged)?;
        if failpoint::mutant("payload_unsealed") {
            return Ok(sealed.to_vec());
        }
        let nonce = XNonce::try_from(nonce).map_err(|_| VaultError::Damaged)?;
        self.cipher()
            .decrypt(
                &nonce,
                Payload {
                    msg: sealed,
                    aad: context,
                },
            )
            .map_err(|_| VaultError::Damaged)
    }

    /// A digest of some content that only this key's holder can make again: with the key gone it links to nobody.
    #[must_use]
    pub fn mac(&self, content: &[u8]) -> Vec<u8> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.bytes()).expect("HMAC takes any key");
        mac.update(b"kvit content\0");
        mac.update(content);
        mac.finalize().into_bytes().to_vec()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

pub(crate) fn nonce() -> Result<XNonce, VaultError> {
    let mut bytes = [0; NONCE];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::NoRandomness)?;
    Ok(bytes.into())
}
