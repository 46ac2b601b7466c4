//! Checks a copied folder, offline: that it is what was signed, and that it continues what somebody kept.

use std::path::Path;

use crate::checkpoint::{Signed, Trust};
use crate::folder::{FolderError, Log, logs_in};
use crate::frontier::Frontier;
use crate::hash::{Hash, leaf_hash};
use crate::leaf::Leaf;
use crate::tile::{TILE_WIDTH, Tile};

/// What is wrong with a folder. Its display says it in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No checkpoint is in it.
    #[error("there is no evidence log in {dir}")]
    NoLog {
        /// The folder.
        dir: String,
    },
    /// A file is missing, damaged or not signed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A leaf was changed, or is not what its place says.
    #[error("{path}: the leaf with index {index} is not a leaf of a log")]
    Leaf {
        /// The bundle.
        path: String,
        /// Which.
        index: u64,
    },
    /// A tile holds other hashes than the leaves have.
    #[error("{path} does not hold the hashes of the leaves: leaves or tiles were changed, left out or reordered")]
    Tile {
        /// Which.
        path: String,
    },
    /// The leaves are not those that were signed for.
    #[error(
        "the {size} leaves of {origin} do not have the root that was signed: they were changed, left out or reordered"
    )]
    Root {
        /// The log.
        origin: String,
        /// Its size.
        size: u64,
    },
    /// A checkpoint that was kept is of a log that is not in the folder.
    #[error("the folder has no log {origin}, of which a checkpoint over {size} leaves was kept")]
    Dropped {
        /// The log.
        origin: String,
        /// The kept checkpoint's size.
        size: u64,
    },
    /// The log has fewer leaves than a checkpoint that was kept.
    #[error(
        "the log {origin} has {size} leaves, and a checkpoint over {kept} was kept: leaves were cut off, or an older copy was put in its place"
    )]
    Truncated {
        /// The log.
        origin: String,
        /// Its size.
        size: u64,
        /// The kept checkpoint's size.
        kept: u64,
    },
    /// The log's first leaves are not those of a checkpoint that was kept.
    #[error("the first {kept} leaves of {origin} are not those of the checkpoint that was kept: the log was rewritten")]
    Forked {
        /// The log.
        origin: String,
        /// The kept checkpoint's size.
        kept: u64,
    },
}

/// A log that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its checkpoint.
    pub signed: Signed,
    /// How many of the kept checkpoints it continues.
    pub continues: usize,
}

/// Checks every year's log in a folder, alone and against checkpoints that somebody kept.
///
/// # Errors
///
/// The first [`Fault`].
pub fn verify_folder(dir: &Path, trust: &Trust, kept: &[Signed]) -> Result<Vec<Verified>, Fault> {
    let mut verified = Vec::new();
    for log in logs_in(dir)? {
        verified.push(verify_log(&log, trust, kept, |_, _, _| {})?);
    }
    if verified.is_empty() {
        let dir = dir.display().to_string();
        return Err(Fault::NoLog { dir });
    }
    for kept in kept {
        let origin = &kept.checkpoint.origin;
        if !verified.iter().any(|log| log.signed.checkpoint.origin == *origin) {
            return Err(Fault::Dropped {
                origin: origin.clone(),
                size: kept.checkpoint.size,
            });
        }
    }
    Ok(verified)
}

/// Checks one log, and hands over each of its leaves with its index and its bytes. Kept checkpoints of other logs are
/// passed over.
///
/// # Errors
///
/// The first [`Fault`]; leaves that were handed over before it are not to be believed.
pub fn verify_log(
    log: &Log,
    trust: &Trust,
    kept: &[Signed],
    mut each: impl FnMut(u64, &Leaf, &[u8]),
) -> Result<Verified, Fault> {
    let signed = log.checkpoint(trust)?.ok_or_else(|| Fault::NoLog {
        dir: log.dir().display().to_string(),
    })?;
    let (origin, size) = (&signed.checkpoint.origin, signed.checkpoint.size);
    let kept: Vec<_> = kept.iter().filter(|kept| kept.checkpoint.origin == *origin).collect();
    if let Some(longer) = kept.iter().find(|kept| kept.checkpoint.size > size) {
        return Err(Fault::Truncated {
            origin: origin.clone(),
            size,
            kept: longer.checkpoint.size,
        });
    }
    let mut frontier = Frontier::default();
    compare(&frontier, &kept)?;
    for bundle in 0..size.div_ceil(TILE_WIDTH) {
        let Some(tile) = Tile::of(0, bundle, size) else { break };
        for (index, bytes) in (bundle * TILE_WIDTH..).zip(log.entries(tile)?) {
            let leaf = Leaf::read(&bytes).map_err(|_| Fault::Leaf {
                path: log.dir().join(tile.entries_path()).display().to_string(),
                index,
            })?;
            frontier.push(leaf_hash(&bytes), |tile, hashes| same(log, tile, hashes))?;
            compare(&frontier, &kept)?;
            each(index, &leaf, &bytes);
        }
    }
    for (tile, hashes) in frontier.partials() {
        same(log, tile, hashes)?;
    }
    if frontier.root() != signed.checkpoint.root {
        return Err(Fault::Root {
            origin: origin.clone(),
            size,
        });
    }
    Ok(Verified {
        continues: kept.len(),
        signed,
    })
}

fn same(log: &Log, tile: Tile, hashes: &[Hash]) -> Result<(), Fault> {
    if log.tile(tile)? == hashes {
        return Ok(());
    }
    Err(Fault::Tile {
        path: log.dir().join(tile.path()).display().to_string(),
    })
}

fn compare(frontier: &Frontier, kept: &[&Signed]) -> Result<(), Fault> {
    for kept in kept {
        let kept = &kept.checkpoint;
        if kept.size == frontier.size() && kept.root != frontier.root() {
            return Err(Fault::Forked {
                origin: kept.origin.clone(),
                kept: kept.size,
            });
        }
    }
    Ok(())
}
