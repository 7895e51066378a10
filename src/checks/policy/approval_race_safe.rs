//! Gate approval-race-safe: of all concurrent decisions on one confirmation exactly one wins, every
//! other one is told who won, and an approved tool runs once.
//!
//! It races 2 to 64 deciders behind one barrier on each of the three approval routes, repeats
//! decisions afterwards, and calls a guarded tool directly, without a decision and with a used one.
//! What fences forbid, and what survives a crash, other gates ask.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::approvals::{GUARDED_TOOL, Minted, Route, Shown, Verb};
use super::asked::Asked;
use crate::chaos::linear::{Bounds, Outcome, check};
use crate::chaos::specs::confirmation::Confirmations;
use crate::chaos::{clopper_pearson_upper, overlapping_pairs};
use crate::checks::Judgement;

pub use drive::drive;

/// States that the checker may visit for one decision; a good one takes a handful.
const STATES: u64 = 200_000;
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;
/// The confidence of the bound in the detail line.
const CONFIDENCE: f64 = 0.95;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How long a decision stays open, as the target was configured.
    pub ttl_ms: u64,
    /// The races.
    pub rounds: Vec<Round>,
    /// Calls of `/execute` that went around the approval routes.
    pub direct: Vec<Direct>,
}

/// One decision: raced for, then asked for again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// What was decided.
    pub decision: Minted,
    /// How long the double took for the tool.
    pub tool_ms: u64,
    /// Released by one barrier.
    pub race: Vec<Asked>,
    /// After every racer had its answer.
    pub repeats: Vec<Asked>,
    /// Runs of its tool, by its marker, up to the end of the drive; none if nobody looked.
    pub runs: Option<Vec<Run>>,
}

/// A call that the tool double got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When.
    pub at_us: u64,
    /// Which tool.
    pub tool: String,
    /// With what.
    pub args: Value,
}

/// What a direct call of `/execute` claims to be allowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warrant {
    /// Nothing, from an operator.
    Nothing,
    /// Nothing, with the service token.
    NothingFromService,
    /// The id of a decision that was never issued.
    Forged,
    /// A decision that is open.
    Pending,
    /// A decision that was denied.
    Denied,
    /// A decision that was approved, and whose run is over.
    Consumed,
    /// None needed: a safe tool. The control: such a call runs.
    SafeTool,
}

impl Warrant {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::NothingFromService,
        Self::Forged,
        Self::Pending,
        Self::Denied,
        Self::Consumed,
        Self::SafeTool,
    ];

    /// Status, code and runs that the contract asks for.
    fn expected(self) -> (u16, &'static str, usize) {
        match self {
            Self::Nothing | Self::NothingFromService => (403, "DECISION_REQUIRED", 0),
            Self::Forged | Self::Pending | Self::Denied => (403, "DECISION_INVALID", 0),
            Self::Consumed => (409, "DECISION_CONSUMED", 0),
            Self::SafeTool => (200, "", 1),
        }
    }
}

impl fmt::Display for Warrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no decision",
            Self::NothingFromService => "the service token and no decision",
            Self::Forged => "a forged decision",
            Self::Pending => "an open decision",
            Self::Denied => "a denied decision",
            Self::Consumed => "a consumed decision",
            Self::SafeTool => "a safe tool",
        })
    }
}

