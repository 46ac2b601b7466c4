//! Encryption: every live key of every recipient, one strong cipher, no compression.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use sequoia_openpgp::armor::Kind;
use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message, Recipient, Signer};
use sequoia_openpgp::types::{Features, SymmetricAlgorithm};

use crate::certificate::{Certificate, CertificateState, Verdict};
use crate::keys::SigningKey;

/// To whom, signed by whom, in which format, and when.
#[derive(Debug, Clone, Copy)]
pub struct Sealing<'a> {
    /// Those who can open it. Every one must be usable.
    pub recipients: &'a [Certificate],
    /// Who signs it, inside the encryption.
    pub signer: Option<&'a SigningKey>,
    /// Whether v4 certificates that advertise it get RFC 9580's format, which GnuPG and Thunderbird do not read.
    pub rfc9580: bool,
    /// The time at which certificates are judged and the signature is made.
    pub now: Timestamp,
}

/// Why nothing was encrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A message that nobody could open.
    #[error("no recipient to encrypt to")]
    NoRecipient,
    /// A recipient's certificate is not usable now.
    #[error("no usable encryption key in certificate {fingerprint}")]
    Certificate {
        /// The certificate's primary key.
        fingerprint: String,
        /// What is wrong with it.
        #[source]
        state: CertificateState,
    },
    /// The signing key is not usable now.
    #[error("the signing key {fingerprint} cannot sign")]
    Signer {
        /// The signing key's primary key.
        fingerprint: String,
        /// What is wrong with it.
        #[source]
        state: CertificateState,
    },
    /// A header's value could change the mail: it holds a control character, or is no identifier.
    #[error("the mail's {0} cannot stand in a header")]
    Header(&'static str),
    /// The backend failed.
    #[error("cannot encrypt")]
    Backend(#[source] anyhow::Error),
}

/// Encrypts to all recipients, and signs where a signer is given. The result is ASCII-armored, with LF.
///
/// AES-256 always. `SEIPDv1` where a v4 key is among the recipients, however many features it advertises, unless
/// `rfc9580` is set: sequoia alone would choose `SEIPDv2`, which GnuPG and Thunderbird cannot open.
///
/// # Errors
///
/// [`SealError`]; where one recipient is not usable nothing is encrypted at all.
pub fn encrypt(plaintext: &[u8], sealing: &Sealing<'_>) -> Result<Vec<u8>, SealError> {
    let verdicts = usable(sealing)?;
    let signer = match sealing.signer {
        None => None,
        Some(key) => Some(key.pair(sealing.now).map_err(|state| SealError::Signer {
            fingerprint: key.fingerprint(),
            state,
        })?),
    };
    write(plaintext, recipients(&verdicts, sealing.rfc9580), signer, sealing.now).map_err(SealError::Backend)
}

fn usable(sealing: &Sealing<'_>) -> Result<Vec<Arc<Verdict>>, SealError> {
    if sealing.recipients.is_empty() {
        return Err(SealError::NoRecipient);
    }
    let mut verdicts = Vec::with_capacity(sealing.recipients.len());
    for certificate in sealing.recipients {
        let verdict = certificate.verdict(sealing.now);
        if let Err(state) = verdict.keys {
            return Err(SealError::Certificate {
                fingerprint: certificate.fingerprint(),
                state,
            });
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn recipients(verdicts: &[Arc<Verdict>], rfc9580: bool) -> Vec<Recipient<'_>> {
    let mut keys: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| verdict.keys.as_ref().ok())
        .flatten()
        .collect();
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.fingerprint()));
    let all_read_seipd2 = verdicts.iter().all(|verdict| verdict.reads_seipd2);
    let has_v4 = keys.iter().any(|key| key.version() < 6);
    let features = if all_read_seipd2 && (rfc9580 || !has_v4) {
        Features::empty().set_seipdv1().set_seipdv2()
    } else {
        Features::empty().set_seipdv1()
    };
    keys.into_iter()
        .map(|key| Recipient::new(features.clone(), Some(key.fingerprint().into()), key))
        .collect()
}

fn write(
    plaintext: &[u8],
    recipients: Vec<Recipient<'_>>,
    signer: Option<sequoia_openpgp::crypto::KeyPair>,
    now: Timestamp,
) -> anyhow::Result<Vec<u8>> {
    let mut sink = Vec::with_capacity(plaintext.len() / 2 * 3 + 4096);
    let message = Message::new(&mut sink);
    let message = Armorer::new(message).kind(Kind::Message).build()?;
    let encryptor = Encryptor::for_recipients(message, recipients).symmetric_algo(SymmetricAlgorithm::AES256);
    let mut message = encryptor.build()?;
    if let Some(pair) = signer {
        message = Signer::new(message, pair)?
            .creation_time(SystemTime::from(now))
            .build()?;
    }
    let mut literal = LiteralWriter::new(message).build()?;
    literal.write_all(plaintext)?;
    literal.finalize()?; // or the message is cut short
    Ok(sink)
}
