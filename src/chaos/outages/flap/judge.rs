//! Whether what flapped did harm.

use crate::chaos::Judgement;
use crate::contract::Event;
use crate::contract::breakers::Breaker;
use crate::violation;

use super::{Evidence, FLAPPING, Taken};

/// Looks of the harness below which it was not scheduled well enough to speak of absence.
const ENOUGH_LOOKS: u64 = 20;

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for taken in &seen.turns {
        turn(taken, &mut judgement);
        remembered(seen, taken, &mut judgement);
    }
    let least = FLAPPING.iter().map(|name| flaps(seen, name)).min();
    judgement.exercised("flaps", least.unwrap_or_default());
    judgement.exercised("turns", seen.turns.len() as u64);
    let openings = |name: &&str| count(seen, name, "breaker.opened");
    let least = FLAPPING.iter().map(openings).min().unwrap_or_default();
    judgement.exercised("openings", least);
    if let [before, after] = seen.pids[..] {
        judgement.expect(before == after, || {
            format!("after the flaps the process: got {after:?}, expected {before:?}")
        });
    }
    for breaker in &seen.breakers {
        closed(seen, breaker, &mut judgement);
        told(seen, breaker, &mut judgement);
    }
    for name in FLAPPING {
        if !seen.breakers.iter().any(|one| one.dependency == name) && seen.looks > 0 {
            violation!(judgement, "the breakers: got none of {name}, expected one");
        }
    }
    let served = seen.turns.iter().filter(|taken| taken.turn.ok()).count();
    judgement.detail = format!(
        "{} flaps over {} dependencies, {served} of {} turns served, {} tool runs, {} transitions \
         with {} events",
        seen.flaps.iter().map(|(_, flaps)| flaps).sum::<u64>(),
        seen.flaps.len(),
        seen.turns.len(),
        seen.turns.iter().map(|taken| taken.runs).sum::<u64>(),
        seen.breakers.iter().map(|one| one.transitions).sum::<u64>(),
        seen.events.len()
    );
    judgement
}

fn flaps(seen: &Evidence, name: &str) -> u64 {
    let own = seen.flaps.iter().filter(|(one, _)| one == name);
    own.map(|(_, flaps)| flaps).sum()
}

/// The tool call of the turn ran as often as its answer says.
fn turn(taken: &Taken, judgement: &mut Judgement) {
    let Taken {
        turn, runs, kept, ..
    } = taken;
    let line = turn.line();
    judgement.expect(*runs <= 1, || {
        format!("{line}: got {runs} runs of its tool, expected at most 1")
    });
    judgement.expect(*kept <= 1, || {
        format!("{line}: got {kept} memories of it, expected at most 1")
    });
    let call = &turn.answer["tool_calls"][0];
    match (turn.status, turn.code()) {
        _ if !turn.answered() => {
            violation!(judgement, "{line}: got no answer, expected one in time")
        }
        (200, _) => match (call["status"].as_str(), call["error"]["code"].as_str()) {
            (Some("executed"), _) => judgement.expect(*runs == 1, || {
                format!("{line}: got {runs} runs of a tool that was executed, expected 1")
            }),
            (Some("failed"), Some("TOOL_UNAVAILABLE")) => judgement.expect(*runs == 0, || {
                format!("{line}: got {runs} runs of a tool that was not reached, expected 0")
            }),
            (Some("failed"), Some("OUTCOME_UNKNOWN")) => {}
            _ => violation!(
                judgement,
                "{line}: got the tool call {call}, expected it executed, TOOL_UNAVAILABLE or \
                 OUTCOME_UNKNOWN"
            ),
        },
        (503, "MODEL_UNAVAILABLE") => judgement.expect(runs + kept == 0, || {
            format!("{line}: got {runs} runs and {kept} memories, expected none without a model")
        }),
        (status, _) => violation!(
            judgement,
            "{line}: got {status}, expected 200 or 503 MODEL_UNAVAILABLE"
        ),
    }
}

/// What was served is remembered in the end.
fn remembered(seen: &Evidence, taken: &Taken, judgement: &mut Judgement) {
    if !taken.turn.ok() || taken.kept > 0 || seen.looks == 0 {
        return;
    }
    let (line, waited_ms, looks) = (taken.turn.line(), seen.waited_ms, seen.looks);
    let text = format!("{line} after {waited_ms} ms and {looks} looks: got 0 memories, expected 1");
    if looks >= ENOUGH_LOOKS {
        violation!(judgement, "{text}");
    } else {
        judgement.undecided(text);
    }
}

fn closed(seen: &Evidence, breaker: &Breaker, judgement: &mut Judgement) {
    if breaker.state == "closed" {
        return;
    }
    let text = format!(
        "the breaker of {} after {} ms and {} looks: got {}, expected closed",
        breaker.dependency, seen.waited_ms, seen.looks, breaker.state
    );
    if seen.looks >= ENOUGH_LOOKS {
        violation!(judgement, "{text}");
    } else {
        judgement.undecided(text);
    }
}

/// Each change is told once: they join one another, from closed to where the breaker is.
fn told(seen: &Evidence, breaker: &Breaker, judgement: &mut Judgement) {
    let (mut at, mut events) = ("closed", 0);
    for event in of(seen, &breaker.dependency) {
        let (from, to) = (event.data["from"].as_str().unwrap_or_default(), to(event));
        let follows = from == at
            && matches!(
                (from, to),
                ("closed" | "half_open", "open") | ("open", "half_open") | ("half_open", "closed")
            );
        judgement.expect(follows, || {
            format!(
                "event {} of {}: got from {from:?} to {to:?}, expected a change from {at:?}",
                event.seq, breaker.dependency
            )
        });
        (at, events) = (to, events + 1);
    }
    let right = events == breaker.transitions && at == breaker.state;
    if right {
        return;
    }
    let text = format!(
        "the events of the breaker of {}: got {events} up to {at:?} after {} looks, expected {} up to \
         {:?}",
        breaker.dependency, seen.looks, breaker.transitions, breaker.state
    );
    // More than there were will not become fewer; fewer may be on their way.
    if events > breaker.transitions || seen.looks >= ENOUGH_LOOKS {
        violation!(judgement, "{text}");
    } else {
        judgement.undecided(text);
    }
}

fn of<'a>(seen: &'a Evidence, name: &'a str) -> impl Iterator<Item = &'a Event> {
    let events = seen.events.iter();
    events.filter(move |event| event.data["dependency"] == name)
}

fn count(seen: &Evidence, name: &str, kind: &str) -> u64 {
    of(seen, name).filter(|event| event.kind == kind).count() as u64
}

fn to(event: &Event) -> &str {
    match event.kind.as_str() {
        "breaker.opened" => "open",
        "breaker.half_opened" => "half_open",
        "breaker.closed" => "closed",
        _ => "?",
    }
}

/// Whether nothing more is to be waited for.
pub(super) fn settled(seen: &Evidence) -> bool {
    let told = |one: &Breaker| of(seen, &one.dependency).count() as u64 >= one.transitions;
    let closed = |one: &Breaker| one.state == "closed";
    let kept = |taken: &Taken| !taken.turn.ok() || taken.kept > 0;
    !seen.breakers.is_empty()
        && seen.breakers.iter().all(|one| told(one) && closed(one))
        && seen.turns.iter().all(kept)
}
