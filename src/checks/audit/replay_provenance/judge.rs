//! What contradicts the claim, recomputed from answers, entries and calls.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, DryRuns, Evidence, Round, ToolCall, Way};
use crate::chaos::overlapping_pairs;
use crate::checks::{Judgement, Sent};
use crate::contract::{self, AuditEntry, DeadLetter, Effect, Rehearsed, Replayed};

/// Violations that are written out; the rest is counted.
const SHOWN: usize = 20;
/// The chain in which a replay begins and ends.
const GATEWAY: &str = "api-gateway";
/// The chain of the gate that every tool call passes.
const OPENCLAW: &str = "openclaw";

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let entries: Vec<AuditEntry> = seen
        .chains
        .values()
        .flatten()
        .filter_map(|entry| contract::read(entry).ok())
        .collect();
    for case in &seen.cases {
        let found = CaseBook {
            case,
            entries: &entries,
        };
        let found = found.violations();
        let name = format!("{} of a {}", case.tool_name, case.source);
        let found = found.into_iter().map(|what| format!("{name}: {what}"));
        judgement.violations.extend(found);
    }
    if !seen.chains.is_empty() {
        judge_strangers(seen, &entries, &mut judgement);
    }
    for dry_runs in &seen.dry_runs {
        judge_dry_runs(seen, dry_runs, &mut judgement);
    }
    count(seen, &entries, &mut judgement);
    let shown = judgement.violations.len().min(SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

fn letter(value: Option<&serde_json::Value>) -> Option<DeadLetter> {
    value.and_then(|value| contract::read(value).ok())
}

/// What is known of one case.
struct CaseBook<'a> {
    case: &'a Case,
    entries: &'a [AuditEntry],
}

