//! `audit/CHAIN.json`: the newest entries of a chain with their proof, made and checked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reference::audit::{
    AuditKey, Break, ChainRule, Checked, Checkpoint, Entry, Ledger, Link, Place, Range, Reason,
    Tree, last, leaf, raw,
};
use crate::reference::parts::Parts;
use crate::reference::store::{Readers, StoreError};

/// The most entries of one chain; older ones are in the database.
const MAX_ENTRIES: usize = 10_000;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    /// The chain.
    pub(super) chain: String,
    /// `whole`, `empty` or `broken`.
    pub(super) state: String,
    entries: Vec<Value>,
    proof: Option<Value>,
    broken: Option<Value>,
}

impl Segment {
    fn empty(chain: &str) -> Self {
        Self {
            chain: chain.to_owned(),
            state: "empty".to_owned(),
            entries: Vec::new(),
            proof: None,
            broken: None,
        }
    }

    fn whole(chain: &str, entries: &[Entry], checkpoint: &str) -> Self {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Self::empty(chain);
        };
        let proof = json!({
            "chain": chain,
            "first_seq": first.seq,
            "last_seq": last.seq,
            "first_hash": first.hash,
            "last_hash": last.hash,
            "prev_hash": first.prev_hash,
            "entry_count": entries.len(),
            "algorithm": "sha256",
            "checkpoint": checkpoint,
        });
        Self {
            state: "whole".to_owned(),
            entries: entries.iter().map(value).collect(),
            proof: Some(proof),
            ..Self::empty(chain)
        }
    }

    fn broken(broken: &Break, entries: Vec<Value>) -> Self {
        Self {
            state: "broken".to_owned(),
            entries,
            broken: Some(json!({"seq": broken.seq, "reason": broken.reason.word()})),
            ..Self::empty(&broken.chain)
        }
    }

    /// What the summary says of it.
    pub(super) fn summary(&self) -> Value {
        let last_seq = self
            .entries
            .last()
            .map_or(&Value::Null, |last| &last["seq"]);
        let (state, count) = (&self.state, self.entries.len());
        json!({"state": state, "entry_count": count, "last_seq": last_seq})
    }
}

fn value(entry: &Entry) -> Value {
    serde_json::to_value(entry).expect("an entry is plain data")
}

/// Reads the newest entries of a chain and verifies all of it; the break, when there is one. The
/// checkpoint of a chain that has entries is signed anew, and kept.
///
/// # Errors
/// When the database or the checkpoint is not to be had just now; damage is a break.
pub(super) async fn read(
    path: &Path,
    chain: &str,
    (parts, key): (&Parts, &Arc<AuditKey>),
    busy: Duration,
) -> Result<(Segment, Option<Break>), StoreError> {
    let ledger = Ledger::new(chain, path, parts);
    if !path.exists() && !ledger.is_kept() {
        return Ok((Segment::empty(chain), None));
    }
    let (name, key) = (chain.to_owned(), key.clone());
    let readers = Readers::new(path, busy);
    let read = readers.read(move |conn| {
        // The end may be what cannot be read: the rows before it are still worth a look.
        let newest = last(conn, &name).ok().flatten().map(|last| last.seq);
        let most = i64::try_from(MAX_ENTRIES).unwrap_or(i64::MAX);
        let range = Range {
            from: newest.map_or(0, |newest| (newest + 1).saturating_sub(most).max(0)),
            to: i64::MAX,
            limit: MAX_ENTRIES,
        };
        let sealed = match newest {
            None => Ok(ledger.verify(conn, Some(&key), range)?.map(|_| None)),
            Some(_) => {
                let sealed = ledger.seal(conn, &key, range)?;
                sealed.map(|checked| checked.map(Some))
            }
        };
        let rows = match &sealed {
            Ok(Checked::Broken(_)) => raw(conn, range).unwrap_or_default(),
            _ => Vec::new(),
        };
        Ok((sealed, rows))
    });
    let (broken, rows) = match read.await {
        Ok((Ok(Checked::Clean(None)), _)) => return Ok((Segment::empty(chain), None)),
        Ok((Ok(Checked::Clean(Some(sealed))), _)) => {
            let segment = Segment::whole(chain, &sealed.segment.entries, &sealed.note);
            return Ok((segment, None));
        }
        Ok((Err(error), _)) => {
            let why = format!("no checkpoint is kept: {error}");
            return Err(StoreError::Unavailable(why));
        }
        Err(locked @ StoreError::Locked(_)) => return Err(locked),
        Ok((Ok(Checked::Broken(broken)), rows)) => (broken, rows),
        Err(_) => {
            let (chain, seq, reason) = (chain.to_owned(), 0, Reason::Unreadable);
            (Break { chain, seq, reason }, Vec::new())
        }
    };
    Ok((Segment::broken(&broken, rows), Some(broken)))
}

