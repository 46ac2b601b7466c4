//! Opening what a site sealed to intake's certificate.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::SystemTime;

use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::key::{SecretParts, UnspecifiedRole};
use sequoia_openpgp::packet::{Key, PKESK, SKESK};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::{DecryptionHelper, DecryptorBuilder, MessageStructure, VerificationHelper};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::{PublicKeyAlgorithm, SymmetricAlgorithm};
use sequoia_openpgp::{Cert, KeyHandle};

use crate::armor;
use crate::certificate::Certificate;
use crate::keys::{KeyError, read_secret, secrets};

/// More packets than this, inside and outside, is no message of a site; each may be a megabyte behind compression.
const MOST_PACKETS: usize = 192;

/// Why a message could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// Not one complete encrypted message: other text, plaintext, cut short, or changed on the way.
    #[error("not one complete encrypted OpenPGP message")]
    Malformed(#[source] Option<anyhow::Error>),
    /// Encrypted to other keys.
    #[error("the OpenPGP message is not encrypted to this key")]
    NotForUs,
    /// What is inside is larger than the limit.
    #[error("the content of the OpenPGP message is too large")]
    TooLarge,
}

/// The key that opens sealed messages. Cheap to clone.
///
/// Expiry does not matter here: what was sealed while the key lived is opened as long as the key is kept.
#[derive(Clone)]
pub struct UnsealKey(Arc<Inner>);

struct Inner {
    cert: Cert,
    keys: Vec<Key<SecretParts, UnspecifiedRole>>,
}

impl UnsealKey {
    /// Reads an unprotected secret key, armored or binary.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where it is no key, holds no secret that decrypts, or wants a password.
    pub fn read(bytes: &[u8]) -> Result<Self, KeyError> {
        let cert = read_secret(bytes, PublicKeyAlgorithm::for_encryption)?;
        let keys = secrets(&cert, PublicKeyAlgorithm::for_encryption);
        Ok(Self(Arc::new(Inner { cert, keys })))
    }

    /// The public half, to give to those who seal.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        Certificate::from(self.0.cert.clone())
    }

    /// The primary key's fingerprint, in upper case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.cert.fingerprint().to_hex()
    }

    /// Opens a message, armored or binary, of at most `limit` octets of content.
    ///
    /// Nothing is given out before the whole is checked. Signatures are not: who may write is the broker's business.
    ///
    /// # Errors
    ///
    /// [`UnsealError`]; compression bombs end as [`UnsealError::TooLarge`] without being unpacked beyond the limit.
    pub fn open(&self, ciphertext: &[u8], limit: usize) -> Result<Vec<u8>, UnsealError> {
        let is_binary = ciphertext.first().is_some_and(|octet| octet & 0x80 != 0);
        if !is_binary && !str::from_utf8(ciphertext).is_ok_and(armor::is_one_block) {
            return Err(UnsealError::Malformed(None));
        }
        let session_keys = armor::session_keys(ciphertext).map_err(|error| UnsealError::Malformed(Some(error)))?;
        if session_keys.is_none() {
            return Err(UnsealError::Malformed(None));
        }
        let policy = ciphers();
        let opener = Opener {
            keys: &self.0.keys,
            packets: 0,
        };
        let builder = DecryptorBuilder::from_bytes(ciphertext).map_err(|error| UnsealError::Malformed(Some(error)))?;
        // The buffer holds as much as the limit, so a message within it is checked to its end before the first octet.
        let decryptor = builder
            .buffer_size(limit)
            .with_policy(&policy, SystemTime::UNIX_EPOCH, opener);
        let mut decryptor = decryptor.map_err(|error| match error.downcast::<NoKeyFits>() {
            Ok(NoKeyFits) => UnsealError::NotForUs,
            Err(error) => UnsealError::Malformed(Some(error)),
        })?;
        if !decryptor.message_processed() {
            return Err(UnsealError::TooLarge);
        }
        let mut plaintext = Vec::new();
        decryptor
            .read_to_end(&mut plaintext)
            .map_err(|error| UnsealError::Malformed(Some(error.into())))?;
        if plaintext.len() > limit {
            Err(UnsealError::TooLarge)
        } else {
            Ok(plaintext)
        }
    }
}

impl fmt::Debug for UnsealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnsealKey").field(&self.fingerprint()).finish()
    }
}

/// AES only, at any time: the policy for messages needs no clock.
fn ciphers() -> StandardPolicy<'static> {
    let mut policy = StandardPolicy::new();
    policy.reject_all_symmetric_algos();
    for cipher in [
        SymmetricAlgorithm::AES128,
        SymmetricAlgorithm::AES192,
        SymmetricAlgorithm::AES256,
    ] {
        policy.accept_symmetric_algo(cipher);
    }
    policy
}

#[derive(Debug, thiserror::Error)]
#[error("no key fits the message")]
struct NoKeyFits;

/// What sequoia asks while it reads.
struct Opener<'a> {
    keys: &'a [Key<SecretParts, UnspecifiedRole>],
    packets: usize,
}

impl VerificationHelper for Opener<'_> {
    fn inspect(&mut self, _: &sequoia_openpgp::parse::PacketParser<'_>) -> sequoia_openpgp::Result<()> {
        self.packets += 1;
        anyhow::ensure!(self.packets <= MOST_PACKETS, "too many packets");
        Ok(())
    }

    fn get_certs(&mut self, _: &[KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
        Ok(Vec::new())
    }

    fn check(&mut self, _: MessageStructure<'_>) -> sequoia_openpgp::Result<()> {
        Ok(())
    }
}

impl DecryptionHelper for Opener<'_> {
    fn decrypt(
        &mut self,
        session_keys: &[PKESK],
        _: &[SKESK],
        cipher: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> sequoia_openpgp::Result<Option<Cert>> {
        for session_key in session_keys {
            let wanted = session_key.recipient();
            let fits = |key: &&Key<_, _>| wanted.as_ref().is_none_or(|handle| key.key_handle().aliases(handle));
            for key in self.keys.iter().filter(fits) {
                let mut pair = key.clone().into_keypair()?;
                if session_key
                    .decrypt(&mut pair, cipher)
                    .is_some_and(|(cipher, key)| decrypt(cipher, &key))
                {
                    return Ok(None);
                }
            }
        }
        Err(NoKeyFits.into())
    }
}
