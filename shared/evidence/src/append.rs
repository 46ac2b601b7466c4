//! Adding leaves to a log's folder, so that a crash between any two steps is mended by doing the same again.

use std::fs;

use crate::checkpoint::{Checkpoint, Signed};
use crate::folder::{CHECKPOINT, FolderError, Log, VERIFIER_KEY};
use crate::frontier::Frontier;
use crate::hash::{Hash, leaf_hash};
use crate::note::LogKey;
use crate::tile::{TILE_WIDTH, Tile};

/// Adds leaves to a log: tiles and bundles as they fill, the partial ones and the checkpoint at the end.
///
/// It begins at the first leaf of the last bundle ([`Appender::size`]), or at the log's first, and is given every leaf
/// from there on, those that were signed for already too: where they are not the same, it refuses, and has written
/// nothing that differs from what was signed.
pub struct Appender {
    log: Log,
    signed: Option<Checkpoint>,
    frontier: Frontier,
    bundle: Vec<Vec<u8>>,
    filled: Vec<Tile>,
    writes: bool,
}

impl Log {
    /// Adds leaves after those that `signed` covers.
    ///
    /// # Errors
    ///
    /// Where the tiles at the log's right edge cannot be read, or are not those that were signed.
    pub fn append(&self, signed: Option<&Checkpoint>) -> Result<Appender, FolderError> {
        let from = signed.map_or(0, |signed| signed.size & !(TILE_WIDTH - 1));
        self.appender(signed, self.frontier(from)?, true)
    }

    /// The same, and writes nothing: whether the leaves are those that were signed for.
    ///
    /// # Errors
    ///
    /// As [`Log::append`].
    pub fn compare(&self, signed: &Checkpoint) -> Result<Appender, FolderError> {
        let from = signed.size & !(TILE_WIDTH - 1);
        self.appender(Some(signed), self.frontier(from)?, false)
    }

    /// Writes every file again, from the first leaf on. It is for the caller to have compared all leaves before, by a
    /// pass with `writes` false.
    ///
    /// # Errors
    ///
    /// [`FolderError`]
    pub fn rebuild(&self, signed: Option<&Checkpoint>, writes: bool) -> Result<Appender, FolderError> {
        self.appender(signed, Frontier::default(), writes)
    }

    fn appender(&self, signed: Option<&Checkpoint>, frontier: Frontier, writes: bool) -> Result<Appender, FolderError> {
        let appender = Appender {
            log: self.clone(),
            signed: signed.cloned(),
            frontier,
            bundle: Vec::new(),
            filled: Vec::new(),
            writes,
        };
        appender.compare()?;
        Ok(appender)
    }
}

impl Appender {
    /// The index of the leaf that it wants next.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Adds a leaf.
    ///
    /// # Errors
    ///
    /// [`FolderError::Forked`] where the leaves are not those that were signed for; else what could not be written.
    pub fn push(&mut self, leaf: Vec<u8>) -> Result<(), FolderError> {
        let mut tiles = Vec::new();
        let filled = self.frontier.push(leaf_hash(&leaf), |tile, hashes| {
            tiles.push((tile, hashes.to_vec()));
            Ok::<_, FolderError>(())
        });
        filled?;
        self.compare()?;
        self.bundle.push(leaf);
        for (tile, hashes) in tiles {
            self.write(tile, &hashes)?;
            self.filled.push(tile);
        }
        Ok(())
    }

    /// Ends a comparison.
    ///
    /// # Errors
    ///
    /// [`FolderError::Forked`] where there were fewer leaves than were signed for.
    pub fn finish(self) -> Result<(), FolderError> {
        match &self.signed {
            Some(signed) if self.frontier.size() < signed.size => Err(FolderError::Forked { size: signed.size }),
            _ => Ok(()),
        }
    }

    /// Writes what is partial, and then the checkpoint over all leaves.
    ///
    /// # Errors
    ///
    /// As [`Appender::finish`], and what could not be written; then the checkpoint that stood there still holds.
    pub fn sign(mut self, origin: &str, key: &LogKey) -> Result<Signed, FolderError> {
        let partials: Vec<_> = self
            .frontier
            .partials()
            .map(|(tile, hashes)| (tile, hashes.to_vec()))
            .collect();
        for (tile, hashes) in partials {
            self.write(tile, &hashes)?;
        }
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: self.frontier.size(),
            root: self.frontier.root(),
        };
        let (log, filled) = (self.log.clone(), std::mem::take(&mut self.filled));
        self.finish()?;
        let verifier = key.verifier(origin)?;
        log.write(VERIFIER_KEY, format!("{verifier}\n").as_bytes())?;
        let signed = checkpoint.sign(key)?;
        log.write(CHECKPOINT, signed.note.as_bytes())?;
        for tile in filled {
            forget_partials(&log, tile);
        }
        Ok(signed)
    }

    /// Where the tree has the size that was signed, it must have the root that was signed.
    fn compare(&self) -> Result<(), FolderError> {
        match &self.signed {
            Some(signed) if self.frontier.size() == signed.size && self.frontier.root() != signed.root => {
                Err(FolderError::Forked { size: signed.size })
            }
            _ => Ok(()),
        }
    }

    /// Writes a tile, and with one of leaves' hashes the bundle of the leaves.
    fn write(&mut self, tile: Tile, hashes: &[Hash]) -> Result<(), FolderError> {
        let leaves = (tile.level == 0).then(|| std::mem::take(&mut self.bundle));
        if !self.writes {
            return Ok(());
        }
        if let Some(leaves) = leaves {
            self.log.write_entries(tile, &leaves)?;
        }
        self.log.write_tile(tile, hashes)
    }
}

/// Partial tiles go when the full one is there, as the specification allows.
fn forget_partials(log: &Log, tile: Tile) {
    let mut paths = vec![tile.path()];
    if tile.level == 0 {
        paths.push(tile.entries_path());
    }
    for path in paths {
        // They do no harm where they stay.
        let _ = fs::remove_dir_all(log.dir().join(format!("{path}.p")));
    }
}
