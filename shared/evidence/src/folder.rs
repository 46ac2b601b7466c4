//! A year's log as a folder. Every file is written beside its place, synced, and then moved there; a checkpoint is
//! written last, so that what it covers is always there before it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::checkpoint::{CheckpointError, Signed, Trust};
use crate::frontier::Frontier;
use crate::hash::{Hash, root_over};
use crate::note::{KeyError, LogKey};
use crate::proof::Nodes;
use crate::tile::{LEVELS, TILE_WIDTH, Tile};

pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const VERIFIER_KEY: &str = "verifier.key";

/// Why a log's folder could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file of it is not there.
    #[error("{path} is missing")]
    Missing {
        /// Which.
        path: String,
    },
    /// A file of it cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file of it does not hold what it should.
    #[error("{path} is damaged")]
    Damaged {
        /// Which.
        path: String,
    },
    /// Its checkpoint is not believed.
    #[error("the checkpoint of {path} is not valid")]
    Checkpoint {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: CheckpointError,
    },
    /// The leaves that are to follow do not continue what was signed.
    #[error("the leaves differ from those that the checkpoint over {size} leaves was signed for")]
    Forked {
        /// How many were signed for.
        size: u64,
    },
    /// The log's name can be no key's name, or the key beside it is none.
    #[error("the log's origin or verifier key is not usable")]
    Origin(#[from] KeyError),
}

/// A year's log.
#[derive(Debug, Clone)]
pub struct Log {
    dir: PathBuf,
}

/// The years' logs in a folder, oldest first: the folder itself where it is one year's.
///
/// # Errors
///
/// Where the folder cannot be read. One that is not there has no logs.
pub fn logs_in(dir: &Path) -> Result<Vec<Log>, FolderError> {
    if dir.join(CHECKPOINT).exists() {
        return Ok(vec![Log::at(dir)]);
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(dir, error)),
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        if path.join(CHECKPOINT).exists() {
            dirs.push(path);
        }
    }
    dirs.sort();
    Ok(dirs.into_iter().map(Log::at).collect())
}

