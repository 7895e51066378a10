//! Checkpoints of the audit chains (C2SP tlog-checkpoint) and the answers that carry them. A leaf is
//! the 32 bytes of an entry's `hash`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::merkle::{self, Hash, Head};
use super::note::Pinned;

/// `GET /v3/audit/checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The chain's name.
    pub chain: String,
    /// A signed note.
    pub checkpoint: String,
}

/// `GET /v3/audit/consistency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// The chain's name.
    pub chain: String,
    /// The size that was asked about.
    pub from: u64,
    /// Base64 of each hash of the proof.
    pub proof: Vec<String>,
    /// The checkpoint that the proof leads to, a signed note.
    pub checkpoint: String,
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// Its size and root.
    pub head: Head,
}

impl Checkpoint {
    /// Reads the text of a note: origin, size, root, and lines of extensions, which are let be.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, digits, root) = (lines.next()?, lines.next()?, lines.next()?);
        let size: u64 = digits.parse().ok()?;
        let root: Hash = STANDARD.decode(root).ok()?.try_into().ok()?;
        let whole = !origin.is_empty() && lines.all(|line| !line.is_empty());
        (whole && size.to_string() == digits).then(|| Self {
            origin: origin.to_owned(),
            head: Head { size, root },
        })
    }

    /// Opens the checkpoint of a chain under the public key that its verifier has pinned.
    ///
    /// # Errors
    /// Why it says nothing of this chain.
    pub fn open(note: &str, chain: &str, key: &VerifyingKey) -> Result<Self, String> {
        let name = origin(chain);
        let text = Pinned::new(&name, *key).open(note);
        let text = text.map_err(|error| error.to_string())?;
        let read = Self::parse(text).ok_or("the note is no checkpoint")?;
        if read.origin != name {
            return Err(format!("the origin is {}, expected {name}", read.origin));
        }
        Ok(read)
    }
}

impl Consistency {
    /// The checkpoint that the chain has now, if it goes on from `old`.
    ///
    /// # Errors
    /// What does not verify.
    pub fn verify(&self, chain: &str, old: &Head, key: &VerifyingKey) -> Result<Head, String> {
        let new = Checkpoint::open(&self.checkpoint, chain, key)?.head;
        let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
        let proof: Option<Vec<Hash>> = self.proof.iter().map(hash).collect();
        let proof = proof.ok_or("a hash of the proof is not the base64 of 32 bytes")?;
        if !merkle::goes_on(old, &new, &proof) {
            let (from, to) = (old.size, new.size);
            return Err(format!(
                "the proof does not lead from {from} entries to {to}"
            ));
        }
        Ok(new)
    }
}

/// The origin of a chain's checkpoints, and the name of its key.
#[must_use]
pub fn origin(chain: &str) -> String {
    format!("sonia.local/{chain}")
}

/// The size and root of the chain that these entries are, from its first.
#[must_use]
pub fn head_of(entries: &[Value]) -> Option<Head> {
    let leaves: Option<Vec<Hash>> = entries.iter().map(leaf).collect();
    let root = merkle::root(&leaves?);
    let size = entries.len() as u64;
    Some(Head { size, root })
}

fn leaf(entry: &Value) -> Option<Hash> {
    let digits = entry["hash"].as_str()?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let bytes: Hash = bytes?.try_into().ok()?;
    Some(merkle::leaf(&bytes))
}

