//! Tiles: 256 consecutive hashes of a level of the tree, and where they stand in the folder.

use std::fmt::Write as _;

/// How many hashes a full tile holds, and how many leaves a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Levels that a tree of any size has tiles of: 8 levels of the tree in each.
pub(crate) const LEVELS: u32 = 8;

/// A tile, full or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// 0 holds the hashes of leaves, each further level the hashes of full tiles of the one below.
    pub level: u32,
    /// Its place within the level.
    pub index: u64,
    /// How many hashes it holds: 1 to 256.
    pub width: u64,
}

impl Tile {
    /// The tile with this index in a tree of this size; `None` where the tree does not reach it.
    #[must_use]
    pub fn of(level: u32, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(8 * level).unwrap_or(0);
        let before = index.checked_mul(TILE_WIDTH)?;
        let width = hashes.checked_sub(before)?.min(TILE_WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// Whether it holds all the hashes that it ever will.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile when it is full.
    #[must_use]
    pub fn filled(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Its file: `tile/<L>/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, self.name())
    }

    /// The file of the bundle of leaves that a tile of level 0 holds the hashes of: `tile/entries/<N>[.p/<W>]`.
    #[must_use]
    pub fn entries_path(self) -> String {
        format!("tile/entries/{}", self.name())
    }

    fn name(self) -> String {
        let mut name = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1000);
            rest /= 1000;
        }
        if !self.is_full() {
            let _ = write!(name, ".p/{}", self.width);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_where_the_specification_says() {
        let tile = |level, index, width| Tile { level, index, width };
        assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
        assert_eq!(tile(2, 0, 1).path(), "tile/2/000.p/1");
        assert_eq!(tile(0, 273, 112).entries_path(), "tile/entries/273.p/112");
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specification() {
        let width = |level, index| Tile::of(level, index, 70_000).map(|tile| tile.width);
        assert_eq!(
            [width(0, 272), width(0, 273), width(0, 274)],
            [Some(256), Some(112), None]
        );
        assert_eq!([width(1, 0), width(1, 1), width(1, 2)], [Some(256), Some(17), None]);
        assert_eq!([width(2, 0), width(2, 1), width(3, 0)], [Some(1), None, None]);
        assert_eq!(Tile::of(9, 0, u64::MAX), None);
    }
}
