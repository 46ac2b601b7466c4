//! Signed notes with Ed25519, as [signed-note](https://c2sp.org/signed-note) writes them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The type of Ed25519 signatures over the note's text.
const ED25519: u8 = 1;
/// More than any checkpoint with all its signatures.
const MOST_BYTES: usize = 64 * 1024;

/// A text that is no verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no verifier key: that is NAME+HASH+KEY on one line, as in verifier.key beside a checkpoint")]
pub struct KeyError;

/// Why a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not written as a signed note.
    #[error("it is not a signed note")]
    Malformed,
    /// Nobody whose key is given signed it.
    #[error("it bears no signature of the given key")]
    NotSigned,
    /// A signature that claims to be of the given key is not over this text.
    #[error("its signature is false: the text is not what was signed")]
    BadSignature,
}

/// The private key that signs the checkpoints of every year.
#[derive(Clone)]
pub struct LogKey(SigningKey);

impl LogKey {
    /// The key of an Ed25519 seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Its public half, under a name.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where the name is empty or holds white space or `+`.
    pub fn verifier(&self, name: &str) -> Result<VerifierKey, KeyError> {
        VerifierKey::new(name, self.0.verifying_key())
    }

    /// The text, which ends in a newline, with this key's signature under that name.
    ///
    /// # Errors
    ///
    /// As [`LogKey::verifier`].
    pub fn sign(&self, name: &str, text: &str) -> Result<String, KeyError> {
        let id = self.verifier(name)?.id;
        let mut bytes = id.to_vec();
        bytes.extend(self.0.sign(text.as_bytes()).to_bytes());
        Ok(format!("{text}\n— {name} {}\n", STANDARD.encode(bytes)))
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey(…)")
    }
}

/// A public key under a name. Written as `NAME+HASH+KEY`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Result<Self, KeyError> {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(KeyError);
        }
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        Ok(Self {
            name: name.to_owned(),
            id: [hash[0], hash[1], hash[2], hash[3]],
            key,
        })
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same public key under another name.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where that is no name.
    pub fn renamed(&self, name: &str) -> Result<Self, KeyError> {
        Self::new(name, self.key)
    }

    /// The text of a note that this key signed. Signatures of others are passed over.
    ///
    /// # Errors
    ///
    /// [`NoteError`]
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str, NoteError> {
        let (text, signatures) = parts(note)?;
        let mut signed = false;
        for line in signatures.lines() {
            let line = line.strip_prefix("— ").ok_or(NoteError::Malformed)?;
            let (name, signature) = line.split_once(' ').ok_or(NoteError::Malformed)?;
            let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Malformed)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
            if name != self.name || *id != self.id {
                continue;
            }
            let signature = Signature::from_slice(signature).map_err(|_| NoteError::BadSignature)?;
            let valid = self.key.verify_strict(text.as_bytes(), &signature);
            valid.map_err(|_| NoteError::BadSignature)?;
            signed = true;
        }
        if signed { Ok(text) } else { Err(NoteError::NotSigned) }
    }
}

/// The text of a note, with its last newline, and the lines of its signatures. Nothing of either is believed yet.
pub(crate) fn parts(note: &str) -> Result<(&str, &str), NoteError> {
    let control = |c: char| c < ' ' && c != '\n';
    if note.len() > MOST_BYTES || note.contains(control) || !note.ends_with('\n') {
        return Err(NoteError::Malformed);
    }
    let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = (&note[..=end], &note[end + 2..]);
    if text.trim().is_empty() || signatures.is_empty() {
        return Err(NoteError::Malformed);
    }
    Ok((text, signatures))
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError);
        };
        let key = STANDARD.decode(key).map_err(|_| KeyError)?;
        let Some((&ED25519, key)) = key.split_first() else {
            return Err(KeyError);
        };
        let key = key.try_into().map_err(|_| KeyError)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| KeyError)?;
        let read = Self::new(name, key)?;
        if hex::encode(read.id) == id {
            Ok(read)
        } else {
            Err(KeyError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of golang.org/x/mod/sumdb/note, which signed-note standardises.
    const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n\n\
                        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_that_go_signed_is_opened() {
        let key: VerifierKey = VERIFIER.parse().unwrap();
        assert_eq!(key.to_string(), VERIFIER);
        assert!(key.open(NOTE).unwrap().ends_with("what your problem is.\n"));
        assert_eq!(
            key.open(&NOTE.replace("answer", "Answer")),
            Err(NoteError::BadSignature)
        );
        let other = LogKey::from_seed([7; 32]).verifier("PeterNeumann").unwrap();
        assert_eq!(other.open(NOTE), Err(NoteError::NotSigned));
    }

    #[test]
    fn what_is_not_a_note_or_a_key_is_refused() {
        let key: VerifierKey = VERIFIER.parse().unwrap();
        for note in [
            "",
            "\n\n",
            "text\n",
            "text\n\n",
            "text\n\nsigned\n",
            "te\rxt\n\n— a b\n",
            "text\n\n— a b",
        ] {
            assert_eq!(key.open(note), Err(NoteError::Malformed), "{note:?}");
        }
        for text in [
            "",
            "a+b",
            &VERIFIER.replace("c74f", "c74e"),
            &VERIFIER.replace("+ARpc", "+AhRpc"),
        ] {
            assert_eq!(text.parse::<VerifierKey>(), Err(KeyError), "{text}");
        }
        assert!(LogKey::from_seed([7; 32]).verifier("with space").is_err());
    }
}
