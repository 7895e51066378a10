//! Merkle trees as RFC 6962, section 2.1 defines them: roots, and the verification of proofs by the
//! algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2. Nothing here makes a proof.

use sha2::{Digest, Sha256};

/// A hash of a tree.
pub type Hash = [u8; 32];

/// The hash of a leaf.
#[must_use]
pub fn leaf(data: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(data)
        .finalize()
        .into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let hash = Sha256::new().chain_update([1]);
    hash.chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root over leaves that are hashed already.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    // Complete subtrees, the largest first: (leaves, root), no two of the same size.
    let mut whole: Vec<(usize, Hash)> = Vec::new();
    for leaf in leaves {
        let mut tree = (1, *leaf);
        while let Some((_, left)) = whole.pop_if(|(leaves, _)| *leaves == tree.0) {
            tree = (tree.0 * 2, node(&left, &tree.1));
        }
        whole.push(tree);
    }
    let roots = whole.into_iter().map(|(_, root)| root);
    roots
        .rev()
        .reduce(|right, left| node(&left, &right))
        .unwrap_or_else(|| Sha256::digest([]).into())
}

/// Whether `leaf` is number `index` of the tree of this size and root.
#[must_use]
pub fn includes(leaf: &Hash, index: u64, size: u64, proof: &[Hash], expected: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for other in proof {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            hash = node(other, &hash);
            while place % 2 == 0 && place != 0 {
                (place, last) = (place / 2, last / 2);
            }
        } else {
            hash = node(&hash, other);
        }
        (place, last) = (place / 2, last / 2);
    }
    last == 0 && hash == *expected
}

/// A tree, as a checkpoint tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Whether `new` is `old` with nothing changed and leaves appended. From an empty tree, and from
/// itself, there is nothing to prove, and a proof that is there all the same is none.
#[must_use]
pub fn goes_on(old: &Head, new: &Head, proof: &[Hash]) -> bool {
    if old.size > new.size {
        return false;
    }
    if old.size == 0 {
        return proof.is_empty() && old.root == root(&[]);
    }
    if old.size == new.size {
        return proof.is_empty() && old.root == new.root;
    }
    // A complete tree is a node of the longer one, and so left out of the proof.
    let whole = old.size.is_power_of_two().then_some(&old.root);
    let mut path = whole.into_iter().chain(proof);
    let Some(first) = path.next() else {
        return false;
    };
    let (mut place, mut last) = (old.size - 1, new.size - 1);
    while place % 2 == 1 {
        (place, last) = (place / 2, last / 2);
    }
    let (mut before, mut after) = (*first, *first);
    for other in path {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            (before, after) = (node(other, &before), node(other, &after));
            while place % 2 == 0 && place != 0 {
                (place, last) = (place / 2, last / 2);
            }
        } else {
            after = node(&after, other);
        }
        (place, last) = (place / 2, last / 2);
    }
    last == 0 && before == old.root && after == new.root
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
