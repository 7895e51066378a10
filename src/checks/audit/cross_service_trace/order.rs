//! The order that a trace must have, made from its entries alone: the chains' own orders and the
//! causal parents, extended by the least (chain, number) of what may come next.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::AuditEntry;

/// An entry's place: chain and number.
pub(super) type Place = (String, i64);

/// The place of an entry.
pub(super) fn place(entry: &AuditEntry) -> Place {
    (entry.chain.clone(), entry.seq)
}

/// The entry that a causal parent `chain/seq/hash` names, if it is among these.
pub(super) fn parent<'a>(
    named: &str,
    entries: &'a BTreeMap<Place, &AuditEntry>,
) -> Option<&'a AuditEntry> {
    let mut parts = named.split('/');
    let (chain, seq, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let found = entries.get(&(chain.to_owned(), seq.parse().ok()?))?;
    (found.hash == hash).then_some(*found)
}

/// Each pair of places of which the first has to come before the second.
pub(super) fn constraints(entries: &BTreeMap<Place, &AuditEntry>) -> Vec<(Place, Place)> {
    let mut pairs = Vec::new();
    let neighbours = entries.keys().zip(entries.keys().skip(1));
    for (one, next) in neighbours.filter(|(one, next)| one.0 == next.0) {
        pairs.push((one.clone(), next.clone()));
    }
    for (child, entry) in entries {
        let named = entry.causal_parent.as_deref();
        if let Some(cause) = named.and_then(|named| parent(named, entries)) {
            pairs.push((place(cause), child.clone()));
        }
    }
    pairs
}

/// The pairs that this order breaks.
pub(super) fn broken(order: &[Place], constraints: &[(Place, Place)]) -> Vec<(Place, Place)> {
    let at: BTreeMap<&Place, usize> = order.iter().zip(0..).collect();
    let breaks = |(one, next): &&(Place, Place)| match (at.get(one), at.get(next)) {
        (Some(one), Some(next)) => one >= next,
        _ => false,
    };
    constraints.iter().filter(breaks).cloned().collect()
}

/// The one order that a trace must have.
pub(super) fn order(
    entries: &BTreeMap<Place, &AuditEntry>,
    constraints: &[(Place, Place)],
) -> Vec<Place> {
    let mut left: BTreeSet<&Place> = entries.keys().collect();
    let mut order = Vec::new();
    while let Some(next) = left.iter().copied().find(|place| {
        constraints
            .iter()
            .all(|(one, next)| next != *place || !left.contains(one))
    }) {
        left.remove(next);
        order.push(next.clone());
    }
    order
}
