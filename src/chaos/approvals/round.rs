//! One decision that was raced for, and what contradicts the claim that it was decided once.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Asked, GUARDED_TOOL, Minted, Verb};
use crate::chaos::linear::{Bounds, Outcome, check};
use crate::chaos::specs::confirmation::Confirmations;

/// States that the checker may visit for one decision; a good one takes a handful.
const STATES: u64 = 200_000;

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

/// What contradicts the claim in one round.
pub fn violations(round: &Round, ttl_ms: u64, undecided: &mut Vec<String>) -> Vec<String> {
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

/// How an approved call that ran is told of, and a denied one.
pub fn execution(verb: Verb) -> &'static str {
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
    match check(&spec, &history, Bounds::of_states(STATES)) {
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
