//! Deletion certificates: the proof of one deletion in one file, which a person can read and anybody can check.

use std::path::Path;

use domain::disposal::Rule;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Signed, Trust};
use crate::folder::{FolderError, Log, TileNodes, logs_in};
use crate::inclusion::{Inclusion, ProofError};
use crate::leaf::Leaf;
use crate::note::KeyError;
use crate::proof;
use crate::tile::{TILE_WIDTH, Tile};
use crate::verify::{Fault, verify_log};

/// What the file calls itself; the number changes when a reader of the old one could misread the new one.
const KIND: &str = "kvit deletion certificate 1";
/// The event that ends a deletion.
const DELETED: &str = "deleted";

const PROVES: [&str; 3] = [
    "That Kvit recorded, at the stated times, what happened to this submission, and that it was deleted from Kvit's \
     store by the stated rule and its key destroyed.",
    "That this record stands in the log that the checkpoint was signed for: it cannot have been added, changed or moved \
     since that checkpoint was signed, as anybody who kept a checkpoint of the log can check.",
    "That no answer needs to be shown for it: the record holds ids, times, a rule and a digest under the destroyed key.",
];
const DOES_NOT_PROVE: [&str; 7] = [
    "That the machine did what it recorded: a log proves what was said and when, not what is true.",
    "Anything about the mails: the department's and the submitter's mailboxes, and what relays keep in their spools.",
    "That the site's own copy is gone, unless an event `site_copy_gone` is listed; even then it is what the site said.",
    "That the broker's disk holds nothing, unless the site seals its messages: a broker may keep consumed messages.",
    "Anything about backups of the key store from before the deletion: with one of them and a backup of the data, the \
     submission could be read until both have been destroyed.",
    "Anything about the journal's copy: what was journalised is kept under its own key and its own rule.",
    "When in real time it happened: the times are of the machine's clock. The log proves their order and that they are \
     older than the checkpoint.",
];
const HOW: &str = "kvit evidence verify THIS_FILE --key KEY, with the log's verifier key as you got it before and \
                   elsewhere, not from this file. Each proof is a c2sp.org/tlog-proof; the leaf's hash is \
                   SHA-256(0x00 || leaf) (RFC 6962).";

/// Why there is no certificate, or why one proves nothing. Its display says it in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The log's folder does not hold.
    #[error(transparent)]
    Folder(#[from] Fault),
    /// A key in the folder cannot be read.
    #[error("the verifier key in the log's folder is not usable")]
    Key(#[from] KeyError),
    /// The log has nothing about it.
    #[error(
        "the evidence log holds nothing about this submission: is it sequenced yet, or in a year that was dropped?"
    )]
    Unknown,
    /// It was not deleted.
    #[error("this submission was not deleted, as far as the evidence log goes: its last event is {event} of {at}")]
    NotDeleted {
        /// The last event.
        event: String,
        /// When that was.
        at: jiff::Timestamp,
    },
    /// It is not a certificate.
    #[error("it is not a deletion certificate of a kind that is known here")]
    NotACertificate,
    /// An event's proof proves nothing.
    #[error("the proof of the event with index {index} proves nothing")]
    Proof {
        /// Which.
        index: u64,
        /// Why.
        #[source]
        cause: ProofError,
    },
    /// What a person reads is not what is proved.
    #[error("what the certificate says of the event with index {index} is not what its leaf says")]
    Differs {
        /// Which.
        index: u64,
    },
    /// A kept checkpoint is of another tree of the same size.
    #[error("the log {origin} had another content at {size} leaves when the checkpoint was kept: it was rewritten")]
    Forked {
        /// The log.
        origin: String,
        /// Its size.
        size: u64,
    },
}

impl From<FolderError> for CertificateError {
    fn from(error: FolderError) -> Self {
        Self::Folder(error.into())
    }
}

/// A deletion certificate. Its JSON is for a person too: what it proves and what not stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    #[serde(rename = "certificate")]
    kind: String,
    submission: String,
    deleted_at: String,
    rule: String,
    rule_in_words: String,
    events: Vec<Proved>,
    verifier_keys: Vec<String>,
    proves: Vec<String>,
    does_not_prove: Vec<String>,
    how_to_verify: String,
}

/// An event, and the proof of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proved {
    at: String,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    log: String,
    index: u64,
    leaf: String,
    proof: String,
}

