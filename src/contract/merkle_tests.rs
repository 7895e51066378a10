//! Against the reference values of RFC 6962's own implementation, and against other people's code.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::{Error, Hash as Theirs, HashReader};

use super::*;
use crate::base::json::hex;

/// Leaves and roots of the test of certificate-transparency (`merkletree/merkle_tree_test.cc`).
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
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// The same leaves in three implementations.
struct Trees {
    ours: Vec<Hash>,
    ct: MemoryBackedTree<Sha256, Vec<u8>>,
    tiles: Stored,
}

struct Stored(Vec<Theirs>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Theirs>, Error> {
        let at = |index: &u64| self.0[usize::try_from(*index).unwrap()];
        Ok(indexes.iter().map(at).collect())
    }
}

impl Trees {
    fn of<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut trees = Self {
            ours: Vec::new(),
            ct: MemoryBackedTree::new(),
            tiles: Stored(Vec::new()),
        };
        for (n, data) in leaves.into_iter().enumerate() {
            trees.ours.push(leaf(data));
            trees.ct.push(data.to_vec());
            let more = tlog_tiles::stored_hashes(n as u64, data, &trees.tiles).unwrap();
            trees.tiles.0.extend(more);
        }
        trees
    }

    fn numbered(size: u64) -> Self {
        let leaves: Vec<[u8; 8]> = (0..size).map(u64::to_be_bytes).collect();
        Self::of(leaves.iter().map(<[u8; 8]>::as_slice))
    }

    fn head(&self, size: u64) -> Head {
        let leaves = &self.ours[..usize::try_from(size).unwrap()];
        let root = root(leaves);
        Head { size, root }
    }

    fn consistency(&self, from: u64, to: u64) -> Vec<Hash> {
        let proof = tlog_tiles::prove_tree(to, from, &self.tiles).unwrap();
        proof.into_iter().map(|hash| hash.0).collect()
    }

    fn inclusion(&self, index: u64) -> Vec<Hash> {
        let size = self.ours.len() as u64;
        let proof = tlog_tiles::prove_record(size, index, &self.tiles).unwrap();
        proof.into_iter().map(|hash| hash.0).collect()
    }
}

#[test]
fn the_reference_roots_of_the_rfc_come_out() {
    for (size, expected) in ROOTS.into_iter().enumerate() {
        let trees = Trees::of(LEAVES.into_iter().take(size));
        assert_eq!(hex(&root(&trees.ours)), expected, "{size}");
    }
}

#[test]
fn every_proof_of_a_small_tree_verifies_and_as_no_other() {
    for size in 1..=17 {
        let trees = Trees::numbered(size);
        let new = trees.head(size);
        assert_eq!(*trees.ct.root().as_bytes().as_slice(), new.root);
        for from in 1..=size {
            let (old, proof) = (trees.head(from), trees.consistency(from, size));
            assert!(goes_on(&old, &new, &proof), "{from} to {size}");
            // The same proof and roots, said of another size.
            for wrong in (0..=size + 1).filter(|wrong| *wrong != from) {
                let old = Head { size: wrong, ..old };
                assert!(!goes_on(&old, &new, &proof), "{wrong} for {from} to {size}");
            }
        }
        for index in 0..size {
            let (leaf, proof) = (
                &trees.ours[usize::try_from(index).unwrap()],
                trees.inclusion(index),
            );
            for said in 0..=size {
                let holds = includes(leaf, said, size, &proof, &new.root);
                assert_eq!(holds, said == index, "{said} for {index} of {size}");
            }
        }
    }
}

#[test]
fn from_nothing_and_from_itself_only_an_empty_proof_is_one() {
    let trees = Trees::numbered(5);
    let (empty, all) = (trees.head(0), trees.head(5));
    assert!(goes_on(&empty, &all, &[]) && goes_on(&empty, &empty, &[]));
    assert!(goes_on(&all, &all, &[]));
    assert!(!goes_on(&empty, &all, &[all.root]) && !goes_on(&all, &all, &[all.root]));
    assert!(!goes_on(&all, &trees.head(4), &[]));
    let not_empty = Head { size: 0, ..all };
    assert!(!goes_on(&not_empty, &all, &[]));
    assert!(!includes(&all.root, 0, 0, &[], &all.root));
}

