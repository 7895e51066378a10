//! Gate vision-supervised: optional services are restarted when they die, and their absence leaves
//! the stack healthy.
//!
//! In one target every optional service that it has is killed and has to come back like any other.
//! In another one they are not configured, and everybody else is: overall it has to be healthy. That
//! word is worth something because it goes when a service that is not optional is killed.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::recovery::{Recovery, recover};
use super::stack::{BOUND, EVA, Stack, config};
use crate::checks::{Cx, Judgement, Undecided};
use crate::contract::routes::services;
use crate::contract::supervision::HealthAll;

/// The services that a stack is whole without.
const OPTIONAL: [&str; 3] = ["vision-capture", "perception", "orchestrator"];
/// The one of them that is started on request only.
const ON_REQUEST: &str = "orchestrator";
/// One that no stack is whole without.
const MANDATORY: &str = "memory-engine";

/// How long the mandatory one is away before it is started again.
const AWAY_MS: u64 = 60_000;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every KILL of an optional service and what came of it.
    pub recoveries: Vec<Recovery>,
    /// The target without any.
    pub without: Option<Without>,
}

/// A target without its optional services.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Without {
    /// Optional services that it says are absent.
    pub absent: Vec<String>,
    /// `overall`, when it should be healthy, and who is not.
    pub overall: Option<(String, Vec<String>)>,
    /// Whether a service that is not optional was killed then.
    pub killed: bool,
    /// Whether `overall` was another word after that.
    pub noticed: bool,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let mut kills = 0;
    for recovery in &seen.recoveries {
        kills += u64::from(recovery.judge(&mut judgement));
    }
    judgement.exercised("kills", kills);
    judgement.exercised("absent_services", 0);
    if let Some(without) = &seen.without {
        without.judge(&mut judgement);
    }
    judgement.detail = format!(
        "{kills} optional services came back; without {} of them the stack was healthy",
        judgement.exercised["absent_services"]
    );
    judgement
}

impl Without {
    fn judge(&self, judgement: &mut Judgement) {
        let Some((overall, unwell)) = &self.overall else {
            return;
        };
        judgement.expect(overall == "healthy", || {
            let absent = &self.absent;
            format!(
                "without {absent:?}: got overall {overall} (not well: {unwell:?}), expected healthy"
            )
        });
        judgement.expect(!self.killed || self.noticed, || {
            format!("{MANDATORY} killed: got overall healthy for {BOUND:?}, expected another word")
        });
        if self.killed {
            judgement.exercised("absent_services", self.absent.len() as u64);
        }
    }
}

/// Drives it.
///
/// # Errors
/// When a target does not start.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let optional = OPTIONAL.into_iter().filter(|name| *name != ON_REQUEST);
    let optional: Vec<&str> = optional.filter(|name| services().contains(name)).collect();
    let patch = json!({"supervisor": {"backoff_ms": [30, 60, 120]}});
    let stack = Stack::start(cx, config(&optional, patch), &[]).await?;
    for service in optional {
        let recovery = recover(cx, &stack, service).await;
        let goes_on = recovery.is_whole();
        seen.recoveries.push(recovery);
        if !goes_on {
            return Ok(());
        }
    }
    drop(stack);
    let mandatory = |name: &&str| *name != EVA && !OPTIONAL.contains(name);
    let others: Vec<&str> = services().into_iter().filter(mandatory).collect();
    // Who is killed here stays away for long enough to be missed.
    let patch = json!({"supervisor": {"backoff_ms": [AWAY_MS]}});
    let stack = Stack::start(cx, config(&others, patch), &[]).await?;
    let without = seen.without.insert(Without::default());
    absent(cx, &stack, without).await;
    Ok(())
}

async fn absent(cx: &Cx, stack: &Stack, seen: &mut Without) {
    let well = |health: HealthAll| (health.overall == "healthy").then_some(());
    let look = || async { well(stack.health().await?) };
    // Whether it came is judged by the look that is recorded.
    drop(cx.until("a healthy stack", BOUND, look).await);
    let Some(health) = stack.health().await else {
        return;
    };
    let absent = health.services.iter().filter(|one| one.state == "absent");
    seen.absent = absent.map(|one| one.service.clone()).collect();
    seen.absent.retain(|name| OPTIONAL.contains(&name.as_str()));
    let unwell = health.services.iter().filter(|one| one.state != "healthy");
    let unwell = unwell.map(|one| one.service.clone()).collect();
    let pid = health.of(MANDATORY).and_then(|one| one.pid);
    seen.overall = Some((health.overall, unwell));
    seen.killed = pid.is_some_and(|pid| stack.instance.kill_child(pid));
    let look = || async { (stack.health().await?.overall != "healthy").then_some(()) };
    seen.noticed = cx
        .until("a stack that is not healthy", BOUND, look)
        .await
        .is_ok();
}

#[cfg(test)]
mod tests {
    use super::super::recovery::tests::good;
    use super::*;

    fn seen() -> Evidence {
        Evidence {
            recoveries: vec![good("vision-capture")],
            without: Some(Without {
                absent: vec!["vision-capture".into()],
                overall: Some(("healthy".into(), Vec::new())),
                killed: true,
                noticed: true,
            }),
        }
    }

    fn one(change: impl FnOnce(&mut Without), expected: &str) {
        let mut seen = seen();
        change(seen.without.as_mut().unwrap());
        let found = judge(&seen).violations;
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }

    #[test]
    fn one_that_comes_back_and_one_that_is_not_missed_are_no_violation() {
        let judgement = judge(&seen());
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(
            [
                judgement.exercised["kills"],
                judgement.exercised["absent_services"]
            ],
            [1, 1]
        );
    }

    #[test]
    fn one_that_stays_away_or_is_missed_is_a_violation() {
        let mut bad = seen();
        bad.recoveries[0].events.clear();
        assert_eq!(judge(&bad).violations.len(), 1);
        one(
            |without| without.overall = Some(("degraded".into(), vec!["vision-capture".into()])),
            "got overall degraded",
        );
        one(|without| without.noticed = false, "expected another word");
    }

    #[test]
    fn a_word_that_was_never_tested_counts_for_nothing() {
        let mut seen = seen();
        seen.without.as_mut().unwrap().killed = false;
        assert_eq!(judge(&seen).exercised["absent_services"], 0);
    }
}