/// A direct call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Direct {
    /// What it claimed.
    pub warrant: Warrant,
    /// The service that issued the decision it named.
    pub issuer: String,
    /// The arguments it sent.
    pub args: Value,
    /// Just before it was sent.
    pub invoked_us: u64,
    /// The status; 0 without an answer.
    pub status: u16,
    /// `error.code`.
    pub code: String,
    /// Runs with its arguments from then on, up to the end of the drive; none if nobody looked.
    pub runs: Option<Vec<Run>>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut rounds, mut pairs, mut wrong) = (0, 0, 0);
    for round in &seen.rounds {
        let found = violations(round, seen.ttl_ms, &mut judgement.undecided);
        wrong += u64::from(!found.is_empty());
        judgement.violations.extend(found);
        let intervals: Vec<_> = round.race.iter().filter_map(Asked::interval).collect();
        pairs += overlapping_pairs(&intervals);
        rounds += u64::from(intervals.len() >= 2 && round.runs.is_some());
    }
    for direct in &seen.direct {
        judge_direct(direct, &mut judgement);
    }
    judge_coverage(seen, &mut judgement);
    let looked = seen
        .direct
        .iter()
        .filter(|direct| direct.runs.is_some())
        .count();
    judgement.exercised("rounds", rounds);
    judgement.exercised("overlapping_pairs", pairs);
    judgement.exercised("direct_executes", looked as u64);
    let requests: usize = seen
        .rounds
        .iter()
        .map(|r| r.race.len() + r.repeats.len())
        .sum();
    let bound = clopper_pearson_upper(wrong, rounds.max(wrong), CONFIDENCE) * 100.0;
    judgement.detail = format!(
        "{rounds} rounds, {requests} requests, {pairs} overlapping pairs, {looked} direct executes: \
         {} violations; at 95 % at most {bound:.2} % of races go wrong",
        judgement.violations.len(),
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// What contradicts the claim in one round.
fn violations(round: &Round, ttl_ms: u64, undecided: &mut Vec<String>) -> Vec<String> {
    let mut found = Vec::new();
    if !round.race.is_empty() {
        judge_race(round, &mut found);
        judge_history(round, ttl_ms, &mut found, undecided);
    }
    judge_runs(round, &mut found);
    let Minted { route, id, .. } = &round.decision;
    found
        .into_iter()
        .map(|what| format!("{route} {id}: {what}"))
        .collect()
}

/// One winner with an answer that fits, and losers that name it, at once and later.
fn judge_race(round: &Round, found: &mut Vec<String>) {
    let winners: Vec<&Asked> = round.race.iter().filter(|asked| asked.won()).collect();
    let losers = round.race.len() - 1;
    if winners.len() != 1 {
        let refused = round
            .race
            .iter()
            .filter(|asked| asked.status == 409)
            .count();
        found.push(format!(
            "{} winners and {refused} conflicts of {} racers, expected 1 and {losers}",
            winners.len(),
            round.race.len(),
        ));
    }
    for winner in &winners {
        let expected = (
            winner.verb.verdict(),
            winner.actor.as_str(),
            execution(winner.verb),
        );
        let got = (&*winner.verdict, &*winner.decided_by, &*winner.execution);
        if got != expected {
            found.push(format!(
                "the winner of a race was told {got:?}, expected {expected:?}"
            ));
        }
    }
    let named = |asked: &Asked| {
        let names = |winner: &&Asked| {
            asked.verdict == winner.verb.verdict() && asked.decided_by == winner.actor
        };
        winners.is_empty() || winners.iter().any(names)
    };
    let lost = round
        .race
        .iter()
        .filter(|asked| !asked.won())
        .map(|asked| ("loser", asked));
    for (who, asked) in lost.chain(round.repeats.iter().map(|asked| ("later repeat", asked))) {
        if asked.status != 409 || asked.code != "ALREADY_DECIDED" {
            found.push(format!("{who} got: {asked}, expected 409 ALREADY_DECIDED"));
        } else if !named(asked) {
            let winner = winners[0];
            found.push(format!(
                "{who} was told {:?} by {:?}, expected {:?} by {:?}",
                asked.verdict,
                asked.decided_by,
                winner.verb.verdict(),
                winner.actor,
            ));
        }
    }
}

fn execution(verb: Verb) -> &'static str {
    match verb {
        Verb::Approve => "succeeded",
        Verb::Deny => "",
    }
}

/// There is one order that explains every answer.
fn judge_history(round: &Round, ttl_ms: u64, found: &mut Vec<String>, undecided: &mut Vec<String>) {
    let decision = &round.decision;
    let asked: Vec<&Asked> = round.race.iter().chain(&round.repeats).collect();
    let history: Vec<_> = asked
        .iter()
        .map(|asked| asked.operation(decision, ttl_ms))
        .collect();
    let spec = Confirmations::one(&decision.id, decision.fence.cast_unsigned());
    match check(&spec, &history, Bounds { states: STATES }) {
        Outcome::Ok { .. } => {}
        Outcome::Illegal(illegal) => found.push(format!(
            "no order of the {} answers explains them: after {} of them nothing allows {}",
            history.len(),
            illegal.prefix.len(),
            asked[illegal.stuck],
        )),
        Outcome::Unknown { key, states } => {
            undecided.push(format!(
                "the history of {key} was given up after {states} states"
            ));
        }
    }
}

