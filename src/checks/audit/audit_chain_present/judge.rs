//! The judgement: chains hold together, nothing stored changes, the database refuses, and entries
//! and effects are the same story told twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Evidence, Reading, ToolRun};
use crate::checks::audit::stored::CONTROL;
use crate::checks::{Judgement, Sent};
use crate::contract::audit::{payload_sha256, verify_entries};
use crate::contract::{self, AuditEntry, Effect};
use crate::violation;

/// How many violations of one kind are spelled out; the rest is counted.
const SHOWN: usize = 5;

pub(super) fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let book = Book::new(seen);
    chains_hold(seen, &mut judgement);
    nothing_stored_changes(seen, &mut judgement);
    statements_are_refused(seen, &mut judgement);
    for (what, found) in [
        (
            "acknowledged effects without their entry",
            effects_have_entries(&book),
        ),
        ("entries without their effect", entries_have_effects(&book)),
        (
            "entries that misname their request",
            entries_name_requests(&book),
        ),
        ("refusals without their entry", refusals_have_entries(&book)),
        (
            "resources that are not as their entries say",
            resources_exist(&book),
        ),
    ] {
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

/// Requests and entries, joined by the correlation id.
struct Book<'a> {
    seen: &'a Evidence,
    requests: BTreeMap<&'a str, &'a Sent>,
    entries: Vec<AuditEntry>,
    /// Up to when the chain of a service is known.
    read_us: BTreeMap<&'a str, u64>,
}

impl<'a> Book<'a> {
    fn new(seen: &'a Evidence) -> Self {
        let requests = seen
            .sent
            .iter()
            .map(|sent| (sent.id.as_str(), sent))
            .collect();
        let entries = seen
            .exports
            .values()
            .flat_map(|export| &export.entries)
            .filter_map(|entry| contract::read(entry).ok())
            .collect();
        let mut read_us = BTreeMap::new();
        for reading in seen
            .readings
            .iter()
            .filter(|reading| reading.unreadable.is_none())
        {
            read_us.insert(reading.chain.as_str(), reading.at_us);
        }
        Self {
            seen,
            requests,
            entries,
            read_us,
        }
    }

    /// Whether the entries of this request had to be in what was read: it was done before the
    /// last reading. A service without a chain of its own has to be in some other's.
    fn settled(&self, sent: &Sent) -> bool {
        let last = self.read_us.values().max().copied();
        let read = self.read_us.get(sent.service.as_str()).copied().or(last);
        matches!((sent.returned_us, read), (Some(done), Some(read)) if done <= read)
    }

    fn of<'b>(&'b self, sent: &'b Sent) -> impl Iterator<Item = &'b AuditEntry> {
        self.entries
            .iter()
            .filter(|entry| entry.correlation_id == sent.id)
    }

    /// The entries `ok` of openclaw about this run of a tool.
    fn tool_entries<'b>(&'b self, run: &'b ToolRun) -> impl Iterator<Item = &'b AuditEntry> {
        let resource = format!("tool/{}", run.tool_name);
        self.entries
            .iter()
            .filter(|entry| entry.service == "openclaw" && entry.outcome == "ok")
            .filter(move |entry| entry.correlation_id == run.id && entry.resource == resource)
    }

