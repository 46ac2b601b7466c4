//! Proofs of inclusion and consistency: made as RFC 6962 § 2.1 says, checked as RFC 9162 § 2.1.3 and 2.1.4 say.
//!
//! The makers ask for the hashes of complete subtrees: `nodes(level, index)` is the root over the leaves from
//! `index << level` to `(index + 1) << level`.

use crate::hash::{EMPTY_ROOT, Hash, node_hash, split};

/// Where the makers get the hash of a complete subtree.
pub trait Nodes {
    /// Why a hash could not be had.
    type Error;

    /// The hash of the complete subtree of `1 << level` leaves with this index.
    ///
    /// # Errors
    ///
    /// Where it cannot be had.
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root of the tree's first `size` leaves.
///
/// # Errors
///
/// What `nodes` says.
pub fn root<N: Nodes>(size: u64, nodes: &mut N) -> Result<Hash, N::Error> {
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    range(0, size, nodes)
}

/// The proof that the leaf with this index, which is below `size`, is in the tree of that size.
///
/// # Errors
///
/// What `nodes` says.
pub fn inclusion<N: Nodes>(index: u64, size: u64, nodes: &mut N) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    let (mut low, mut high) = (0, size);
    // From the root down; a proof is written from the leaf up.
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range(low, middle, nodes)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of size `new` is the tree of size `old` with leaves added; `old` is not above `new`.
///
/// # Errors
///
/// What `nodes` says.
pub fn consistency<N: Nodes>(old: u64, new: u64, nodes: &mut N) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut low, mut high, mut old_is_whole) = (0, new, true);
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range(low, middle, nodes)?);
            low = middle;
            old_is_whole = false;
        }
    }
    if !old_is_whole {
        proof.push(range(low, high, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether the proof shows the leaf at this index of the tree with this size and root.
#[must_use]
pub fn includes(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the proof shows that the tree `new` is the tree `old` with leaves added. Each is a size and a root.
#[must_use]
pub fn extends((old, old_root): (u64, &Hash), (new, new_root): (u64, &Hash), proof: &[Hash]) -> bool {
    if old == 0 {
        return proof.is_empty() && *old_root == EMPTY_ROOT && (new > 0 || *new_root == EMPTY_ROOT);
    }
    if old >= new {
        return old == new && proof.is_empty() && old_root == new_root;
    }
    let mut rest = proof.iter();
    let seed = if old.is_power_of_two() {
        Some(old_root)
    } else {
        rest.next()
    };
    let Some(seed) = seed else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut was, mut is) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            was = node_hash(sibling, &was);
            is = node_hash(sibling, &is);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            is = node_hash(&is, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && was == *old_root && is == *new_root
}

/// The hash over the leaves from `low` to `high`, which RFC 6962's splitting leads to.
fn range<N: Nodes>(low: u64, high: u64, nodes: &mut N) -> Result<Hash, N::Error> {
    let size = high - low;
    if size.is_power_of_two() {
        return nodes.node(size.trailing_zeros(), low / size);
    }
    let middle = low + split(size);
    Ok(node_hash(&range(low, middle, nodes)?, &range(middle, high, nodes)?))
}
