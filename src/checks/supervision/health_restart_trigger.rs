//! Gate health-restart-trigger: the third failed probe in a row restarts a service, once and without
//! an operator; one or two do not.
//!
//! The target is told that the memory-engine is where a double of it is, so that how many probes
//! fail in a row is known to the probe: the double refuses exactly so many, and answers the rest.
//! The real process stands behind, and nobody asks for anything. After each round the double has
//! answered so often that the target must have seen the failures and what came after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::stack::{BOUND, Happened, Stack, Standing, config, count, kinds};
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::{Behaviour, Double, Kind};
use crate::violation;

/// The service whose probes fail.
const SERVICE: &str = "memory-engine";
/// Failures in a row, round by round.
const ROUNDS: [u64; 5] = [2, 1, 3, 2, 3];
/// How many in a row make it unreachable.
const UNREACHABLE_AFTER: u64 = 3;
/// Answers after the failures, when surely the first of them was taken in.
const ANSWERS: u64 = 4;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The rounds, in order.
    pub rounds: Vec<Round>,
}

/// So many probes failed in a row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Round {
    /// How many were to fail.
    pub wanted: u64,
    /// How many did.
    pub failed: u64,
    /// Probes that were answered after them.
    pub answered: u64,
    /// Before, when it should be well.
    pub before: Option<Standing>,
    /// After, when it should be well again.
    pub after: Option<Standing>,
    /// What the target says happened in between.
    pub events: Vec<Happened>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut few, mut many, mut restarts) = (0, 0, 0);
    for (number, round) in seen.rounds.iter().enumerate() {
        if !round.judge(number + 1, &mut judgement) {
            continue;
        }
        restarts += count(&round.events, "restarted");
        few += u64::from(round.failed == UNREACHABLE_AFTER - 1);
        many += u64::from(round.failed == UNREACHABLE_AFTER);
    }
    judgement.exercised("two_failure_rounds", few);
    judgement.exercised("three_failure_rounds", many);
    judgement.detail = format!(
        "{few} rounds of 2 failed probes and {many} of 3 led to {restarts} restarts, of services that nobody touched"
    );
    judgement
}

impl Round {
    /// Judges it; whether it could be followed to its end.
    fn judge(&self, number: usize, judgement: &mut Judgement) -> bool {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return false;
        };
        let failed = self.failed;
        if failed < self.wanted || before.process.is_none() {
            return false;
        }
        let gone = failed >= UNREACHABLE_AFTER;
        let line = |what: &str| format!("round {number}, {failed} failed probes in a row: {what}");
        let restarts = count(&self.events, "restarted");
        let expected = u64::from(gone);
        if restarts != expected {
            violation!(
                judgement,
                "{}",
                line(&format!("got {restarts} restarts, expected {expected}"))
            );
            return true;
        }
        let course: &[&str] = if gone {
            &["degraded", "unreachable", "restarted", "healthy"]
        } else {
            &["degraded", "healthy"]
        };
        let kinds = kinds(&self.events);
        judgement.expect(kinds == course, || {
            line(&format!("got events {kinds:?}, expected {course:?}"))
        });
        let same = before.process == after.process;
        judgement.expect(same != gone, || {
            let [got, expected] = if gone {
                ["the same", "another"]
            } else {
                ["another", "the same"]
            };
            line(&format!("got {got} process, expected {expected} one"))
        });
        judgement.expect(after.process.is_some(), || {
            line("got a process that does not run as one of the target's, expected one that does")
        });
        judgement.expect(after.state == "healthy", || {
            let state = &after.state;
            line(&format!(
                "got state {state} after {} good ones, expected healthy",
                self.answered
            ))
        });
        true
    }
}

/// Drives it.
///
/// # Errors
/// When the target does not start.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let double = Double::start(Kind::Health(SERVICE), cx.clock).await?;
    let left = Arc::new(AtomicU64::new(0));
    let failures = Arc::clone(&left);
    double.behave_by(move |_| {
        let one = |left: u64| left.checked_sub(1);
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one) {
            Ok(_) => Behaviour::fail(503),
            Err(_) => Behaviour::default(),
        }
    });
    let patch = json!({
        "services": {SERVICE: {"url": double.url()}},
        "supervisor": {"backoff_ms": [40, 80, 160]},
    });
    let stack = Stack::start(cx, config(&[SERVICE], patch), &[]).await?;
    for wanted in ROUNDS {
        let round = round(cx, &stack, &double, &left, wanted).await;
        let goes_on = round.failed == wanted;
        seen.rounds.push(round);
        if !goes_on {
            break;
        }
    }
    Ok(())
}

