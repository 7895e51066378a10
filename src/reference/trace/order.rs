//! The order of a trace, pure: a linear extension of the chains' own orders and of the causal
//! parents. Of what may come next the least (chain, seq) does; no clock is asked, because the
//! clocks of two services may be minutes apart.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::reference::audit::Entry;

/// An entry's place: chain and seq.
type Place = (String, i64);

/// A causal parent that is not in the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gap {
    /// The chain of the entry that names it.
    pub chain: String,
    /// The seq of that entry.
    pub seq: i64,
    /// `chain/seq/hash`, as it is named.
    pub causal_parent: String,
    /// Why it is not there.
    pub reason: Reason,
}

/// Why a causal parent is not in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// No chain that can be read has such an entry.
    Missing,
    /// There is one, of another conversation.
    Foreign,
}

/// The entries in their order, and the parents that are not among them, all as `missing`.
pub(super) fn arrange(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Gap>) {
    let mut entries: BTreeMap<Place, Entry> = entries
        .into_iter()
        .map(|entry| ((entry.chain.clone(), entry.seq), entry))
        .collect();
    let (before, gaps) = edges(&entries);
    let mut waiting: BTreeMap<Place, usize> = before
        .iter()
        .map(|(place, parents)| (place.clone(), parents.len()))
        .collect();
    let mut after: BTreeMap<&Place, Vec<&Place>> = BTreeMap::new();
    for (place, parents) in &before {
        for parent in parents {
            after.entry(parent).or_default().push(place);
        }
    }
    let mut ready: BTreeSet<Place> = waiting
        .iter()
        .filter(|(_, parents)| **parents == 0)
        .map(|(place, _)| place.clone())
        .collect();
    let mut ordered = Vec::new();
    while let Some(next) = ready.pop_first() {
        for child in after.get(&next).into_iter().flatten() {
            if let Some(left) = waiting.get_mut(*child) {
                *left -= 1;
                if *left == 0 {
                    ready.insert((*child).clone());
                }
            }
        }
        ordered.extend(entries.remove(&next));
    }
    // A parent is named by its hash, which covers the parents before it: only who can make
    // SHA-256 collide gets entries that wait for each other. They are shown all the same.
    ordered.extend(entries.into_values());
    (ordered, gaps)
}

/// What has to come before each entry, and the parents that cannot.
fn edges(entries: &BTreeMap<Place, Entry>) -> (BTreeMap<Place, BTreeSet<Place>>, Vec<Gap>) {
    let mut before: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
    let mut gaps = Vec::new();
    let mut last: Option<&Place> = None;
    for (place, entry) in entries {
        let parents = before.entry(place.clone()).or_default();
        parents.extend(last.filter(|last| last.0 == place.0).cloned());
        last = Some(place);
        let Some(named) = &entry.causal_parent else {
            continue;
        };
        let found = parse(named).filter(|(place, hash)| {
            entries
                .get(place)
                .is_some_and(|parent| parent.hash == *hash)
        });
        match found {
            Some((parent, _)) => {
                parents.insert(parent);
            }
            None => gaps.push(Gap {
                chain: entry.chain.clone(),
                seq: entry.seq,
                causal_parent: named.clone(),
                reason: Reason::Missing,
            }),
        }
    }
    (before, gaps)
}

/// Place and hash of `chain/seq/hash`.
pub(super) fn parse(link: &str) -> Option<(Place, &str)> {
    let (chain, rest) = link.split_once('/')?;
    let (seq, hash) = rest.split_once('/')?;
    Some(((chain.to_owned(), seq.parse().ok()?), hash))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn sample() -> Value {
        let text = include_str!("../../../fixtures/contract/samples/audit-trace.json");
        let sample: Value = serde_json::from_str(text).unwrap();
        sample["answer"]["body"].clone()
    }

    fn entries() -> Vec<Entry> {
        serde_json::from_value(sample()["entries"].clone()).unwrap()
    }

    #[test]
    fn the_sample_comes_back_in_its_order_from_any_other() {
        let wanted = entries();
        let mut given = entries();
        for turn in 0..given.len() {
            given.rotate_left(turn);
            given.swap(0, turn);
            let (ordered, gaps) = arrange(given.clone());
            assert_eq!(ordered, wanted);
            assert_eq!(serde_json::to_value(gaps).unwrap(), sample()["gaps"]);
        }
    }

    #[test]
    fn a_child_waits_for_its_parent_in_a_later_chain_and_no_clock_is_asked() {
        let mut given = entries();
        // The gateway's first entry is caused by openclaw's last one, an hour later.
        let parent = given.last().unwrap().link().to_string();
        given[0].causal_parent = Some(parent);
        given[3].causal_parent = None;
        given[5].ts = "2026-11-22T11:00:00.000000Z".to_owned();
        let (ordered, _) = arrange(given);
        let places: Vec<_> = ordered
            .iter()
            .map(|entry| (entry.chain.as_str(), entry.seq))
            .collect();
        let [g, o] = ["api-gateway", "openclaw"];
        assert_eq!(places, [(o, 0), (o, 1), (o, 2), (g, 0), (g, 1), (g, 2)]);
    }

    #[test]
    fn a_parent_with_another_hash_is_a_gap_and_holds_nothing_back() {
        let mut given = entries();
        let named = format!("api-gateway/1/{}", "0".repeat(64));
        given[3].causal_parent = Some(named.clone());
        let (ordered, gaps) = arrange(given);
        assert_eq!(ordered.len(), 6);
        assert_eq!((gaps.len(), &gaps[0].causal_parent), (2, &named));
    }
}
