//! The rule of the chain: which hash an entry points back to, and what its own hash covers.

use serde_json::Value;

use super::{Entry, Link};
use crate::reference::digest;

/// `prev_hash` of entry 0.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How entries are chained. Append and verification ask the same rule.
pub trait ChainRule: Send + Sync {
    /// `prev_hash` of an entry that follows `last`. `first_since_start`: no entry was appended yet
    /// since this process opened the database.
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String;
    /// The hash of an entry; its `hash` field is not looked at.
    fn digest(&self, entry: &Entry) -> String;
    /// Whether a stored entry rightly follows `last`.
    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool;
}

/// SHA-256 over the RFC 8785 form of all fields but `hash`; `prev_hash` is the last entry's hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sha256Chain;

impl ChainRule for Sha256Chain {
    fn prev(&self, last: Option<&Link>, _first_since_start: bool) -> String {
        last.map_or_else(|| GENESIS.to_owned(), |link| link.hash.clone())
    }

    fn digest(&self, entry: &Entry) -> String {
        let mut value = serde_json::to_value(entry).expect("an entry is plain data");
        if let Value::Object(fields) = &mut value {
            fields.remove("hash");
        }
        digest::canonical_sha256(&value)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        entry.prev_hash == last.map_or(GENESIS, |link| link.hash.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
