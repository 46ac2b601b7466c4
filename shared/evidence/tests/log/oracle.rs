//! The log against what others made: RFC 6962's known hashes, and an implementation of C2SP's formats that is not ours.

use evidence::proof::{self, Nodes};
use evidence::{Frontier, Hash, Log, leaf_hash, node_hash};
use proptest::prelude::*;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Error, Hash as TheirHash, HashReader, Tile as TheirTile, TileHashReader, TileReader, check_record, check_tree,
    prove_record, prove_tree, stored_hashes, tree_hash,
};

/// The tree that Certificate Transparency's implementations are tested with.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Subtrees of leaves that are all at hand.
struct InMemory(Vec<Hash>);

impl Nodes for InMemory {
    type Error = std::convert::Infallible;
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        if level == 0 {
            return Ok(self.0[usize::try_from(index).unwrap()]);
        }
        let (left, right) = (self.node(level - 1, 2 * index)?, self.node(level - 1, 2 * index + 1)?);
        Ok(node_hash(&left, &right))
    }
}

fn hex_of(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

#[test]
fn the_known_roots_and_proofs_come_out() {
    let mut frontier = Frontier::default();
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        frontier.push(leaf_hash(leaf), |_, _| Ok::<_, ()>(())).unwrap();
        assert_eq!(hex::encode(frontier.root()), root);
    }
    let mut nodes = InMemory(LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect());
    assert_eq!(hex::encode(proof::root(8, &mut nodes).unwrap()), ROOTS[7]);
    assert_eq!(
        hex_of(&proof::inclusion(0, 8, &mut nodes).unwrap()),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
        ]
    );
    assert_eq!(
        hex_of(&proof::consistency(6, 8, &mut nodes).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
        ]
    );
}

/// Their storage of hashes.
#[derive(Default)]
struct Storage(Vec<TheirHash>);

impl HashReader for Storage {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TheirHash>, Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[usize::try_from(*index).unwrap()])
            .collect())
    }
}

impl Storage {
    fn of(leaves: &[Vec<u8>]) -> Self {
        let mut storage = Self::default();
        for (index, leaf) in (0..).zip(leaves) {
            let hashes = stored_hashes(index, leaf, &storage).unwrap();
            storage.0.extend(hashes);
        }
        storage
    }
}

proptest! {
    /// Both sides make the same proofs, and each accepts the other's and no changed one.
    #[test]
    fn proofs_are_those_of_another_implementation(size in 1u64..600, at in any::<prop::sample::Index>(), flip in 0usize..256) {
        let leaves: Vec<_> = (0..size).map(|index| index.to_be_bytes().to_vec()).collect();
        let theirs = Storage::of(&leaves);
        let mut ours = InMemory(leaves.iter().map(|leaf| leaf_hash(leaf)).collect());
        let root = proof::root(size, &mut ours).unwrap();
        prop_assert_eq!(root, tree_hash(size, &theirs).unwrap().0);

        let index = at.index(usize::try_from(size).unwrap()) as u64;
        let leaf = leaf_hash(&leaves[usize::try_from(index).unwrap()]);
        let mut path = proof::inclusion(index, size, &mut ours).unwrap();
        let their_path = prove_record(size, index, &theirs).unwrap();
        prop_assert_eq!(&path, &their_path.iter().map(|hash| hash.0).collect::<Vec<_>>());
        prop_assert!(check_record(&their_path, size, TheirHash(root), index, TheirHash(leaf)).is_ok());
        prop_assert!(proof::includes(&leaf, index, size, &path, &root));
        prop_assert!(!proof::includes(&leaf, index + 1, size, &path, &root));
        prop_assert!(size == 1 || !proof::includes(&root, index, size, &path, &leaf));

        let old = index + 1;
        let old_root = proof::root(old, &mut ours).unwrap();
        let mut growth = proof::consistency(old, size, &mut ours).unwrap();
        let their_growth = prove_tree(size, old, &theirs).unwrap();
        prop_assert_eq!(&growth, &their_growth.iter().map(|hash| hash.0).collect::<Vec<_>>());
        prop_assert!(check_tree(&their_growth, size, TheirHash(root), old, TheirHash(old_root)).is_ok());
        prop_assert!(proof::extends((old, &old_root), (size, &root), &growth));

        let holds = |is_path, hashes: &[Hash]| if is_path {
            proof::includes(&leaf, index, size, hashes, &root)
        } else {
            proof::extends((old, &old_root), (size, &root), hashes)
        };
        for (hashes, is_path) in [(&mut path, true), (&mut growth, false)] {
            let count = hashes.len();
            if count == 0 {
                continue;
            }
            hashes[flip % count][flip % 32] ^= 1 << (flip % 8);
            prop_assert!(!holds(is_path, hashes));
            hashes[flip % count][flip % 32] ^= 1 << (flip % 8);
            hashes.push([0; 32]);
            prop_assert!(!holds(is_path, hashes));
        }
    }
}

/// Their reader on the folder that we wrote; it checks each tile against the root.
struct Folder(Log);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, Error> {
        // Their paths name the tiles' height too, as Go's checksum database does.
        let read = |tile: &TheirTile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            std::fs::read(self.0.dir().join(path)).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }
    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

/// G2
#[test]
fn another_implementation_reads_the_folder_and_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    for size in [1, 255, 256, 257, 700] {
        let (log, _) = crate::common::log_of(&dir.path().join(size.to_string()), size);

        let vkey = log.verifier_key().unwrap();
        let verifier = StandardVerifier::new(vkey.trim()).unwrap();
        let note = Note::from_bytes(log.note().unwrap().unwrap().as_bytes()).unwrap();
        note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size()), (crate::common::ORIGIN, size));

        let folder = Folder(log.clone());
        let reader = TileHashReader::new(size, *checkpoint.hash(), &folder);
        for index in [0, size / 2, size - 1] {
            let path = prove_record(size, index, &reader).unwrap();
            let ours = proof::inclusion(index, size, &mut log.nodes(size)).unwrap();
            assert_eq!(path.iter().map(|hash| hash.0).collect::<Vec<_>>(), ours);
            let leaf = TheirHash(leaf_hash(&crate::common::leaf(index).to_bytes()));
            check_record(&path, size, *checkpoint.hash(), index, leaf).unwrap();
        }
    }
}