impl CaseBook<'_> {
    fn violations(&self) -> Vec<String> {
        let case = self.case;
        let mut found = Vec::new();
        let Some(failed) = case.failed.as_ref().filter(|failed| failed.ok()) else {
            // Nothing has failed, so nothing is to be replayed.
            return found;
        };
        let Some(first) = letter(case.letter.as_ref()) else {
            found.push(format!(
                "no dead letter after {}, expected one",
                failed.line()
            ));
            return found;
        };
        if let Some(wrong) = self.misfits(&first, failed, (0, false)) {
            found.push(format!("the first letter is {wrong}"));
        }
        if first.source != case.source || first.tool_name != case.tool_name {
            let got = (&first.source, &first.tool_name);
            let expected = (&case.source, &case.tool_name);
            found.push(format!("the letter is of {got:?}, expected {expected:?}"));
        }
        for (number, round) in (1..).zip(&case.rounds) {
            self.judge_round(number, round, failed, &mut found);
        }
        self.judge_late(&mut found);
        self.judge_entries(failed, &first, &mut found);
        self.judge_calls(failed, &mut found);
        found
    }

    /// Why a letter is not as it should be after so many replays, the last of which succeeded or
    /// not.
    fn misfits(
        &self,
        letter: &DeadLetter,
        failed: &Sent,
        (generation, resolved): (i64, bool),
    ) -> Option<String> {
        let state = if resolved { "resolved" } else { "open" };
        let got = (
            letter.replay_generation,
            letter.state.as_str(),
            letter.correlation_id.as_str(),
        );
        let expected = (generation, state, failed.id.as_str());
        let same = got == expected && letter.args == self.case.args;
        (!same).then(|| format!("{got:?} with {}, expected {expected:?}", letter.args))
    }

    fn judge_round(&self, number: i64, round: &Round, failed: &Sent, found: &mut Vec<String>) {
        let won = round.sent.iter().filter(|sent| sent.ok()).count();
        let lost = round.sent.iter().filter(|sent| sent.status == 409).count();
        let silent = round.sent.iter().filter(|sent| !sent.answered()).count();
        let (runs, of) = (won + silent, round.sent.len());
        if runs != 1 || lost != of - 1 {
            found.push(format!(
                "{won} replays ran, {lost} were refused with 409 and {silent} had no answer of {of} \
                 in round {number}, expected 1 to run and the others refused",
            ));
        }
        for sent in round.sent.iter().filter(|sent| sent.ok()) {
            let Ok(answer) = contract::read::<Replayed>(&sent.answer) else {
                found.push(format!("{} is no answer of a replay", sent.line()));
                continue;
            };
            let status = if round.works { "succeeded" } else { "failed" };
            let got = answer.execution.status.as_str();
            let misfits = self.misfits(&answer.dead_letter, failed, (number, round.works));
            if got != status || answer.dry_run {
                found.push(format!("replay {number} {got}, expected {status}"));
            }
            found.extend(misfits.map(|wrong| format!("replay {number} answers {wrong}")));
        }
        let after = match letter(round.letter.as_ref()) {
            None => Some("no letter".to_owned()),
            Some(letter) => self.misfits(&letter, failed, (number, round.works)),
        };
        let over = if round.way == Way::Killed {
            " over a KILL"
        } else {
            ""
        };
        found.extend(after.map(|wrong| format!("after replay {number}{over} there is {wrong}")));
    }

    fn judge_late(&self, found: &mut Vec<String>) {
        if let Some(late) = &self.case.late
            && late.status != 409
        {
            found.push(format!(
                "after the one that succeeded {}, expected 409",
                late.line()
            ));
        }
    }

    /// The generations 1, 2, ... in both chains, each begun for the request that asked for it.
    fn judge_entries(&self, failed: &Sent, first: &DeadLetter, found: &mut Vec<String>) {
        let own: Vec<&AuditEntry> = self
            .entries
            .iter()
            .filter(|entry| entry.correlation_id == failed.id)
            .collect();
        // Without its chains nothing is known; the drive says why.
        if self.entries.is_empty() {
            return;
        }
        let path = format!("/v3/dead-letters/{}/replay", first.dead_letter_id);
        let [replay, execute] = [(GATEWAY, path.as_str()), (OPENCLAW, "/execute")]
            .map(|(service, path)| Effect::of(service, "POST", path));
        let resource = format!("dead_letter/{}", first.dead_letter_id);
        let expected: Vec<i64> = (1..).take(self.case.rounds.len()).collect();
        for (chain, row, of_letter) in [(GATEWAY, replay, true), (OPENCLAW, execute, false)] {
            let Some(row) = row else { continue };
            let started = row.started.as_deref().unwrap_or_default();
            for action in [started, row.action.as_str()] {
                let generations: Vec<i64> = own
                    .iter()
                    .filter(|entry| entry.chain == chain && entry.action == action)
                    .filter(|entry| entry.outcome != "refused" && entry.replay_generation != 0)
                    .filter(|entry| !of_letter || entry.resource == resource)
                    .map(|entry| entry.replay_generation)
                    .collect();
                if generations != expected {
                    found.push(format!(
                        "{chain} has {action} in generations {generations:?} under {}, expected \
                         {expected:?}",
                        failed.id,
                    ));
                }
            }
        }
        if !own.iter().any(|entry| control(entry, failed)) {
            found.push(format!("no entry of generation 0 under {}", failed.id));
        }
        self.judge_requests(&own, &resource, replay, found);
    }

    /// The request id of each beginning is the correlation id of a request of its round.
    fn judge_requests(
        &self,
        own: &[&AuditEntry],
        resource: &str,
        replay: Option<&Effect>,
        found: &mut Vec<String>,
    ) {
        let started = replay.and_then(|row| row.started.as_deref());
        let begun = own.iter().filter(|entry| {
            entry.resource == resource
                && entry.outcome != "refused"
                && Some(entry.action.as_str()) == started
        });
        for (number, (entry, round)) in (1..).zip(begun.zip(&self.case.rounds)) {
            let ran = |sent: &&Sent| sent.ok() || !sent.answered();
            let asked: Vec<&str> = round
                .sent
                .iter()
                .filter(ran)
                .map(|sent| sent.id.as_str())
                .collect();
            if !asked.contains(&entry.request_id.as_str()) {
                found.push(format!(
                    "replay {number} names the request {}, expected one of {asked:?}",
                    entry.request_id,
                ));
            }
        }
    }

    /// One operation a run, each with the original id; more than one call only over a KILL.
    fn judge_calls(&self, failed: &Sent, found: &mut Vec<String>) {
        let Some(calls) = &self.case.calls else {
            return;
        };
        let runs = by_key(calls);
        let expected = 1 + self.case.rounds.len();
        if runs.len() != expected {
            let got = runs.len();
            found.push(format!("{got} operations at the tool, expected {expected}"));
        }
        for (number, run) in runs.iter().enumerate() {
            let round = number
                .checked_sub(1)
                .and_then(|at| self.case.rounds.get(at));
            let killed = round.is_some_and(|round| round.way == Way::Killed);
            if run.len() > 1 && !killed {
                found.push(format!("{} calls in run {number}, expected 1", run.len()));
            }
            // Under which id the first run was called is no matter of replays.
            let strange = run.iter().find(|call| call.id != failed.id);
            if let Some(call) = strange.filter(|_| number > 0) {
                let (got, expected) = (&call.id, &failed.id);
                found.push(format!(
                    "run {number} was called under {got}, expected {expected}"
                ));
            }
        }
    }
}

/// The entry of the failure itself.
fn control(entry: &AuditEntry, failed: &Sent) -> bool {
    let path = failed.path.as_str();
    Effect::of(&failed.service, &failed.method, path).is_some_and(|row| {
        entry.chain == failed.service && entry.replay_generation == 0 && {
            entry.action == row.action || Some(&entry.action) == row.started.as_ref()
        }
    })
}

/// Calls by operation, in the order in which the operations came.
fn by_key(calls: &[ToolCall]) -> Vec<Vec<&ToolCall>> {
    let mut runs: Vec<Vec<&ToolCall>> = Vec::new();
    for call in calls {
        match runs.iter_mut().find(|run| run[0].key == call.key) {
            Some(run) => run.push(call),
            None => runs.push(vec![call]),
        }
    }
    runs
}

