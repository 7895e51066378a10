//! Gate latency-budget: the percentiles that the gateway tells of each stage are those of what
//! really happened, under the right stage.
//!
//! A hundred turns, each with a delay of its own at the model and another one at a tool. The doubles
//! say when they had each call and when they let it go, the client when it asked and when it was
//! answered: between those lies what the stage took. A percentile that is told has to be the value of
//! its rank, by these bounds and by what the turns' own answers say, to the 0.1 % that is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::{Judgement, Sent};
use crate::violation;

mod drive;
#[cfg(test)]
mod tests;

pub use drive::drive;

/// The stages that are measured from outside.
const STAGES: [&str; 3] = ["model", "tool", "total"];
/// The percentiles that are told.
const PERCENTS: [(&str, usize); 3] = [("p50", 50), ("p95", 95), ("p99", 99)];
/// A sample is kept to so much of itself, and told in whole microseconds, here in milliseconds.
const DIGITS: f64 = 0.001;
const ROUNDING_MS: f64 = 0.002;
/// A mean this near to the 95th percentile could be mistaken for it.
const APART: f64 = 0.1;

/// A call as its double saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// When it was there.
    pub from_us: u64,
    /// When it was let go.
    pub to_us: u64,
}

/// One turn and the calls that it made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// The request.
    pub sent: Sent,
    /// Its calls of the model.
    pub model: Vec<Held>,
    /// Its calls of the tool.
    pub tool: Vec<Held>,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// What was told before the first turn.
    pub before: Option<Sent>,
    /// The turns.
    pub turns: Vec<Turn>,
    /// What was told after the last.
    pub after: Option<Sent>,
}

/// What a stage of one turn took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Took {
    least: f64,
    most: f64,
    /// By the turn's own answer.
    own: f64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let mut samples = 0;
    let mut taken: [Vec<Took>; STAGES.len()] = Default::default();
    for turn in &seen.turns {
        if let Some(took) = took(turn, &mut judgement) {
            samples += 1;
            for (all, one) in taken.iter_mut().zip(took) {
                all.push(one);
            }
        }
    }
    let told = |sent: &Option<Sent>| Some(sent.as_ref().filter(|sent| sent.ok())?.answer.clone());
    let (Some(before), Some(after)) = (told(&seen.before), told(&seen.after)) else {
        judgement.undecided("what the gateway tells of its stages could not be read twice");
        return judgement;
    };
    let mut right = 0;
    let mut lines = Vec::new();
    if samples == seen.turns.len() {
        for (stage, all) in STAGES.iter().zip(&taken) {
            let of = |answer: &Value| answer["stages"][*stage].clone();
            right += u64::from(told_right(
                stage,
                &of(&before),
                &of(&after),
                all,
                &mut judgement,
            ));
            lines.push(line(stage, &of(&after)));
        }
    }
    judgement.exercised("samples", samples as u64);
    judgement.exercised("stages", right);
    judgement.detail = format!("{samples} turns: {}", lines.join("; "));
    judgement
}

fn line(stage: &str, told: &Value) -> String {
    let value = |name| told[name].as_f64().unwrap_or(f64::NAN);
    let [p50, p95, p99] = PERCENTS.map(|(name, _)| value(name));
    format!("{stage} p50 {p50:.1} p95 {p95:.1} p99 {p99:.1} ms")
}

/// What the three stages of a turn took, unless it cannot be said. Its own answer has to lie
/// within what the harness saw.
fn took(turn: &Turn, judgement: &mut Judgement) -> Option<[Took; STAGES.len()]> {
    let sent = &turn.sent;
    judgement.expect(sent.ok(), || {
        format!("{}: got {}, expected 200", sent.line(), sent.status)
    });
    let ([model], [tool], true) = (&turn.model[..], &turn.tool[..], sent.ok()) else {
        let (models, tools) = (turn.model.len(), turn.tool.len());
        judgement.undecided(format!(
            "{}: {models} calls of the model and {tools} of the tool, instead of one each",
            sent.line()
        ));
        return None;
    };
    let returned_us = sent.returned_us?;
    let bounds = [
        (
            between(model.from_us, model.to_us),
            between(sent.invoked_us, tool.from_us),
        ),
        (
            between(tool.from_us, tool.to_us),
            between(model.to_us, returned_us),
        ),
        (
            between(model.from_us, tool.to_us),
            between(sent.invoked_us, returned_us),
        ),
    ];
    let mut all = Vec::with_capacity(STAGES.len());
    for (stage, (least, most)) in STAGES.iter().zip(bounds) {
        let told = &sent.answer["latency"][*stage];
        let Some(own) = told.as_f64() else {
            violation!(
                judgement,
                "{}: got latency.{stage} {told}, expected a number",
                sent.line()
            );
            continue;
        };
        judgement.expect(
            own >= least - ROUNDING_MS && own <= most + ROUNDING_MS,
            || {
                format!(
                    "{}: got latency.{stage} {own} ms, expected {least:.3} to {most:.3}",
                    sent.line()
                )
            },
        );
        all.push(Took { least, most, own });
    }
    all.try_into().ok()
}

/// Milliseconds from one moment to another.
fn between(from_us: u64, to_us: u64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1e3
}

/// The value of its rank: the smallest with at least `percent` % of all at or below it.
fn ranked(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// Holds what is told of a stage against what its turns took; whether the stage says anything.
fn told_right(
    stage: &str,
    before: &Value,
    after: &Value,
    taken: &[Took],
    judgement: &mut Judgement,
) -> bool {
    let count = |told: &Value| told["count"].as_u64();
    let rise = count(after)
        .zip(count(before))
        .and_then(|(after, before)| after.checked_sub(before));
    let samples = taken.len() as u64;
    judgement.expect(rise == Some(samples), || {
        let (before, after) = (&before["count"], &after["count"]);
        format!("{stage}: got count from {before} to {after}, expected {samples} more")
    });
    judgement.expect(count(before) == Some(0), || {
        let count = &before["count"];
        format!("{stage}: got count {count} before the first turn, expected 0")
    });
    let column = |of: fn(&Took) -> f64| taken.iter().map(of).collect::<Vec<f64>>();
    for (name, percent) in PERCENTS {
        let of = |column| ranked(column, percent);
        let [least, most, own] = [
            of(column(|took| took.least)),
            of(column(|took| took.most)),
            of(column(|took| took.own)),
        ];
        let Some(told) = after[name].as_f64() else {
            let got = &after[name];
            violation!(judgement, "{stage}: got {name} {got}, expected a number");
            continue;
        };
        let near = |bound: f64| bound * DIGITS + ROUNDING_MS;
        let within = told >= least - near(least) && told <= most + near(most);
        judgement.expect(within, || {
            format!("{stage}: got {name} {told} ms, expected {least:.3} to {most:.3}")
        });
        judgement.expect((told - own).abs() <= near(own), || {
            format!("{stage}: got {name} {told} ms, expected {own:.3} as the turns themselves say")
        });
    }
    let own = column(|took| took.own);
    let mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
    let p95 = ranked(own, 95);
    (p95 - mean).abs() > p95 * APART
}

/// The text of a turn, by which its calls are known.
fn marker(number: usize) -> String {
    format!("t-{number}")
}