/// What is done to a proof.
#[derive(Clone, Debug)]
enum Harm {
    Nothing,
    Flip(usize, u8),
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::Nothing),
        (any::<usize>(), 0..=255_u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        any::<usize>().prop_map(Harm::Drop),
        any::<usize>().prop_map(Harm::Double),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Harm::Swap(a, b)),
    ]
}

/// The harmed proof, and whether it is another one than before.
fn harmed(proof: &[Hash], harm: &Harm) -> (Vec<Hash>, bool) {
    let mut other = proof.to_vec();
    if let Some(n) = std::num::NonZero::new(proof.len()) {
        match *harm {
            Harm::Nothing => {}
            Harm::Flip(at, bit) => other[at % n][usize::from(bit / 8)] ^= 1 << (bit % 8),
            Harm::Drop(at) => drop(other.remove(at % n)),
            Harm::Double(at) => other.insert(at % n, proof[at % n]),
            Harm::Swap(a, b) => other.swap(a % n, b % n),
        }
    }
    let differs = other != proof;
    (other, differs)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn consistency_is_judged_as_other_people_judge_it(
        to in 2_u64..200, share in 0.0..1.0_f64, harm in harm(),
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                 reason = "a share of a small number")]
        let from = 1 + ((to - 1) as f64 * share) as u64;
        let trees = Trees::numbered(to);
        let (old, new) = (trees.head(from), trees.head(to));
        let (proof, differs) = harmed(&trees.consistency(from, to), &harm);
        let verdict = goes_on(&old, &new, &proof);
        prop_assert_eq!(verdict, !differs);
        let tiles: Vec<Theirs> = proof.iter().copied().map(Theirs).collect();
        let theirs = tlog_tiles::check_tree(&tiles, to, Theirs(new.root), from, Theirs(old.root));
        prop_assert_eq!(verdict, theirs.is_ok());
        let digests: Vec<_> = proof.iter().map(|hash| (*hash).into()).collect();
        let ct = ConsistencyProof::<Sha256>::from_digests(digests.iter());
        let (ct_old, ct_new) = (RootHash::new(old.root.into(), from), RootHash::new(new.root.into(), to));
        prop_assert_eq!(verdict, ct_new.verify_consistency(&ct_old, &ct).is_ok());
    }

    #[test]
    fn inclusion_is_judged_as_other_people_judge_it(
        size in 1_u64..200, pick in any::<u64>(), harm in harm(),
    ) {
        let (trees, index) = (Trees::numbered(size), pick % size);
        let head = trees.head(size);
        let leaf = &trees.ours[usize::try_from(index).unwrap()];
        let (proof, differs) = harmed(&trees.inclusion(index), &harm);
        let verdict = includes(leaf, index, size, &proof, &head.root);
        prop_assert_eq!(verdict, !differs);
        let tiles: Vec<Theirs> = proof.iter().copied().map(Theirs).collect();
        let theirs = tlog_tiles::check_record(&tiles, size, Theirs(head.root), index, Theirs(*leaf));
        prop_assert_eq!(verdict, theirs.is_ok());
        let digests: Vec<_> = proof.iter().map(|hash| (*hash).into()).collect();
        let ct = InclusionProof::<Sha256>::from_digests(digests.iter());
        let ct_root = RootHash::<Sha256>::new(head.root.into(), size);
        let data = index.to_be_bytes().to_vec();
        prop_assert_eq!(verdict, ct_root.verify_inclusion(&data, index, &ct).is_ok());
    }

    #[test]
    fn the_root_is_that_of_other_people(leaves in proptest::collection::vec(any::<[u8; 4]>(), 0..80)) {
        let trees = Trees::of(leaves.iter().map(<[u8; 4]>::as_slice));
        let theirs: Hash = (*trees.ct.root().as_bytes()).into();
        prop_assert_eq!(root(&trees.ours), theirs);
    }
}
