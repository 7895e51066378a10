//! What contradicts the claim, recomputed from the chains.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::order::{Place, broken, constraints, order, parent, place};
use super::{Conversation, Evidence};
use crate::chaos::overlapping_pairs;
use crate::checks::{Judgement, Sent};
use crate::contract::{self, AuditEntry, Effect, Trace};

/// Violations that are written out; the rest is counted.
const SHOWN: usize = 20;
/// Tool calls of one conversation: a safe one, an approved one, and one by way of eva-os.
const TOOL_CALLS: usize = 3;

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let chains = Chains::of(seen);
    let mut tally = Tally::default();
    for conversation in &seen.conversations {
        let Some(traced) = &conversation.traced else {
            continue;
        };
        let wanted = chains.of_id(&conversation.id);
        // A chain that could not be read is no measure.
        if !seen.trouble.is_empty() {
            continue;
        }
        let mut found = told(conversation, &wanted, &chains);
        match contract::read::<Trace>(&traced.answer) {
            Err(why) => found.push(format!("{}: {why}", traced.line())),
            Ok(trace) => {
                found.extend(shown(&conversation.id, &trace, &wanted, &chains));
                tally.add(seen, conversation, &wanted);
            }
        }
        let found = found.into_iter();
        let found = found.map(|what| format!("trace {}: {what}", conversation.id));
        judgement.violations.extend(found);
    }
    tally.count(seen, &chains, &mut judgement);
    let shown = judgement.violations.len().min(SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// All entries of all chains.
struct Chains<'a> {
    entries: Vec<(&'a Value, AuditEntry)>,
}

impl<'a> Chains<'a> {
    fn of(seen: &'a Evidence) -> Self {
        let raw = seen.chains.values().flatten();
        let entries = raw.filter_map(|raw| Some((raw, contract::read(raw).ok()?)));
        Self {
            entries: entries.collect(),
        }
    }

    /// The entries of one conversation.
    fn of_id(&self, id: &str) -> BTreeMap<Place, &AuditEntry> {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        entries
            .filter(|entry| entry.correlation_id == id)
            .map(|entry| (place(entry), entry))
            .collect()
    }

    /// An entry as it was exported.
    fn raw(&self, at: &Place) -> Option<&Value> {
        let found = self.entries.iter().find(|(_, entry)| place(entry) == *at);
        found.map(|(raw, _)| *raw)
    }
}

fn name(place: &Place) -> String {
    format!("{}/{}", place.0, place.1)
}

/// Whether the chains tell all of a conversation, under its id and no other.
fn told(
    conversation: &Conversation,
    wanted: &BTreeMap<Place, &AuditEntry>,
    chains: &Chains<'_>,
) -> Vec<String> {
    let mut found = Vec::new();
    let id = &conversation.id;
    for (_, entry) in &chains.entries {
        let named = entry.causal_parent.as_deref();
        if let Some(cause) = named.and_then(|named| parent(named, wanted))
            && entry.correlation_id != *id
        {
            found.push(format!(
                "{} is caused by {} and goes on under {}, expected the same id",
                name(&place(entry)),
                name(&place(cause)),
                entry.correlation_id,
            ));
        }
    }
    for sent in conversation.sent.iter().filter(|sent| sent.ok()) {
        for action in unwritten(sent, wanted) {
            found.push(format!("no entry {action} after {}", sent.line()));
        }
    }
    for call in &conversation.calls {
        if call.id != *id || parent(&call.parent, wanted).is_none() {
            found.push(format!(
                "a tool was called under {} with the parent {}, expected the id and one of its entries",
                call.id, call.parent,
            ));
        }
    }
    let calls = conversation.calls.len();
    let all_ok = conversation.sent.iter().all(Sent::ok);
    if all_ok && !conversation.sent.is_empty() && calls != TOOL_CALLS {
        found.push(format!("{calls} tool calls, expected {TOOL_CALLS}"));
    }
    found
}

/// The entries that this request had to leave and did not.
fn unwritten(sent: &Sent, wanted: &BTreeMap<Place, &AuditEntry>) -> Vec<String> {
    let Some(row) = Effect::of(&sent.service, &sent.method, &sent.path) else {
        return Vec::new();
    };
    let resource = row.resource(&sent.answer);
    let there = |action: &String| {
        wanted.values().any(|entry| {
            entry.service == sent.service
                && entry.action == *action
                && resource.as_ref() == Some(&entry.resource)
        })
    };
    let actions = [Some(&row.action), row.started.as_ref()];
    let actions = actions.into_iter().flatten();
    actions.filter(|action| !there(action)).cloned().collect()
}

/// Whether a trace shows what the chains tell, in its order.
fn shown(
    id: &str,
    trace: &Trace,
    wanted: &BTreeMap<Place, &AuditEntry>,
    chains: &Chains<'_>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for raw in &trace.entries {
        let Ok(entry) = contract::read::<AuditEntry>(raw) else {
            found.push(format!("{raw} is no entry"));
            continue;
        };
        let at = place(&entry);
        if entry.correlation_id != id {
            let (got, at) = (&entry.correlation_id, name(&at));
            found.push(format!("{at} is of {got}: foreign"));
        } else if chains.raw(&at) != Some(raw) {
            found.push(format!("{} is another than exported", name(&at)));
        }
        if places.contains(&at) {
            found.push(format!("{} is there twice", name(&at)));
        }
        places.push(at);
    }
    let missing: Vec<String> = wanted
        .keys()
        .filter(|at| !places.contains(at))
        .map(name)
        .collect();
    if !missing.is_empty() {
        found.push(format!(
            "without {}, expected all entries",
            missing.join(", ")
        ));
    }
    let constraints = constraints(wanted);
    let breaks = broken(&places, &constraints);
    for (cause, effect) in &breaks {
        let (cause, effect) = (name(cause), name(effect));
        found.push(format!("{effect} stands before {cause}, expected after it"));
    }
    let exact = order(wanted, &constraints);
    if found.is_empty() && places != exact {
        let list = |places: &[Place]| places.iter().map(name).collect::<Vec<_>>().join(", ");
        found.push(format!(
            "the order {}, expected {}",
            list(&places),
            list(&exact)
        ));
    }
    found.extend(frame(id, trace, &places));
    found
}