/// The tool ran once if an approval won, else never, and only after somebody asked for it.
fn judge_runs(round: &Round, found: &mut Vec<String>) {
    let Some(runs) = &round.runs else { return };
    let approved = round
        .race
        .iter()
        .any(|asked| asked.won() && asked.verb == Verb::Approve);
    let expected = usize::from(approved);
    if runs.len() != expected {
        let from = |asked: &[Asked]| asked.iter().map(|asked| asked.invoked_us).min();
        let begun = from(&round.race).unwrap_or(u64::MAX);
        let repeated = from(&round.repeats).unwrap_or(u64::MAX);
        let before = runs.iter().filter(|run| run.at_us < begun).count();
        let after = runs.iter().filter(|run| run.at_us >= repeated).count();
        found.push(format!(
            "{} runs of the tool ({before} before the race, {after} after the first repeat), \
             expected {expected}",
            runs.len(),
        ));
    }
    let asked = round
        .race
        .iter()
        .filter(|asked| asked.verb == Verb::Approve);
    let earliest = asked
        .map(|asked| asked.invoked_us)
        .min()
        .unwrap_or(u64::MAX);
    for run in runs {
        if run.at_us < earliest {
            found.push(format!(
                "ran at {} us, before anybody asked to approve it",
                run.at_us
            ));
        }
        if run.tool != GUARDED_TOOL || run.args != round.decision.args {
            let expected = &round.decision.args;
            found.push(format!(
                "ran {} with {}, expected {GUARDED_TOOL} with {expected}",
                run.tool, run.args,
            ));
        }
    }
}

fn judge_direct(direct: &Direct, judgement: &mut Judgement) {
    let (status, code, runs) = direct.warrant.expected();
    let what = format!(
        "a direct execute with {} ({})",
        direct.warrant, direct.issuer
    );
    judgement.expect(direct.status == status && direct.code == code, || {
        let [got, expected] = [(direct.status, &*direct.code), (status, code)];
        format!("{what} got {got:?}, expected {expected:?}")
    });
    if let Some(seen) = &direct.runs {
        judgement.expect(seen.len() == runs, || {
            format!(
                "{what} led to {} runs of the tool, expected {runs}",
                seen.len()
            )
        });
    }
}

/// What has to have occurred for the numbers to mean anything.
fn judge_coverage(seen: &Evidence, judgement: &mut Judgement) {
    let mut kinds: BTreeMap<(Route, bool, bool), usize> = BTreeMap::new();
    let (mut won, mut fences, mut sizes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let raced = |round: &&Round| round.race.len() >= 2 && round.runs.is_some();
    for round in seen.rounds.iter().filter(raced) {
        let mixed = round.race.iter().any(|asked| asked.verb == Verb::Deny);
        *kinds
            .entry((round.decision.route, round.tool_ms > 0, mixed))
            .or_default() += 1;
        sizes.insert(round.race.len());
        for asked in &round.race {
            fences.insert(match asked.fence {
                Shown::Nothing => "none",
                Shown::Header(_) => "header",
                Shown::Body(_) => "body",
            });
            if asked.won() {
                won.insert(asked.verb.path());
            }
        }
    }
    for route in Route::ALL {
        for (slow, mixed) in [(false, false), (false, true), (true, false), (true, true)] {
            if !kinds.contains_key(&(route, slow, mixed)) {
                let against = if mixed {
                    "approve/deny"
                } else {
                    "approve/approve"
                };
                let speed = if slow { "slow" } else { "fast" };
                judgement.undecided(format!("no {against} race on {route} with a {speed} tool"));
            }
        }
    }
    let mut missing = |holds: bool, what: &str| {
        if !holds {
            judgement.undecided(format!("in no race {what}"));
        }
    };
    missing(won.contains("approve"), "did an approval win: no tool ran");
    missing(won.contains("deny"), "did a denial win");
    missing(
        fences.len() == 3,
        "were fences shown in the header, in the body and not at all",
    );
    missing(
        sizes.contains(&2) && sizes.contains(&64),
        "were there 2 and 64 racers",
    );
    for warrant in Warrant::ALL {
        if !seen
            .direct
            .iter()
            .any(|direct| direct.warrant == warrant && direct.runs.is_some())
        {
            judgement.undecided(format!("no direct execute with {warrant}"));
        }
    }
}
