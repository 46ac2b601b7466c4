//! The proof of one leaf as a text of its own, as [tlog-proof](https://c2sp.org/tlog-proof) writes it: index, path and
//! checkpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{CheckpointError, Signed, Trust};
use crate::hash::{Hash, leaf_hash};
use crate::proof;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not written as one.
    #[error("it is not a proof as c2sp.org/tlog-proof writes it")]
    Malformed,
    /// Its checkpoint is not believed.
    #[error("its checkpoint is not valid")]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not in the log that was signed.
    #[error("the leaf is not in the log that its checkpoint was signed for")]
    NotIncluded,
}

/// That a leaf is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The leaf's index.
    pub index: u64,
    /// The hashes from the leaf's sibling up.
    pub path: Vec<Hash>,
    /// The checkpoint's note.
    pub note: String,
}

impl Inclusion {
    /// The proof as a text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nindex {}\n", self.index);
        for hash in &self.path {
            text += &STANDARD.encode(hash);
            text.push('\n');
        }
        text + "\n" + &self.note
    }

    /// A proof from its text.
    ///
    /// # Errors
    ///
    /// [`ProofError::Malformed`]
    pub fn read(text: &str) -> Result<Self, ProofError> {
        let (head, note) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = head.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ProofError::Malformed);
        }
        let index = lines.find(|line| !line.starts_with("extra "));
        let index = index.and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(|index| index.parse().ok());
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        Ok(Self {
            index: index.ok_or(ProofError::Malformed)?,
            path: lines.map(hash).collect::<Option<_>>().ok_or(ProofError::Malformed)?,
            note: note.to_owned(),
        })
    }

    /// The checkpoint of the log that this leaf is in.
    ///
    /// # Errors
    ///
    /// [`ProofError`] where it is not.
    pub fn check(&self, leaf: &[u8], trust: &Trust) -> Result<Signed, ProofError> {
        let signed = trust.open(&self.note)?;
        let checkpoint = &signed.checkpoint;
        let hash = leaf_hash(leaf);
        if proof::includes(&hash, self.index, checkpoint.size, &self.path, &checkpoint.root) {
            Ok(signed)
        } else {
            Err(ProofError::NotIncluded)
        }
    }
}