/// The query of a question for consistency with `old`.
#[must_use]
pub fn question(old: &Head) -> String {
    let root = STANDARD.encode(old.root);
    let root = root
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    format!("from={}&root={root}", old.size)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::contract::{Body, Export};

    fn sample<T: serde::de::DeserializeOwned>(name: &str) -> (T, Value) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/contract/samples");
        let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
        let sample: Value = serde_json::from_str(&text).unwrap();
        let body: Body<T> = crate::contract::read(&sample["answer"]["body"]).unwrap();
        (body.data, sample)
    }

    /// The key that signed the samples.
    fn key() -> VerifyingKey {
        SigningKey::from_bytes(&[7; 32]).verifying_key()
    }

    #[test]
    fn the_samples_verify_under_the_key_that_the_listening_line_shows() {
        let (signed, _) = sample::<Signed>("audit-checkpoint");
        let (export, _) = sample::<Export>("audit-export-signed");
        let checkpoint = Checkpoint::open(&signed.checkpoint, "api-gateway", &key()).unwrap();
        assert_eq!(Some(checkpoint.head), head_of(&export.entries));
        let of_export = export.proof.unwrap().checkpoint;
        assert_eq!(of_export, Some(signed.checkpoint.clone()));
        let (consistency, asked) = sample::<Consistency>("audit-consistency");
        let first = head_of(&export.entries[..1]).unwrap();
        let question = format!("chain=api-gateway&{}", question(&first));
        assert!(asked["path"].as_str().unwrap().ends_with(&question));
        let now = consistency.verify("api-gateway", &first, &key());
        assert_eq!(now, Ok(checkpoint.head));
        let text = include_str!("../../fixtures/contract/process.json");
        let process: Value = serde_json::from_str(text).unwrap();
        let shown = process["listening"]["chains"]["api-gateway"]
            .as_str()
            .unwrap();
        let pinned = Pinned::new("sonia.local/api-gateway", key());
        assert_eq!(Pinned::parse(shown), Some(pinned));
    }

    #[test]
    fn another_key_chain_or_tree_is_refused() {
        let (signed, _) = sample::<Signed>("audit-checkpoint");
        let open = |chain: &str, secret: u8| {
            let key = SigningKey::from_bytes(&[secret; 32]).verifying_key();
            Checkpoint::open(&signed.checkpoint, chain, &key).unwrap_err()
        };
        assert_eq!(open("api-gateway", 8), "it is not signed by the pinned key");
        assert_eq!(open("eva-os", 7), "it is not signed by the pinned key");
        let (consistency, _) = sample::<Consistency>("audit-consistency");
        let (export, _) = sample::<Export>("audit-export-signed");
        let first = head_of(&export.entries[..1]).unwrap();
        let forked = head_of(&export.entries[1..]).unwrap();
        let longer = Head { size: 3, ..first };
        for old in [forked, longer] {
            let refused = consistency.verify("api-gateway", &old, &key()).unwrap_err();
            assert!(refused.contains("does not lead from"), "{refused}");
        }
        let empty = Consistency {
            proof: Vec::new(),
            ..consistency.clone()
        };
        assert!(empty.verify("api-gateway", &first, &key()).is_err());
        let garbled = Consistency {
            proof: vec!["AAAA".to_owned()],
            ..consistency
        };
        let refused = garbled.verify("api-gateway", &first, &key()).unwrap_err();
        assert!(refused.contains("base64 of 32 bytes"), "{refused}");
    }

    #[test]
    fn an_entry_without_a_hash_has_no_place_in_a_tree() {
        let (export, _) = sample::<Export>("audit-export-signed");
        for wrong in ["", "00", "zz", "\u{e9}"] {
            let mut entries = export.entries.clone();
            entries[1]["hash"] = serde_json::json!(wrong);
            assert_eq!(head_of(&entries), None);
        }
        assert_eq!(head_of(&[]).unwrap().root, merkle::root(&[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn texts_are_judged_as_other_people_judge_them(
            size in prop_oneof![Just("0".to_owned()), "0?[1-9][0-9]{0,21}", "[ +-]?[0-9]"],
            root in any::<[u8; 32]>(), cut in 0..3_usize, more in "(|extension\n|\n|a\n\n)",
        ) {
            let root = STANDARD.encode(root);
            let root = &root[..root.len() - cut];
            let text = format!("sonia.local/eva-os\n{size}\n{root}\n{more}");
            let ours = Checkpoint::parse(&text);
            let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).ok();
            let theirs = theirs.map(|read| (read.size(), read.hash().0));
            prop_assert_eq!(ours.map(|read| (read.head.size, read.head.root)), theirs);
        }
    }
}