impl Log {
    /// The log in this folder, which need not be there yet.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The log of a year within the folder of all years.
    #[must_use]
    pub fn of_year(evidence: &Path, year: i16) -> Self {
        Self::at(evidence.join(year.to_string()))
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its checkpoint as it stands; `None` before the first.
    ///
    /// # Errors
    ///
    /// Where it is there and cannot be read.
    pub fn note(&self) -> Result<Option<String>, FolderError> {
        let path = self.dir.join(CHECKPOINT);
        match fs::read_to_string(&path) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Its checkpoint, opened.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or is not believed.
    pub fn checkpoint(&self, trust: &Trust) -> Result<Option<Signed>, FolderError> {
        self.opened(|note| trust.open(note))
    }

    /// Its checkpoint, which this key must have signed.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or another key signed it.
    pub fn own_checkpoint(&self, key: &LogKey) -> Result<Option<Signed>, FolderError> {
        self.opened(|note| key.open(note))
    }

    fn opened(
        &self,
        open: impl FnOnce(&str) -> Result<Signed, CheckpointError>,
    ) -> Result<Option<Signed>, FolderError> {
        let Some(note) = self.note()? else { return Ok(None) };
        let opened = open(&note).map_err(|cause| FolderError::Checkpoint {
            path: self.dir.display().to_string(),
            cause,
        })?;
        Ok(Some(opened))
    }

    /// The public key that stands beside the checkpoint. Whoever made the folder wrote it: it is no ground for trust.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn verifier_key(&self) -> Result<String, FolderError> {
        let path = self.dir.join(VERIFIER_KEY);
        fs::read_to_string(&path).map_err(|error| failed(&path, error))
    }

    /// The leaves of a bundle, for a tree of this size.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or holds fewer.
    pub fn entries(&self, tile: Tile) -> Result<Vec<Vec<u8>>, FolderError> {
        let (bytes, path) = self.read(&tile.entries_path(), &tile.filled().entries_path())?;
        let damaged = || FolderError::Damaged {
            path: path.display().to_string(),
        };
        let mut rest = bytes.as_slice();
        let mut entries = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or_else(damaged)?;
            entries.push(entry.to_vec());
            rest = after;
        }
        let wanted = usize::try_from(tile.width).unwrap_or(usize::MAX);
        // A full bundle in a partial one's place holds more: what was there is a part of it.
        if !rest.is_empty() || entries.len() < wanted {
            return Err(damaged());
        }
        entries.truncate(wanted);
        Ok(entries)
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or holds fewer.
    pub fn tile(&self, tile: Tile) -> Result<Vec<Hash>, FolderError> {
        let (bytes, path) = self.read(&tile.path(), &tile.filled().path())?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        let wanted = usize::try_from(tile.width).unwrap_or(usize::MAX);
        match hashes.get(..wanted) {
            Some(hashes) if rest.is_empty() => Ok(hashes.to_vec()),
            _ => Err(FolderError::Damaged {
                path: path.display().to_string(),
            }),
        }
    }

    /// A partial tile's file may be gone once the full one is there.
    fn read(&self, path: &str, full: &str) -> Result<(Vec<u8>, PathBuf), FolderError> {
        for path in [path, full] {
            let path = self.dir.join(path);
            match fs::read(&path) {
                Ok(bytes) => return Ok((bytes, path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Err(FolderError::Missing {
            path: self.dir.join(path).display().to_string(),
        })
    }

    /// The subtrees' hashes of the tree of this size, read from its tiles.
    #[must_use]
    pub fn nodes(&self, size: u64) -> TileNodes<'_> {
        TileNodes {
            log: self,
            size,
            tiles: HashMap::new(),
        }
    }

    /// The right edge of the tree of this size, which ends with a full bundle.
    pub(crate) fn frontier(&self, size: u64) -> Result<Frontier, FolderError> {
        let mut levels = vec![Vec::new()];
        for level in 1..LEVELS {
            let hashes = size >> (8 * level);
            let tile = Tile {
                level,
                index: hashes / TILE_WIDTH,
                width: hashes % TILE_WIDTH,
            };
            levels.push(if tile.width == 0 { Vec::new() } else { self.tile(tile)? });
        }
        Ok(Frontier::from_partials(size, levels))
    }

    pub(crate) fn write_tile(&self, tile: Tile, hashes: &[Hash]) -> Result<(), FolderError> {
        self.write(&tile.path(), hashes.as_flattened())
    }

    pub(crate) fn write_entries(&self, tile: Tile, leaves: &[Vec<u8>]) -> Result<(), FolderError> {
        self.write(&tile.entries_path(), &bundled(leaves))
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        write_whole(&self.dir.join(name), bytes)
    }

    /// Copies the log into another folder as its checkpoint stands now, also while it grows. Answers the checkpoint.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or written, or its checkpoint is not signed by the key beside it.
    pub fn copy_to(&self, to: &Self) -> Result<Option<Signed>, FolderError> {
        if self.note()?.is_none() {
            return Ok(None);
        }
        let key = self.verifier_key()?;
        let trust = Trust::new(vec![key.parse()?]);
        let Some(signed) = self.checkpoint(&trust)? else {
            return Ok(None);
        };
        let size = signed.checkpoint.size;
        for level in 0..LEVELS {
            for tile in (0..).map_while(|index| Tile::of(level, index, size)) {
                to.write_tile(tile, &self.tile(tile)?)?;
                if level == 0 {
                    to.write_entries(tile, &self.entries(tile)?)?;
                }
            }
        }
        to.write(VERIFIER_KEY, key.as_bytes())?;
        to.write(CHECKPOINT, signed.note.as_bytes())?;
        Ok(Some(signed))
    }

    /// Writes the checkpoint of this log where copies are kept: as `checkpoint`, and as `checkpoints/DAY`.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn keep(&self, signed: &Signed, day: &str) -> Result<(), FolderError> {
        self.write(&format!("checkpoints/{day}"), signed.note.as_bytes())?;
        self.write(CHECKPOINT, signed.note.as_bytes())
    }
}

fn bundled(leaves: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        let length = u16::try_from(leaf.len()).expect("a leaf is a few hundred bytes");
        bytes.extend(length.to_be_bytes());
        bytes.extend(leaf);
    }
    bytes
}

/// Writes a file whole or not at all: beside its place, synced, moved there, and the folder synced.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let fault = |error| failed(path, error);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fault)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let mut file = File::create(&beside).map_err(fault)?;
    file.write_all(bytes).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    fs::rename(&beside, path).map_err(fault)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)
}

fn failed(path: &Path, cause: io::Error) -> FolderError {
    FolderError::Io {
        path: path.display().to_string(),
        cause,
    }
}

/// Hashes of subtrees from a folder's tiles; each tile is read once.
pub struct TileNodes<'l> {
    log: &'l Log,
    size: u64,
    tiles: HashMap<(u32, u64), Vec<Hash>>,
}

impl Nodes for TileNodes<'_> {
    type Error = FolderError;

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, FolderError> {
        let (tile_level, within) = (level / 8, level % 8);
        let first = index << within;
        let (at, offset) = (first / TILE_WIDTH, first % TILE_WIDTH);
        let hashes = match self.tiles.entry((tile_level, at)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let tile = Tile::of(tile_level, at, self.size).ok_or_else(|| FolderError::Missing {
                    path: format!("tile/{tile_level}/{at}"),
                })?;
                unknown.insert(self.log.tile(tile)?)
            }
        };
        let range = usize::try_from(offset).unwrap_or(usize::MAX)..;
        let hashes = hashes.get(range).and_then(|hashes| hashes.get(..1 << within));
        hashes.map(root_over).ok_or_else(|| FolderError::Damaged {
            path: format!("tile/{tile_level}/{at}"),
        })
    }
}