/// What a certificate proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Kvit's id of the submission.
    pub submission: String,
    /// The leaf that says it was deleted.
    pub deletion: Leaf,
    /// What happened to it, in order.
    pub events: Vec<Leaf>,
    /// The checkpoints that its proofs lead to.
    pub checkpoints: Vec<Signed>,
}

impl Certificate {
    /// The certificate of a submission, by Kvit's id, from a folder of logs, which is checked first.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] where the folder does not hold, or the submission was not deleted.
    pub fn make(dir: &Path, submission: &str) -> Result<Self, CertificateError> {
        let logs = logs_in(dir)?;
        Self::of(submission, logs.iter().map(|log| proved(log, submission)))
    }

    /// As [`Certificate::make`], where somebody knows in which year's log, and at which index of it, the submission's leaves
    /// stand: in order. What it says is checked, and not the rest of the logs, so it takes no longer in large ones.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] where a leaf is not in the log that was signed, or the submission was not deleted.
    pub fn make_at(dir: &Path, submission: &str, places: &[(i16, u64)]) -> Result<Self, CertificateError> {
        let years = places.chunk_by(|(year, _), (next, _)| year == next);
        let found = years.filter_map(|of_year| {
            let log = Log::of_year(dir, of_year.first()?.0);
            Some(proved_at(&log, submission, of_year.iter().map(|(_, index)| *index)))
        });
        Self::of(submission, found)
    }

    fn of(
        submission: &str,
        logs: impl Iterator<Item = Result<Found, CertificateError>>,
    ) -> Result<Self, CertificateError> {
        let mut events = Vec::new();
        let mut verifier_keys = Vec::new();
        for found in logs {
            let (key, of_log) = found?;
            if !of_log.is_empty() {
                verifier_keys.push(key);
            }
            events.extend(of_log);
        }
        let (last, last_leaf) = events.last().ok_or(CertificateError::Unknown)?;
        let Some((deletion, leaf)) = events.iter().find(|(event, _)| event.event == DELETED) else {
            return Err(CertificateError::NotDeleted {
                event: last.event.clone(),
                at: last_leaf.at,
            });
        };
        let rule = leaf.rule.clone().unwrap_or_default();
        Ok(Self {
            kind: KIND.to_owned(),
            submission: submission.to_owned(),
            deleted_at: deletion.at.clone(),
            rule_in_words: in_words(&rule),
            rule,
            events: events.into_iter().map(|(event, _)| event).collect(),
            verifier_keys,
            proves: PROVES.map(str::to_owned).to_vec(),
            does_not_prove: DOES_NOT_PROVE.map(str::to_owned).to_vec(),
            how_to_verify: HOW.to_owned(),
        })
    }

    /// A certificate from its JSON.
    ///
    /// # Errors
    ///
    /// [`CertificateError::NotACertificate`]
    pub fn read(json: &[u8]) -> Result<Self, CertificateError> {
        let read: Self = serde_json::from_slice(json).map_err(|_| CertificateError::NotACertificate)?;
        if read.kind == KIND {
            Ok(read)
        } else {
            Err(CertificateError::NotACertificate)
        }
    }

    /// Its JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers are JSON")
    }

    /// Checks every proof in it, and that what it tells a person is what is proved. The keys in it are not believed, and
    /// its explanations are not compared.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]
    pub fn verify(&self, trust: &Trust, kept: &[Signed]) -> Result<Certified, CertificateError> {
        let mut events = Vec::new();
        let mut checkpoints: Vec<Signed> = Vec::new();
        for event in &self.events {
            let (leaf, signed) = event.check(trust, &self.submission)?;
            events.push(leaf);
            if !checkpoints.contains(&signed) {
                checkpoints.push(signed);
            }
        }
        let deletion = events.iter().zip(&self.events).find(|(leaf, _)| leaf.event == DELETED);
        let (deletion, told) = deletion.ok_or(CertificateError::NotACertificate)?;
        let rule = deletion.rule.as_deref().unwrap_or_default();
        if told.at != self.deleted_at || rule != self.rule {
            return Err(CertificateError::Differs { index: told.index });
        }
        for kept in kept.iter().map(|kept| &kept.checkpoint) {
            let same =
                |signed: &&Signed| signed.checkpoint.origin == kept.origin && signed.checkpoint.size == kept.size;
            if checkpoints
                .iter()
                .find(same)
                .is_some_and(|signed| signed.checkpoint.root != kept.root)
            {
                return Err(CertificateError::Forked {
                    origin: kept.origin.clone(),
                    size: kept.size,
                });
            }
        }
        Ok(Certified {
            submission: self.submission.clone(),
            deletion: deletion.clone(),
            events,
            checkpoints,
        })
    }
}

