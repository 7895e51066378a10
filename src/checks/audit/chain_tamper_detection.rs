//! Gate chain-tamper-detection: whatever is done to a stored chain, a read that covers it gives the
//! acknowledged entry or CHAIN_BROKEN with the first bad seq, never a clean proof.
//!
//! While the target runs, each byte of one entry is changed, read and put back, and so is each
//! attack on the list of entries: delete, swap, insert, duplicate, cut head and tail, rewrite a
//! suffix with right hashes, forge. Then the target starts on databases that were attacked while it
//! was stopped, on an older one beside the newer checkpoint, and on files with single bits flipped.
//! What no target can see alone, the harness sees as a witness: it restores database and checkpoint
//! together, lets the fork grow, and starts the target with another key; from the checkpoints that
//! it kept, no consistency may then verify. Before and after, a clean chain verifies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tampering;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::contract::{Consistency, Signed};

mod drive;
mod files;
mod judge;
mod looks;
mod prey;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The public key that the harness has pinned, in hexadecimal digits.
    pub pinned: String,
    /// The chains that the target lists.
    pub chains: Vec<String>,
    /// The mutations that were sent before any attack.
    pub sent: Vec<Sent>,
    /// Entries by chain, as they were served before any attack.
    pub acknowledged: BTreeMap<String, Vec<Value>>,
    /// Signed notes by chain, of half-way.
    pub early: BTreeMap<String, String>,
    /// Signed notes by chain, of the acknowledged entries: what the witness keeps.
    pub witnessed: BTreeMap<String, String>,
    /// Chains as they are, read.
    pub controls: Vec<Control>,
    /// What was done to chains, and what reads came to.
    pub attacks: Vec<Attacked>,
    /// What only a witness sees.
    pub forks: Vec<Fork>,
    /// What could not be done, and why.
    pub trouble: Vec<String>,
}

/// A clean chain, read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// The chain.
    pub chain: String,
    /// When: `before`, `after actor_id`, `at start`.
    pub when: String,
    /// The reads.
    pub looks: Vec<Look>,
    /// A mutation after them, if one was sent.
    pub mutation: Option<Outcome>,
}

/// A chain that was attacked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// The chain.
    pub chain: String,
    /// What was done.
    pub how: How,
    /// The stored entries after it, as the harness reads them; none when it cannot, or when the
    /// attack says all there is to know.
    pub stored: Option<Vec<Entry>>,
    /// Why the target did not start on it, if it did not.
    pub refused_start: Option<String>,
    /// The reads.
    pub looks: Vec<Look>,
    /// A mutation, if one was sent: after the reads while the target runs, before them at a start.
    pub mutation: Option<Outcome>,
}

/// What was done to a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "attack", rename_all = "snake_case")]
pub enum How {
    /// One byte of one field of the entry `seq`, while the target runs.
    Byte {
        /// The entry.
        seq: i64,
        /// The field.
        column: String,
        /// Which byte of it.
        byte: usize,
        /// Combined with it by exclusive or.
        mask: u8,
    },
    /// The list of entries, while the target runs.
    Running {
        /// What.
        what: tampering::Attack,
    },
    /// The list of entries, before a start.
    Stopped {
        /// What.
        what: tampering::Attack,
    },
    /// An older database beside the newer checkpoint, before a start.
    Older,
    /// One bit of the database file, before a start.
    Bit {
        /// Which byte of the file.
        offset: usize,
        /// Which bit of it.
        bit: u8,
    },
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The acknowledged entry of this place.
    Same(usize),
    /// Another one.
    Other(Value),
}

/// A state that only a witness can tell from the right one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// The chain.
    pub chain: String,
    /// What was done.
    pub how: Forked,
    /// The stored entries, as the harness reads them; none when it cannot.
    pub stored: Option<Vec<Entry>>,
    /// Why the target did not start on it, if it did not.
    pub refused_start: Option<String>,
    /// Whether the chain goes on from the witness's checkpoint.
    pub looks: Vec<Look>,
}

/// How a chain was forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forked {
    /// An older database with its checkpoint.
    OlderPair,
    /// That, and entries appended until it was longer than what the witness had seen.
    Appended,
    /// Rewritten with right hashes, the checkpoint removed, and a new key.
    NewKeyRewritten,
    /// The right entries, the checkpoint removed, and a new key.
    NewKey,
    /// The right entries beside the checkpoint of the old key, and a new key.
    NewKeyBeside,
}

/// One read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// What was read.
    pub what: What,
    /// What came of it.
    pub answer: Answer,
}

impl Look {
    /// Whether it says that this chain is broken.
    fn is_broken(&self, chain: &str) -> bool {
        matches!(&self.answer, Answer::Broken { chain: named, .. } if named == chain)
    }
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The export of everything.
    Whole,
    /// The export of the entries from one to another.
    Segment(i64, i64),
    /// The checkpoint.
    Checkpoint,
    /// The consistency with the witness's checkpoint.
    Consistency,
    /// The trace of the correlation id of the entry with this seq.
    Trace(i64),
}

/// What a read came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// 409 CHAIN_BROKEN.
    Broken {
        /// The chain it names.
        chain: String,
        /// The first bad seq; none when it names none.
        seq: Option<i64>,
        /// The reason.
        reason: String,
    },
    /// Entries, by digest, and the checkpoint beside them.
    Entries {
        /// A digest of each.
        digests: Vec<String>,
        /// A signed note.
        checkpoint: Option<String>,
    },
    /// A checkpoint.
    Signed(Signed),
    /// A proof.
    Proof(Consistency),
    /// Anything else.
    Other(Outcome),
}

/// A status and its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The status; 0 without an answer.
    pub status: u16,
    /// `error.code`, or why there is no answer.
    pub code: String,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    judge::judge(seen)
}

/// Drives it.
///
/// # Errors
/// When there is no target to drive.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut prey = prey::Prey::start(cx, seen).await?;
    drive::change_bytes(cx, &mut prey, seen).await?;
    drive::attack_running(cx, &mut prey, seen).await?;
    prey.stop_and_copy(cx).await?;
    drive::attack_stopped(cx, &mut prey, seen).await?;
    drive::flip_bits(cx, &mut prey, seen).await?;
    drive::fork(cx, &mut prey, seen).await?;
    drive::sign_anew(cx, &mut prey, seen).await
}
