//! Many requests with one key at once: each gets the one answer, or is told to wait.

use std::collections::BTreeMap;

use super::story::{Asked, Sort, Story};
use crate::chaos::linear::{Bounds, Outcome, check};
use crate::chaos::overlapping_pairs;
use crate::chaos::specs::Ttl;
use crate::chaos::specs::idempotency::{Answer, Keys, Request, operations};

/// A key sees a handful of requests: this is far beyond what any history here needs.
const BOUND: Bounds = Bounds::of_states(100_000);

fn racers(story: &Story) -> impl Iterator<Item = &Asked> {
    story.asked.iter().filter(|asked| asked.sort == Sort::Racer)
}

/// Whether two of them were under way at once, and the key was asked once more afterwards.
pub(super) fn counts(story: &Story) -> bool {
    pairs(story) > 0 && story.get(Sort::LastRepeat).is_some_and(Asked::answered)
}

/// Pairs that were under way at once; only what was answered surely reached the target.
fn pairs(story: &Story) -> u64 {
    let interval = |asked: &Asked| Some((asked.invoked_us, asked.returned_us?));
    let intervals: Vec<_> = racers(story).filter_map(interval).collect();
    overlapping_pairs(&intervals)
}

/// Judges one race; gives its overlapping pairs.
pub(super) fn judge(
    story: &Story,
    plain: &Story,
    undecided: &mut Vec<String>,
    found: &mut Vec<String>,
) -> u64 {
    judge_answers(story, found);
    judge_history(story, undecided, found);
    let looked = story.traces.is_some() && plain.traces.is_some();
    if let Some(one) = plain.asked.first().filter(|_| looked) {
        let mut entries: BTreeMap<String, u64> = BTreeMap::new();
        for (entry, n) in story.asked.iter().flat_map(|asked| &asked.entries) {
            *entries.entry(entry.clone()).or_default() += n;
        }
        if entries != one.entries {
            let expected = &one.entries;
            found.push(format!(
                "a race left audit entries {entries:?}, expected {expected:?}"
            ));
        }
        story.judge_traces(plain, 1, found);
    }
    pairs(story)
}

/// One execution, whose answer is everybody's, then and later.
fn judge_answers(story: &Story, found: &mut Vec<String>) {
    let executed = |asked: &&Asked| asked.ok() && !asked.replayed;
    let executions: Vec<&Asked> = racers(story).filter(executed).collect();
    if executions.len() != 1 {
        let n = racers(story).count();
        found.push(format!(
            "{} executions of {n} requests at once with one key, expected 1",
            executions.len()
        ));
    }
    let Some(first) = executions.first() else {
        return;
    };
    for asked in story.asked.iter().filter(|asked| !executed(asked)) {
        let waits = asked.in_progress() && asked.sort == Sort::Racer;
        let told = asked.retry_after.as_deref();
        let in_seconds = told.is_some_and(|text| text.parse::<u64>().is_ok());
        if waits && !in_seconds {
            found.push(format!(
                "{asked}, with Retry-After {told:?}, expected seconds"
            ));
        } else if !waits && !asked.replays(first) {
            let or = if asked.sort == Sort::Racer {
                " or 409 KEY_IN_PROGRESS"
            } else {
                ""
            };
            let same = if asked.body == first.body {
                "the same"
            } else {
                "another"
            };
            found.push(format!(
                "{asked}, with {same} body, expected {} replayed{or}",
                first.status
            ));
        }
    }
}

/// There is one order of claims, ends and looks that explains every answer.
fn judge_history(story: &Story, undecided: &mut Vec<String>, found: &mut Vec<String>) {
    let requests = story.asked.iter().filter_map(|asked| {
        let answer = match asked.status {
            0 => None,
            _ if asked.in_progress() => Some(Answer::InProgress),
            _ if asked.replayed => Some(Answer::Replayed(asked.body.to_string())),
            200..=299 | 404 | 409 => Some(Answer::Executed(asked.body.to_string())),
            // Neither claims the key nor tells of it; it is judged as an answer.
            _ => return None,
        };
        let request = Request {
            key: story.marker.clone(),
            request: "the one".to_owned(),
            ttl: Ttl::Running,
        };
        Some((request, asked.invoked_us, asked.returned_us.zip(answer)))
    });
    match check(&Keys, &operations(requests), BOUND) {
        Outcome::Ok { .. } => {}
        Outcome::Illegal(illegal) => found.push(format!(
            "no order of {} requests with one key explains their answers: after {} steps none is left",
            story.asked.len(),
            illegal.prefix.len(),
        )),
        Outcome::Unknown { key, states } => {
            undecided.push(format!("the history of {key} was given up after {states} states"));
        }
    }
}