/// What is wrong with the segment of this chain in a bundle.
pub(super) fn check(
    chain: &str,
    content: &[u8],
    (rule, key): (&dyn ChainRule, &VerifyingKey),
) -> Result<(), String> {
    let segment: Segment =
        serde_json::from_slice(content).map_err(|error| format!("it is no segment: {error}"))?;
    if segment.chain != chain {
        return Err(format!("it is of chain {}", segment.chain));
    }
    match segment.state.as_str() {
        "broken" => {
            let broken = segment.broken.unwrap_or_default();
            let (seq, reason) = (&broken["seq"], &broken["reason"]);
            Err(format!("it was broken at seq {seq}: {reason}"))
        }
        "empty" if segment.entries.is_empty() && segment.proof.is_none() => Ok(()),
        "whole" => {
            let entries = linked(chain, &segment.entries, rule)?;
            let note = segment.proof.as_ref().map(|proof| &proof["checkpoint"]);
            let note = note.and_then(Value::as_str).unwrap_or_default();
            if segment.proof != Segment::whole(chain, &entries, note).proof {
                return Err("its proof does not fit its entries".to_owned());
            }
            sealed(chain, &entries, note, key)
        }
        state => Err(format!("its state {state} does not fit its content")),
    }
}

/// The entries, when each is what its hash says and follows the one before.
fn linked(chain: &str, raw: &[Value], rule: &dyn ChainRule) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for (place, stored) in raw.iter().enumerate() {
        let entry: Entry = serde_json::from_value(stored.clone())
            .map_err(|error| format!("entry {place}: {error}"))?;
        let last: Option<Link> = entries.last().map(Entry::link);
        // A segment may begin anywhere.
        let seq = last.as_ref().map_or(entry.seq, |last| last.seq + 1);
        let place = Place {
            seq,
            last: last.as_ref(),
            end: i64::MAX,
        };
        // A field more or less would not be covered by the hash of what was read.
        if entry.chain != chain || value(&entry) != *stored {
            return Err(format!("entry {seq} is not one of chain {chain}"));
        }
        rule.check(&place, &entry)
            .map_err(|reason| format!("entry {seq}: {}", reason.word()))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The checkpoint is signed, is as long as the segment, and is of these entries if all are here.
fn sealed(chain: &str, entries: &[Entry], note: &str, key: &VerifyingKey) -> Result<(), String> {
    let checkpoint = Checkpoint::parse(chain, note)
        .filter(|checkpoint| AuditKey::signed(key, chain, &checkpoint.text(chain), note))
        .ok_or("its checkpoint is none of the pinned key's")?;
    let end = entries.last().map_or(0, |last| last.seq + 1);
    if u64::try_from(end) != Ok(checkpoint.size) {
        return Err(format!("its checkpoint is of {} entries", checkpoint.size));
    }
    let mut tree = Tree::default();
    for entry in entries {
        tree.push(&leaf(entry).ok_or("a hash is none")?);
    }
    let whole = tree.size() == checkpoint.size;
    if whole && tree.root() != checkpoint.root {
        return Err("its checkpoint is of other entries".to_owned());
    }
    Ok(())
}
