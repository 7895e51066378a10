//! Requests, entries and effects, joined by the correlation id: the same story told three times.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, ToolRun};
use crate::checks::Sent;
use crate::contract::audit::payload_sha256;
use crate::contract::{self, AuditEntry, Effect};

/// Requests and entries, joined by the correlation id.
pub(super) struct Book<'a> {
    pub(super) seen: &'a Evidence,
    requests: BTreeMap<&'a str, &'a Sent>,
    pub(super) entries: Vec<AuditEntry>,
    /// Up to when the chain of a service is known.
    read_us: BTreeMap<&'a str, u64>,
}

impl<'a> Book<'a> {
    pub(super) fn new(seen: &'a Evidence) -> Self {
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

    /// What is wrong, by kind.
    pub(super) fn complaints(&self) -> [(&'static str, Vec<String>); 5] {
        [
            (
                "acknowledged effects without their entry",
                effects_have_entries(self),
            ),
            ("entries without their effect", entries_have_effects(self)),
            (
                "entries that misname their request",
                entries_name_requests(self),
            ),
            ("refusals without their entry", refusals_have_entries(self)),
            (
                "resources that are not as their entries say",
                resources_exist(self),
            ),
        ]
    }

    /// Whether the entries of this request had to be in what was read: it was done before the
    /// last reading. A service without a chain of its own has to be in some other's.
    pub(super) fn settled(&self, sent: &Sent) -> bool {
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
/// another service) the memory that it names or the run of a tool. Which tool that was is compared with what the tools did.
fn belongs(entry: &AuditEntry, sent: &Sent) -> bool {
    let Some(row) = Effect::of(&sent.service, &sent.method, &sent.path) else {
        return false;
    };
    if entry.service == sent.service {
        let known = entry.action == row.action || Some(&entry.action) == row.started.as_ref();
        return known && row.resource(&sent.answer).as_ref() == Some(&entry.resource);
    }
    let memory = sent.answer["memory"]["memory_id"].as_str();
    memory.is_some_and(|id| entry.resource == format!("memory/{id}"))
        || (!sent.answer["execution"].is_null() && entry.resource.starts_with("tool/"))
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
