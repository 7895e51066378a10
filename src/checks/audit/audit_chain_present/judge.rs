//! The judgement: chains hold together, nothing stored changes, the database refuses, and entries
//! and effects are the same story told twice.

use std::collections::BTreeMap;

use serde_json::Value;

use super::book::Book;
use super::{Evidence, Reading};
use crate::checks::Judgement;
use crate::checks::audit::stored::CONTROL;
use crate::contract::audit::verify_entries;
use crate::violation;

/// How many violations of one kind are spelled out; the rest is counted.
const SHOWN: usize = 5;

pub(super) fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let book = Book::new(seen);
    chains_hold(seen, &mut judgement);
    nothing_stored_changes(seen, &mut judgement);
    statements_are_refused(seen, &mut judgement);
    for (what, found) in book.complaints() {
        report(what, found, &mut judgement);
    }
    count(&book, &mut judgement);
    judgement
}

/// The first few, and how many there are.
fn report(what: &str, found: Vec<String>, judgement: &mut Judgement) {
    let more = found.len().saturating_sub(SHOWN);
    let total = found.len();
    for text in found.into_iter().take(SHOWN) {
        judgement.violation(text);
    }
    if more > 0 {
        violation!(
            judgement,
            "{total} {what}, expected 0 ({more} more are not listed)"
        );
    }
}

/// Each chain verifies from its genesis, in every reading.
fn chains_hold(seen: &Evidence, judgement: &mut Judgement) {
    for Reading {
        chain,
        answer,
        unreadable,
        stored,
        exported,
        differing,
        ..
    } in &seen.readings
    {
        if answer != "200" || unreadable.is_some() {
            let why = unreadable.as_deref().unwrap_or("no reason");
            violation!(
                judgement,
                "chain {chain}: the export is {answer} ({why}), expected 200 and entries"
            );
            continue;
        }
        match stored {
            // Why not is among the troubles.
            None => {}
            Some(stored) if stored != exported => {
                let row = differing
                    .first()
                    .map_or("none".to_owned(), Value::to_string);
                violation!(
                    judgement,
                    "chain {chain}: {} entries exported and {} stored, expected the same; first stored \
                     row that differs: {row}",
                    exported.len(),
                    stored.len()
                );
            }
            Some(_) => {}
        }
    }
    for (chain, export) in &seen.exports {
        let flaws = verify_entries(chain, &export.entries, None);
        report(
            "flaws of a chain",
            flaws.iter().map(ToString::to_string).collect(),
            judgement,
        );
    }
}

/// What an earlier reading of a chain saw is the beginning of what a later one saw.
fn nothing_stored_changes(seen: &Evidence, judgement: &mut Judgement) {
    let mut earlier: BTreeMap<&str, &[String]> = BTreeMap::new();
    for reading in &seen.readings {
        let Some(now) = reading.stored.as_deref() else {
            continue;
        };
        let chain = reading.chain.as_str();
        if let Some(before) = earlier.insert(chain, now) {
            if now.len() < before.len() {
                let (now, before) = (now.len(), before.len());
                violation!(
                    judgement,
                    "chain {chain}: {now} entries, expected at least {before}"
                );
            }
            let changed = before.iter().zip(now).position(|(old, new)| old != new);
            if let Some(seq) = changed {
                violation!(
                    judgement,
                    "chain {chain}: the stored entry {seq} is another than before"
                );
            }
        }
    }
}

/// A copy of the database refuses all but the right next entry, and is then what it was.
fn statements_are_refused(seen: &Evidence, judgement: &mut Judgement) {
    let mut refused = 0;
    for tried in &seen.statements {
        let (chain, name) = (&tried.chain, &tried.name);
        match (&tried.error, tried.before == tried.after) {
            (Some(error), _) if name == CONTROL => {
                violation!(
                    judgement,
                    "chain {chain}: {name} is refused ({error}), expected accepted"
                );
            }
            (None, true) if name == CONTROL => {
                violation!(
                    judgement,
                    "chain {chain}: {name} changed nothing, expected one more row"
                );
            }
            (None, false) if name == CONTROL => {}
            (Some(_), true) => refused += 1,
            (None, true) => {
                violation!(
                    judgement,
                    "chain {chain}: {name} is passed over, expected refused"
                );
            }
            (_, false) => {
                violation!(
                    judgement,
                    "chain {chain}: {name} changed the log, expected refused"
                );
            }
        }
    }
    judgement.exercised("refused_statements", refused);
    for chain in &seen.chains {
        if !seen.statements.iter().any(|tried| &tried.chain == chain) {
            judgement.undecided(format!("chain {chain}: no statement was tried on a copy"));
        }
    }
}

fn count(book: &Book<'_>, judgement: &mut Judgement) {
    let seen = book.seen;
    let done = || {
        seen.sent
            .iter()
            .filter(|sent| sent.ok() && book.settled(sent))
    };
    let mutations = done().count();
    judgement.exercised("mutations", mutations as u64);
    judgement.exercised("kills", seen.kills_us.len() as u64);
    for chain in &seen.chains {
        // Epochs are the times between the kills: a chain that is not written to in one of them
        // says nothing about going on.
        let mut edges = vec![0];
        edges.extend(&seen.kills_us);
        let last = edges.len() - 1;
        for (epoch, from) in edges.iter().enumerate() {
            let to = edges.get(epoch + 1).copied().unwrap_or(u64::MAX);
            let written = done()
                .filter(|sent| &sent.service == chain)
                .filter(|sent| sent.invoked_us >= *from && sent.invoked_us < to)
                .count();
            if written == 0 {
                judgement.undecided(format!(
                    "chain {chain}: no acknowledged mutation in run {epoch} of 0 to {last}"
                ));
            }
        }
    }
    // Where nothing was sent the target never ran, and its list was never read.
    if seen.chains.is_empty() && !seen.sent.is_empty() {
        judgement.violation("the target lists 0 chains, expected one for each database of effects");
    }
    judgement.undecided.extend(seen.trouble.iter().cloned());
    let refused = judgement
        .exercised
        .get("refused_statements")
        .copied()
        .unwrap_or_default();
    let open = seen.sent.iter().filter(|sent| !sent.answered()).count();
    judgement.detail = format!(
        "{} entries in {} chains verified over {} kills; {mutations} effects and {} entries match, {open} \
         requests open; {refused} statements refused",
        book.entries.len(),
        seen.exports.len(),
        seen.kills_us.len(),
        book.entries
            .iter()
            .filter(|entry| entry.outcome == "ok")
            .count(),
    );
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
