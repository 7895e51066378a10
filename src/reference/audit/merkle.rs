//! The Merkle tree of RFC 6962, section 2.1, over the hashes of a chain's entries: its root, and
//! the proof that a longer tree goes on from a shorter one.

use sha2::{Digest, Sha256};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The leaves of a tree, hashed; everything above them is computed when it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    leaves: Vec<Hash>,
}

impl Tree {
    /// Appends a leaf.
    pub fn push(&mut self, data: &[u8]) {
        let mut hash = Sha256::new();
        hash.update([0]);
        hash.update(data);
        self.leaves.push(hash.finalize().into());
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        root(&self.leaves)
    }

    /// The root that the tree had when it was `size` leaves long; none when it never was.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        let size = usize::try_from(size).ok()?;
        self.leaves.get(..size).map(root)
    }

    /// The proof that this tree goes on from its first `from` leaves (section 2.1.2); none when
    /// it is shorter. From nothing, and from itself, there is nothing to prove.
    pub fn consistency(&self, from: u64) -> Option<Vec<Hash>> {
        let from = usize::try_from(from).ok()?;
        if from > self.leaves.len() {
            return None;
        }
        let mut proof = Vec::new();
        if from > 0 {
            subproof(from, &self.leaves, true, &mut proof);
        }
        Some(proof)
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// `SUBPROOF(m, D[n], b)`. `known`: whoever verifies has the root over exactly these leaves.
fn subproof(from: usize, leaves: &[Hash], known: bool, proof: &mut Vec<Hash>) {
    if from == leaves.len() {
        if !known {
            proof.push(root(leaves));
        }
        return;
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    if from <= at {
        subproof(from, left, known, proof);
        proof.push(root(right));
    } else {
        subproof(from - at, right, false, proof);
        proof.push(root(left));
    }
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use tlog_tiles::{Error, Hash as Theirs, HashReader};

    use super::*;

    /// Another program's tree of the same leaves.
    struct Stored(Vec<Theirs>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Theirs>, Error> {
            let at = |index: &u64| self.0[usize::try_from(*index).unwrap()];
            Ok(indexes.iter().map(at).collect())
        }
    }

    fn both(size: u64) -> (Tree, Stored) {
        let (mut ours, mut theirs) = (Tree::default(), Stored(Vec::new()));
        for n in 0..size {
            let data = n.to_be_bytes();
            ours.push(&data);
            let more = tlog_tiles::stored_hashes(n, &data, &theirs).unwrap();
            theirs.0.extend(more);
        }
        (ours, theirs)
    }

    #[test]
    fn roots_and_proofs_are_those_of_another_program() {
        for size in 1..=40 {
            let (ours, theirs) = both(size);
            let root = tlog_tiles::tree_hash(size, &theirs).unwrap();
            assert_eq!(ours.root(), root.0, "{size}");
            for from in 1..=size {
                let old = tlog_tiles::tree_hash(from, &theirs).unwrap();
                assert_eq!(ours.root_at(from), Some(old.0));
                let proof: Vec<Theirs> = ours
                    .consistency(from)
                    .unwrap()
                    .into_iter()
                    .map(Theirs)
                    .collect();
                assert_eq!(proof, tlog_tiles::prove_tree(size, from, &theirs).unwrap());
            }
        }
    }

    #[test]
    fn an_empty_tree_has_the_root_of_the_rfc_and_nothing_comes_from_a_longer_one() {
        let empty = Tree::default();
        assert_eq!(
            crate::reference::digest::sha256(&[]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(empty.root()[..2], [0xe3, 0xb0]);
        assert_eq!(empty.consistency(0), Some(Vec::new()));
        assert_eq!(empty.consistency(1), None);
        assert_eq!(empty.root_at(1), None);
    }
}
