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

use crate::chaos::approvals::round::{Round, Run, violations};
use crate::chaos::approvals::{Asked, Route, Shown, Verb};
use crate::chaos::{clopper_pearson_upper, overlapping_pairs};
use crate::checks::Judgement;

pub use drive::drive;

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
