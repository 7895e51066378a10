//! The rule of the chain: which hash an entry points back to, and what its own hash covers.

use serde::Serialize;

use super::verify::{Place, Reason};
use super::{Draft, Entry, Link};
use crate::reference::digest;

/// `prev_hash` of entry 0.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How entries are chained. Append and verification ask the same rule.
pub trait ChainRule: Send + Sync {
    /// What is written of an entry, before it has its place.
    fn draft(&self, draft: Draft) -> Draft {
        draft
    }
    /// `prev_hash` of an entry that follows `last`. `first_since_start`: no entry was appended yet
    /// since this process opened the database.
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String;
    /// The hash of an entry; its `hash` field is not looked at.
    fn digest(&self, entry: &Entry) -> String;
    /// Whether a stored entry rightly follows `last`.
    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool;

    /// Whether a stored entry is the right one in its place.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, place: &Place<'_>, entry: &Entry) -> Result<(), Reason> {
        if entry.seq != place.seq {
            return Err(Reason::Gap);
        }
        if self.digest(entry) != entry.hash {
            return Err(Reason::Hash);
        }
        // The entry before the range only lends its hash; its own link is outside what is read.
        let linked = place.last.is_some() || entry.seq == 0;
        if linked && !self.follows(place.last, entry) {
            return Err(Reason::Prev);
        }
        Ok(())
    }
}

/// SHA-256 over the RFC 8785 form of all fields but `hash`; `prev_hash` is the last entry's hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sha256Chain;

impl ChainRule for Sha256Chain {
    fn prev(&self, last: Option<&Link>, _first_since_start: bool) -> String {
        last.map_or_else(|| GENESIS.to_owned(), |link| link.hash.clone())
    }

    fn digest(&self, entry: &Entry) -> String {
        let covered = serde_json::to_vec(&Covered::of(entry)).expect("an entry is plain data");
        digest::sha256(&covered)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        entry.prev_hash == last.map_or(GENESIS, |link| link.hash.as_str())
    }
}

/// What the hash covers: the fields in the order of their names. Written without spaces that is the
/// RFC 8785 form (a test holds the two together), at a fraction of its cost: a read hashes every
/// entry that it covers.
#[derive(Serialize)]
struct Covered<'a> {
    action: &'a str,
    actor_id: &'a str,
    actor_role: &'a str,
    causal_parent: Option<&'a str>,
    chain: &'a str,
    correlation_id: &'a str,
    outcome: &'a str,
    payload_sha256: &'a str,
    prev_hash: &'a str,
    replay_generation: i64,
    request_id: &'a str,
    resource: &'a str,
    seq: i64,
    service: &'a str,
    ts: &'a str,
    via: Option<&'a str>,
}

impl<'a> Covered<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            action: &entry.action,
            actor_id: &entry.actor_id,
            actor_role: &entry.actor_role,
            causal_parent: entry.causal_parent.as_deref(),
            chain: &entry.chain,
            correlation_id: &entry.correlation_id,
            outcome: &entry.outcome,
            payload_sha256: &entry.payload_sha256,
            prev_hash: &entry.prev_hash,
            replay_generation: entry.replay_generation,
            request_id: &entry.request_id,
            resource: &entry.resource,
            seq: entry.seq,
            service: &entry.service,
            ts: &entry.ts,
            via: entry.via.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample() -> Vec<Value> {
        let text = include_str!("../../../fixtures/contract/samples/audit-export.json");
        let sample: Value = serde_json::from_str(text).unwrap();
        sample["answer"]["body"]["entries"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn entry(value: &Value) -> Entry {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn the_hashes_of_the_sample_are_these() {
        let entries: Vec<Entry> = sample().iter().map(entry).collect();
        for stored in &entries {
            assert_eq!(Sha256Chain.digest(stored), stored.hash);
        }
        assert!(Sha256Chain.follows(None, &entries[0]));
        assert!(Sha256Chain.follows(Some(&entries[0].link()), &entries[1]));
        assert!(!Sha256Chain.follows(None, &entries[1]));
    }

    #[test]
    fn the_covered_form_is_that_of_rfc_8785() {
        let mut odd = sample()[1].clone();
        odd["resource"] = json!("\u{7f}\u{0}\u{1f}\"\\/\u{8}\u{c}\n\r\t\u{20ac}\u{1f600}\u{2028}");
        odd["via"] = json!("");
        odd["causal_parent"] = json!("eva-os/0/00");
        odd["replay_generation"] = json!(9_007_199_254_740_991_i64);
        for value in sample().into_iter().chain([odd]) {
            let mut rest = value.clone();
            rest.as_object_mut().unwrap().remove("hash");
            let canonical = digest::canonical_sha256(&rest);
            assert_eq!(Sha256Chain.digest(&entry(&value)), canonical, "{value}");
        }
    }

    #[test]
    fn every_field_but_the_hash_is_covered() {
        let original = &sample()[1];
        let wanted = Sha256Chain.digest(&entry(original));
        let fields: Vec<&String> = original.as_object().unwrap().keys().collect();
        assert_eq!(fields.len(), 17);
        for field in fields {
            let mut other = original.clone();
            other[field] = if other[field].is_number() {
                json!(7)
            } else {
                json!("x")
            };
            let same = Sha256Chain.digest(&entry(&other)) == wanted;
            assert_eq!(same, field == "hash", "{field}");
        }
    }
}