/// No replay is told under another id, not even its own request's.
fn judge_strangers(seen: &Evidence, entries: &[AuditEntry], judgement: &mut Judgement) {
    let failed = seen.cases.iter().filter_map(|case| case.failed.as_ref());
    let originals: BTreeSet<&str> = failed.map(|failed| failed.id.as_str()).collect();
    let replays = seen.cases.iter().flat_map(|case| &case.rounds);
    let own: BTreeSet<&str> = replays
        .flat_map(|round| &round.sent)
        .map(|sent| sent.id.as_str())
        .collect();
    for entry in entries {
        let AuditEntry {
            chain,
            seq,
            action,
            correlation_id: id,
            replay_generation: generation,
            ..
        } = entry;
        let place = || format!("chain {chain}, entry {seq}: {action}");
        if *generation != 0 && !originals.contains(id.as_str()) {
            let got = format!("{} in generation {generation} under {id}", place());
            judgement.violation(format!("{got}, expected the id of what failed"));
        } else if own.contains(id.as_str()) && entry.outcome != "refused" {
            let got = format!("{} under the replay's own id {id}", place());
            judgement.violation(format!("{got}, expected the id of what failed"));
        }
    }
}

fn judge_dry_runs(seen: &Evidence, dry_runs: &DryRuns, judgement: &mut Judgement) {
    for (index, sent) in &dry_runs.sent {
        let Some(case) = seen.cases.get(*index) else {
            continue;
        };
        let Ok(answer) = contract::read::<Rehearsed>(&sent.answer) else {
            judgement.violation(format!("{}, expected what would be done", sent.line()));
            continue;
        };
        let would = &answer.would;
        let original = case.failed.as_ref().map_or("", |failed| failed.id.as_str());
        let got = (would.replay_generation, would.correlation_id.as_str());
        let expected = (dry_runs.generation + 1, original);
        let call = would.tool_name == case.tool_name && would.args == case.args;
        judgement.expect(answer.dry_run && call && got == expected, || {
            format!(
                "a dry run would run {} with {} as {got:?}, expected {} with {} as {expected:?}",
                would.tool_name, would.args, case.tool_name, case.args,
            )
        });
    }
    let DryRuns {
        before,
        quiet,
        after,
        ..
    } = dry_runs;
    for (table, rows) in &quiet.tables {
        // What changes while nothing is asked for says nothing of a dry run.
        if before.tables.get(table) == Some(rows) && after.tables.get(table) != Some(rows) {
            judgement.violation(format!(
                "{table} is changed by a dry run, expected untouched"
            ));
        }
    }
    let (quiet, after) = (quiet.calls, after.calls);
    judgement.expect(quiet == after, || {
        format!(
            "{} calls at the doubles in a dry run, expected 0",
            after - quiet
        )
    });
}

fn count(seen: &Evidence, entries: &[AuditEntry], judgement: &mut Judgement) {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    let mut add = |what, n: usize| *totals.entry(what).or_default() += n as u64;
    for case in &seen.cases {
        add(
            "letters",
            usize::from(letter(case.letter.as_ref()).is_some()),
        );
        let runs = case.calls.as_deref().map(by_key).unwrap_or_default();
        for (run, round) in runs.iter().skip(1).zip(&case.rounds) {
            add("replays", 1);
            let crossed = round.way == Way::Killed && run.len() > 1 && run[0].abandoned;
            add("kills_at_the_tool", usize::from(crossed));
            let interval = |sent: &Sent| sent.returned_us.map(|end| (sent.invoked_us, end));
            let intervals: Vec<_> = round.sent.iter().filter_map(interval).collect();
            let raced = round.way == Way::Race && overlapping_pairs(&intervals) > 0;
            add("races", usize::from(raced));
        }
    }
    for dry_runs in &seen.dry_runs {
        let looked = dry_runs.quiet.tables.iter();
        let still = looked.filter(|(table, rows)| dry_runs.before.tables.get(*table) == Some(rows));
        let answered = dry_runs.sent.iter().filter(|(_, sent)| sent.answered());
        let useful = still.count() > 0;
        add("dry_runs", if useful { answered.count() } else { 0 });
    }
    add("kills", seen.kills_us.len());
    for what in [
        "letters",
        "replays",
        "kills",
        "kills_at_the_tool",
        "races",
        "dry_runs",
    ] {
        judgement.exercised(what, totals.get(what).copied().unwrap_or_default());
    }
    judgement.undecided.extend(seen.trouble.iter().cloned());
    if entries.is_empty() {
        judgement.undecided("no entry of any chain was read");
    }
    let of = |what: &str| judgement.exercised[what];
    judgement.detail = format!(
        "{} letters replayed {} times, {} of them with a KILL at the tool and {} in races, {} KILLs, \
         {} dry runs; {} entries of {} chains: {} violations",
        of("letters"),
        of("replays"),
        of("kills_at_the_tool"),
        of("races"),
        of("kills"),
        of("dry_runs"),
        entries.len(),
        seen.chains.len(),
        judgement.violations.len(),
    );
}