    /// The entries `ok` of one action on one resource that this service wrote for this request.
    fn count(&self, sent: &Sent, action: &str, resource: &str) -> usize {
        self.of(sent)
            .filter(|entry| entry.service == sent.service && entry.outcome == "ok")
            .filter(|entry| entry.action == action && entry.resource == resource)
            .count()
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
                "export of chain {chain}: {answer} ({why}), expected 200"
            );
            continue;
        }
        match stored {
            None => violation!(judgement, "chain {chain}: no database is named for it"),
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

/// Each acknowledged effect has its entry, once.
fn effects_have_entries(book: &Book<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for sent in book
        .seen
        .sent
        .iter()
        .filter(|sent| sent.ok() && book.settled(sent))
    {
        let Some(row) = Effect::of(&sent.service, &sent.method, &sent.path) else {
            continue;
        };
        let Some(resource) = row.resource(&sent.answer) else {
            found.push(format!(
                "{}: the answer names no {}",
                sent.line(),
                row.resource
            ));
            continue;
        };
        for action in [Some(&row.action), row.started.as_ref()]
            .into_iter()
            .flatten()
        {
            let n = book.count(sent, action, &resource);
            if n != 1 {
                found.push(format!(
                    "{}: {n} entries ok `{action}` on {resource}, expected 1",
                    sent.line()
                ));
            }
        }
    }
    for run in &book.seen.effects {
        for action in ["tool.execute", "tool.result"] {
            let n = book
                .tool_entries(run)
                .filter(|entry| entry.action == action)
                .count();
            if n != 1 {
                let ToolRun {
                    key, tool_name, id, ..
                } = run;
                found.push(format!(
                    "{tool_name} ran for {id} ({key}): {n} entries ok `{action}`, expected 1"
                ));
            }
        }
    }
    found
}

/// Each entry `ok` is about an effect: of an acknowledged request, or of one in flight.
fn entries_have_effects(book: &Book<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for entry in &book.entries {
        let AuditEntry {
            chain,
            seq,
            action,
            resource,
            outcome,
            correlation_id,
            ..
        } = entry;
        let place = format!("chain {chain}, entry {seq} ({outcome} `{action}` on {resource})");
        let Some(sent) = book.requests.get(correlation_id.as_str()) else {
            found.push(format!("{place}: nobody sent {correlation_id}"));
            continue;
        };
        if outcome == "ok" && !told.insert((correlation_id, chain, action, resource)) {
            found.push(format!("{place}: told twice, expected once"));
        }
        if sent.answered() && (outcome == "ok") != sent.ok() {
            found.push(format!("{place}: but {}", sent.line()));
        }
        if outcome == "ok" && sent.ok() && !belongs(entry, sent) {
            found.push(format!("{place}: not an effect of {}", sent.line()));
        }
    }
    found
}

/// Whether an entry is about what the answer of its request names: its own resource, or (in
/// another service) the run of a tool. Which tool that was is compared with what the tools did.
fn belongs(entry: &AuditEntry, sent: &Sent) -> bool {
    let Some(row) = Effect::of(&sent.service, &sent.method, &sent.path) else {
        return false;
    };
    if entry.service == sent.service {
        let known = entry.action == row.action || Some(&entry.action) == row.started.as_ref();
        return known && row.resource(&sent.answer).as_ref() == Some(&entry.resource);
    }
    !sent.answer["execution"].is_null() && entry.resource.starts_with("tool/")
}

/// Actor, role and payload are those of the request.
fn entries_name_requests(book: &Book<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &book.entries {
        let Some(sent) = book.requests.get(entry.correlation_id.as_str()) else {
            continue;
        };
        let mut check = |field: &str, got: &str, expected: &str| {
            if got != expected {
                let AuditEntry { chain, seq, .. } = entry;
                let line = sent.line();
                found.push(format!(
                    "chain {chain}, entry {seq}: {field} is {got}, expected {expected} of {line}"
                ));
            }
        };
        if let (Some(actor), Some(role)) = (&sent.actor, &sent.role) {
            check("actor_id", &entry.actor_id, actor);
            check("actor_role", &entry.actor_role, role);
        }
        if entry.service == sent.service {
            let expected = payload_sha256(sent.body.as_ref());
            check("payload_sha256", &entry.payload_sha256, &expected);
        }
    }
    found
}

/// A refusal of a known actor leaves an entry `refused`; a request of nobody leaves none.
fn refusals_have_entries(book: &Book<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for sent in book.seen.sent.iter().filter(|sent| book.settled(sent)) {
        let entries = book.of(sent).count();
        let refused = book
            .of(sent)
            .filter(|entry| entry.service == sent.service && entry.outcome == "refused")
            .count();
        match sent.status {
            401 if entries != 0 => {
                found.push(format!("{}: {entries} entries, expected 0", sent.line()));
            }
            403 | 409 | 422 if sent.actor.is_some() && refused != 1 => {
                found.push(format!(
                    "{}: {refused} entries refused, expected 1",
                    sent.line()
                ));
            }
            _ => {}
        }
    }
    found
}

/// What entries `ok` are about is there when it is read back, and gone when it was deleted.
fn resources_exist(book: &Book<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for got in book.seen.readback.iter().filter(|got| got.answered()) {
        let id = got.path.rsplit('/').next().unwrap_or_default();
        let named = ["session_id", "id"]
            .iter()
            .any(|field| got.answer[*field] == id);
        let expected = match book.deleted_us(id) {
            None => true,
            // Whether what was deleted before a KILL stays so is a matter of other gates.
            Some(at_us) if Some(&at_us) < book.seen.kills_us.last() => continue,
            Some(_) => false,
        };
        if (got.ok() && named) != expected {
            let expected = if expected { "there" } else { "deleted" };
            found.push(format!(
                "{}: its entries say that it is {expected}",
                got.line()
            ));
        }
    }
    for entry in book.entries.iter().filter(|entry| entry.outcome == "ok") {
        if book.lost(entry) {
            let AuditEntry {
                chain,
                seq,
                action,
                resource,
                ..
            } = entry;
            found.push(format!(
                "chain {chain}, entry {seq}: ok `{action}`, but {resource} is not as it says"
            ));
        }
    }
    found
}

impl Book<'_> {
    /// When the deletion of this session was sent, if an entry tells of one.
    fn deleted_us(&self, id: &str) -> Option<u64> {
        let resource = format!("session/{id}");
        let told = |entry: &&AuditEntry| {
            entry.action == "session.delete" && entry.outcome == "ok" && entry.resource == resource
        };
        let entry = self.entries.iter().find(told)?;
        self.requests
            .get(entry.correlation_id.as_str())
            .map(|sent| sent.invoked_us)
    }

    /// Whether what this entry `ok` tells of is not to be found where the harness can look: the
    /// tools, and the pending approvals.
    fn lost(&self, entry: &AuditEntry) -> bool {
        let Some(pending) = &self.seen.pending else {
            return false;
        };
        match entry.resource.split_once('/') {
            Some(("tool", name)) if entry.action == "tool.result" => {
                let done = |run: &ToolRun| run.id == entry.correlation_id && run.tool_name == name;
                !self.seen.effects.iter().any(done)
            }
            Some(("approval", id)) => {
                let decided = |other: &AuditEntry| {
                    other.resource == entry.resource
                        && other.outcome == "ok"
                        && other.action != "approval.request"
                };
                pending.iter().any(|open| open == id) == self.entries.iter().any(decided)
            }
            _ => false,
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
    if seen.chains.is_empty() {
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
