//! The right edge of a growing tree: all that is needed to add leaves and to know the root.

use crate::hash::{EMPTY_ROOT, Hash, root_over};
use crate::tile::{TILE_WIDTH, Tile};

/// A tree's partial tiles, one a level at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Frontier {
    /// The edge of a tree of this size, from its partial tiles' hashes, lowest level first. The caller has checked that
    /// each level has as many as a tree of this size has.
    pub(crate) fn from_partials(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, levels }
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; hands over each tile that this fills.
    ///
    /// # Errors
    ///
    /// What `filled` says; the edge is then of no further use.
    pub fn push<E>(&mut self, leaf: Hash, mut filled: impl FnMut(Tile, &[Hash]) -> Result<(), E>) -> Result<(), E> {
        self.size += 1;
        let mut carried = leaf;
        for level in 0u32.. {
            let at = level as usize;
            if self.levels.len() == at {
                self.levels.push(Vec::with_capacity(256));
            }
            let hashes = &mut self.levels[at];
            hashes.push(carried);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            let tile = Tile {
                level,
                index: (self.size >> (8 * (level + 1))) - 1,
                width: TILE_WIDTH,
            };
            filled(tile, hashes)?;
            carried = root_over(hashes);
            hashes.clear();
        }
        Ok(())
    }

    /// The partial tiles, lowest level first.
    pub fn partials(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let levels = (0u32..).zip(&self.levels);
        levels.filter(|(_, hashes)| !hashes.is_empty()).map(|(level, hashes)| {
            let tile = Tile {
                level,
                index: self.size >> (8 * (level + 1)),
                width: hashes.len() as u64,
            };
            (tile, hashes.as_slice())
        })
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        // What a level holds are complete subtrees of one size; what the levels below hold is one more, smaller one.
        let mut below = None;
        for level in &self.levels {
            let mut hashes = level.clone();
            hashes.extend(below);
            if !hashes.is_empty() {
                below = Some(root_over(&hashes));
            }
        }
        below.unwrap_or(EMPTY_ROOT)
    }
}