/// What a trace says of itself.
fn frame(id: &str, trace: &Trace, places: &[Place]) -> Vec<String> {
    let chains: BTreeSet<&str> = places.iter().map(|(chain, _)| chain.as_str()).collect();
    let named: Vec<&str> = trace.chains.iter().map(String::as_str).collect();
    let got = (trace.trace_id.as_str(), trace.entry_count, named);
    let expected = (id, places.len() as u64, Vec::from_iter(chains));
    let mut found = Vec::new();
    if got != expected {
        found.push(format!("it says {got:?} of itself, expected {expected:?}"));
    }
    // Every request of a conversation carries its id, so that every parent is in the trace.
    for gap in &trace.gaps {
        found.push(format!(
            "a gap at {}/{}: {} is {}, expected none",
            gap.chain, gap.seq, gap.causal_parent, gap.reason,
        ));
    }
    found
}

/// What was exercised.
#[derive(Default)]
struct Tally {
    turns: u64,
    skewed: u64,
    /// Processes that a conversation went through, the least of all.
    services: Option<usize>,
}

impl Tally {
    fn add(
        &mut self,
        seen: &Evidence,
        conversation: &Conversation,
        wanted: &BTreeMap<Place, &AuditEntry>,
    ) {
        let is_turn = |sent: &&Sent| sent.ok() && sent.path.ends_with("/turn");
        self.turns += u64::from(conversation.sent.iter().any(|sent| is_turn(&sent)));
        let chains: BTreeSet<&str> = wanted.keys().map(|(chain, _)| chain.as_str()).collect();
        let hosts = seen.processes.iter().filter(|process| {
            let mut services = process.services.iter();
            services.any(|service| chains.contains(service.as_str()))
        });
        let pids: BTreeSet<u32> = hosts.map(|process| process.pid).collect();
        let least = self.services.unwrap_or(usize::MAX);
        self.services = Some(least.min(pids.len()));
        let mut by_clock: Vec<&AuditEntry> = wanted.values().copied().collect();
        by_clock.sort_by_key(|entry| &entry.ts);
        let by_clock: Vec<Place> = by_clock.into_iter().map(place).collect();
        let inverted = !broken(&by_clock, &constraints(wanted)).is_empty();
        self.skewed += u64::from(inverted);
    }

    fn count(&self, seen: &Evidence, chains: &Chains<'_>, judgement: &mut Judgement) {
        let interval = |conversation: &Conversation| {
            let begun = conversation.sent.iter().map(|sent| sent.invoked_us).min()?;
            let ends = conversation.sent.iter().filter_map(|sent| sent.returned_us);
            Some((begun, ends.max()?))
        };
        let intervals: Vec<_> = seen.conversations.iter().filter_map(interval).collect();
        let pairs = overlapping_pairs(&intervals);
        let services = self.services.unwrap_or_default();
        judgement.exercised("turns", self.turns);
        judgement.exercised("services", services as u64);
        judgement.exercised("skewed_clocks", self.skewed);
        judgement.exercised("overlapping_pairs", pairs);
        judgement.undecided.extend(seen.trouble.iter().cloned());
        judgement.detail = format!(
            "{} traces over {services} processes, {} of them against their clocks, {pairs} overlapping \
             pairs; {} entries of {} chains: {} violations",
            self.turns,
            self.skewed,
            chains.entries.len(),
            seen.chains.len(),
            judgement.violations.len(),
        );
    }
}
