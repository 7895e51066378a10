//! The segment of one audit chain in a bundle: whole, empty, or said to be broken.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::audit::{Before, Export, Proof, verify_export};
use crate::contract::checkpoint::{Checkpoint, head_of};

/// `audit/CHAIN.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The chain.
    pub chain: String,
    /// `whole`, `empty` or `broken`.
    pub state: String,
    /// As they would be exported; of a broken chain as they are stored.
    pub entries: Vec<Value>,
    /// Only of a whole one.
    pub proof: Option<Proof>,
    /// Only of a broken one.
    pub broken: Option<Broken>,
}

/// Where a target found a chain broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// The first bad entry.
    pub seq: i64,
    /// `hash`, `prev`, `gap`, `unreadable`, ...
    pub reason: String,
}

/// All that is wrong with the segment of this chain.
pub(super) fn flaws(chain: &str, content: &[u8], key: &VerifyingKey) -> Vec<String> {
    let segment: Segment = match serde_json::from_slice(content) {
        Ok(segment) => segment,
        Err(error) => return vec![format!("no audit segment: {error}")],
    };
    if segment.chain != chain {
        return vec![format!("chain is `{}`, expected `{chain}`", segment.chain)];
    }
    match (segment.state.as_str(), &segment.broken) {
        ("broken", Some(Broken { seq, reason })) => {
            vec![format!("the target found it broken at seq {seq}: {reason}")]
        }
        ("empty", None) if segment.entries.is_empty() && segment.proof.is_none() => Vec::new(),
        ("whole", None) => whole(segment, key),
        (state, _) => vec![format!("state `{state}` does not fit its content")],
    }
}

fn whole(segment: Segment, key: &VerifyingKey) -> Vec<String> {
    let before = segment.proof.as_ref().and_then(before);
    let (entries, proof) = (segment.entries, segment.proof);
    let export = Export { entries, proof };
    let flaws = verify_export(&segment.chain, &export, before.as_ref());
    let mut flaws: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    if let Err(why) = checkpoint(&segment.chain, &export, key) {
        flaws.push(format!("proof.checkpoint: {why}"));
    }
    flaws
}

/// What the proof says that the segment goes on from; its first entry has to say the same.
fn before(proof: &Proof) -> Option<Before> {
    (proof.first_seq > 0).then(|| Before {
        seq: proof.first_seq - 1,
        hash: proof.prev_hash.clone(),
    })
}

/// The checkpoint is of this chain, as long as the segment, and over the same entries as far as
/// they are all here: without it a tail that was cut off could not be seen.
fn checkpoint(chain: &str, export: &Export, key: &VerifyingKey) -> Result<(), String> {
    let Some(proof) = &export.proof else {
        return Ok(());
    };
    let note = proof.checkpoint.as_deref().ok_or("there is none")?;
    let head = Checkpoint::open(note, chain, key)?.head;
    let end = u64::try_from(proof.last_seq).map_or(0, |last| last + 1);
    if head.size != end {
        return Err(format!("it is of {} entries, expected {end}", head.size));
    }
    if proof.first_seq == 0 && head_of(&export.entries).as_ref() != Some(&head) {
        return Err("its root is of other entries".to_owned());
    }
    Ok(())
}
