//! Checkpoints, as [tlog-checkpoint](https://c2sp.org/tlog-checkpoint) writes them, and whose are believed.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::note::{self, KeyError, LogKey, NoteError, VerifierKey};

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Its note is not.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("it is a signed note, but no checkpoint")]
    Malformed,
    /// It is another log's.
    #[error("it is of a log that none of the given keys is for")]
    Stranger,
}

/// A log's size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: `BASE/YEAR`.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    fn read(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed);
        };
        let read = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| CheckpointError::Malformed)?,
            root: STANDARD
                .decode(root)
                .ok()
                .and_then(|root| root.try_into().ok())
                .ok_or(CheckpointError::Malformed)?,
        };
        // Numbers and hashes have one spelling. Lines of an extension may follow, and say nothing to us.
        if origin.is_empty() || !text.starts_with(&read.text()) {
            return Err(CheckpointError::Malformed);
        }
        Ok(read)
    }

    /// Signs it with the log's key; the key's name is the origin.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where the origin can be no key's name.
    pub fn sign(self, key: &LogKey) -> Result<Signed, KeyError> {
        let note = key.sign(&self.origin, &self.text())?;
        Ok(Signed { checkpoint: self, note })
    }
}

/// A checkpoint whose signature was checked, or just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The note as it stands.
    pub note: String,
}

impl LogKey {
    /// Opens a checkpoint that this key signed, of whichever log.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn open(&self, note: &str) -> Result<Signed, CheckpointError> {
        let (text, _) = note::parts(note)?;
        let checkpoint = Checkpoint::read(text)?;
        let verifier = self.verifier(&checkpoint.origin);
        Trust(vec![verifier.map_err(|KeyError| CheckpointError::Malformed)?]).open(note)
    }
}

/// Whose checkpoints are believed.
///
/// One public key signs every year's log, under the log's origin as its name. So a key that is given for one year,
/// `BASE/2026`, is believed for the other years of the same `BASE` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust(Vec<VerifierKey>);

impl Trust {
    /// Believes these keys.
    #[must_use]
    pub fn new(keys: Vec<VerifierKey>) -> Self {
        Self(keys)
    }

    /// Opens a checkpoint that one of the keys signed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn open(&self, note: &str) -> Result<Signed, CheckpointError> {
        let (text, _) = note::parts(note)?;
        let checkpoint = Checkpoint::read(text)?;
        let mut refused = CheckpointError::Stranger;
        for key in &self.0 {
            if base(key.name()) != base(&checkpoint.origin) {
                continue;
            }
            let Ok(key) = key.renamed(&checkpoint.origin) else {
                continue;
            };
            match key.open(note) {
                Ok(_) => {
                    return Ok(Signed {
                        checkpoint,
                        note: note.to_owned(),
                    });
                }
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }
}

impl FromStr for Trust {
    type Err = KeyError;

    /// Verifier keys, one a line.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let keys: Vec<_> = lines.map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError) } else { Ok(Self(keys)) }
    }
}

/// An origin without its year.
fn base(origin: &str) -> &str {
    match origin.rsplit_once('/') {
        Some((base, year)) if year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(origin: &str, size: u64) -> Signed {
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size,
            root: [1; 32],
        };
        checkpoint.sign(&LogKey::from_seed([7; 32])).unwrap()
    }

    fn trust(name: &str, seed: u8) -> Trust {
        Trust::new(vec![LogKey::from_seed([seed; 32]).verifier(name).unwrap()])
    }

    #[test]
    fn a_key_is_believed_for_every_year_of_its_own_log() {
        let trusted = trust("kvit.example/2026", 7);
        for year in ["kvit.example/2026", "kvit.example/2027"] {
            let note = signed(year, 3);
            assert_eq!(trusted.open(&note.note), Ok(note));
        }
        assert_eq!(
            trusted.open(&signed("other.example/2026", 3).note),
            Err(CheckpointError::Stranger)
        );
        assert_eq!(
            trust("kvit.example/2026", 8).open(&signed("kvit.example/2026", 3).note),
            Err(CheckpointError::Note(NoteError::NotSigned))
        );
    }

    #[test]
    fn a_changed_checkpoint_is_refused() {
        let trusted = trust("kvit.example/2026", 7);
        let note = signed("kvit.example/2026", 30).note;
        let changed = note.replace("\n30\n", "\n31\n");
        assert_eq!(trusted.open(&changed), Err(NoteError::BadSignature.into()));
        for malformed in ["\n030\n", "\n+30\n", "\nthirty\n"] {
            let note = note.replace("\n30\n", malformed);
            assert_eq!(trusted.open(&note), Err(CheckpointError::Malformed), "{malformed:?}");
        }
    }
}