impl Proved {
    /// A leaf with its proof in the tree that a checkpoint was signed for.
    fn of(
        index: u64,
        leaf: Leaf,
        text: String,
        signed: &Signed,
        nodes: &mut TileNodes<'_>,
    ) -> Result<(Self, Leaf), CertificateError> {
        let proof = Inclusion {
            index,
            path: proof::inclusion(index, signed.checkpoint.size, nodes)?,
            note: signed.note.clone(),
        };
        let proved = Self {
            at: written(&leaf),
            event: leaf.event.clone(),
            rule: leaf.rule.clone(),
            log: signed.checkpoint.origin.clone(),
            index,
            leaf: text,
            proof: proof.to_text(),
        };
        Ok((proved, leaf))
    }

    fn check(&self, trust: &Trust, submission: &str) -> Result<(Leaf, Signed), CertificateError> {
        let index = self.index;
        let fault = |cause| CertificateError::Proof { index, cause };
        let proof = Inclusion::read(&self.proof).map_err(fault)?;
        let signed = proof.check(self.leaf.as_bytes(), trust).map_err(fault)?;
        let leaf = Leaf::read(self.leaf.as_bytes()).map_err(|_| CertificateError::Differs { index })?;
        let tells_the_same = leaf.id.as_deref() == Some(submission)
            && proof.index == index
            && signed.checkpoint.origin == self.log
            && leaf.event == self.event
            && leaf.rule == self.rule
            && written(&leaf) == self.at;
        if tells_the_same {
            Ok((leaf, signed))
        } else {
            Err(CertificateError::Differs { index })
        }
    }
}

/// A log's verifier key, and what the log holds of a submission.
type Found = (String, Vec<(Proved, Leaf)>);

/// The key that stands beside a log, as it is written and as it is believed.
fn key_of(log: &Log) -> Result<(String, Trust), CertificateError> {
    let key = log.verifier_key()?.trim().to_owned();
    let trust = Trust::new(vec![key.parse()?]);
    Ok((key, trust))
}

/// What a log holds of a submission, with its proofs.
fn proved(log: &Log, submission: &str) -> Result<Found, CertificateError> {
    let (key, trust) = key_of(log)?;
    let mut found = Vec::new();
    let verified = verify_log(log, &trust, &[], |index, leaf, bytes| {
        if leaf.id.as_deref() == Some(submission) {
            found.push((index, leaf.clone(), String::from_utf8_lossy(bytes).into_owned()));
        }
    })?;
    let mut nodes = log.nodes(verified.signed.checkpoint.size);
    let events = found
        .into_iter()
        .map(|(index, leaf, text)| Proved::of(index, leaf, text, &verified.signed, &mut nodes));
    Ok((key, events.collect::<Result<_, _>>()?))
}

/// What stands at these places of a log, each with its proof, which is checked. What is not signed yet is left out.
fn proved_at(log: &Log, submission: &str, places: impl Iterator<Item = u64>) -> Result<Found, CertificateError> {
    let (key, trust) = key_of(log)?;
    let Some(signed) = log.checkpoint(&trust)? else {
        return Ok((key, Vec::new()));
    };
    let size = signed.checkpoint.size;
    let mut nodes = log.nodes(size);
    let mut found = Vec::new();
    for index in places.filter(|index| *index < size) {
        let differs = || CertificateError::Differs { index };
        let tile = Tile::of(0, index / TILE_WIDTH, size).ok_or_else(differs)?;
        let at = usize::try_from(index % TILE_WIDTH).map_err(|_| differs())?;
        let bytes = log.entries(tile)?.into_iter().nth(at).ok_or_else(differs)?;
        let leaf = Leaf::read(&bytes).map_err(|_| differs())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (proved, leaf) = Proved::of(index, leaf, text, &signed, &mut nodes)?;
        proved.check(&trust, submission)?;
        found.push((proved, leaf));
    }
    Ok((key, found))
}

fn written(leaf: &Leaf) -> String {
    format!("{:.3}", leaf.at)
}

fn in_words(rule: &str) -> String {
    let known = [Rule::Discharged, Rule::Extracted, Rule::EventHeld];
    let found = known.into_iter().find(|known| known.as_str() == rule);
    found.map_or_else(|| rule.to_owned(), |rule| rule.to_string())
}