async fn round(cx: &Cx, stack: &Stack, double: &Double, left: &AtomicU64, wanted: u64) -> Round {
    let mut round = Round {
        wanted,
        ..Round::default()
    };
    let well = |now: &Standing| now.state == "healthy";
    round.before = stack.watch(cx, SERVICE, BOUND, well).await;
    if !round.before.as_ref().is_some_and(well) {
        return round;
    }
    let events = stack.events(SERVICE, 0).await;
    let after = events.last().map_or(0, |event| event.seq);
    left.store(wanted, Ordering::SeqCst);
    let failed = || async { (left.load(Ordering::SeqCst) == 0).then_some(()) };
    // Too few are no round, which the judge sees by their number.
    drop(cx.until("failed probes", BOUND, failed).await);
    round.failed = wanted - left.load(Ordering::SeqCst);
    let calls = double.calls().len();
    let answered = || async { (double.calls().len() >= calls + ANSWERS as usize).then_some(()) };
    drop(cx.until("answered probes", BOUND, answered).await);
    round.after = stack.watch(cx, SERVICE, BOUND, well).await;
    round.answered = (double.calls().len() - calls) as u64;
    round.events = stack.events(SERVICE, after).await;
    round
}

#[cfg(test)]
mod tests {
    use super::super::recovery::tests::{happened, standing};
    use super::*;

    fn round(failed: u64) -> Round {
        let gone = failed >= 3;
        let kinds: &[&str] = if gone {
            &["degraded", "unreachable", "restarted", "healthy"]
        } else {
            &["degraded", "healthy"]
        };
        Round {
            wanted: failed,
            failed,
            answered: 5,
            before: Some(standing("healthy", 10, 100)),
            after: Some(standing(
                "healthy",
                if gone { 11 } else { 10 },
                if gone { 200 } else { 100 },
            )),
            events: happened(SERVICE, kinds),
        }
    }

    fn one(failed: u64, change: impl FnOnce(&mut Round), expected: &str) {
        let mut seen = Evidence {
            rounds: vec![round(failed)],
        };
        change(&mut seen.rounds[0]);
        let found = judge(&seen).violations;
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }

    #[test]
    fn two_do_nothing_and_three_restart() {
        let seen = Evidence {
            rounds: ROUNDS.map(round).into(),
        };
        let judgement = judge(&seen);
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(judgement.exercised["two_failure_rounds"], 2);
        assert_eq!(judgement.exercised["three_failure_rounds"], 2);
    }

    #[test]
    fn a_restart_too_early_never_or_twice_is_a_violation() {
        let restarted = |round: &mut Round| round.events = happened(SERVICE, &["restarted"]);
        one(2, restarted, "got 1 restarts, expected 0");
        one(1, restarted, "got 1 restarts, expected 0");
        let never = |round: &mut Round| round.events = happened(SERVICE, &["degraded", "healthy"]);
        one(3, never, "got 0 restarts, expected 1");
        let twice = |round: &mut Round| round.events.extend(happened(SERVICE, &["restarted"]));
        one(3, twice, "got 2 restarts, expected 1");
    }

    #[test]
    fn another_order_another_process_and_another_end_are_violations() {
        one(3, |round| round.events.swap(0, 1), "got events");
        one(2, |round| drop(round.events.remove(0)), "got events");
        one(
            3,
            |round| round.after = round.before.clone(),
            "got the same process",
        );
        one(
            2,
            |round| round.after = Some(standing("healthy", 12, 150)),
            "got another process",
        );
        one(
            2,
            |round| round.after.as_mut().unwrap().state = "degraded".into(),
            "got state degraded",
        );
    }

    #[test]
    fn a_round_with_too_few_failures_is_not_counted() {
        let mut seen = Evidence {
            rounds: vec![round(3)],
        };
        seen.rounds[0].failed = 2;
        assert_eq!(judge(&seen).exercised["three_failure_rounds"], 0);
        assert_eq!(judge(&seen).violations, [""; 0]);
    }
}
