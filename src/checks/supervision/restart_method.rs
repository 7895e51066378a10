//! Gate restart-method: a killed service is really started again.
//!
//! A supervised target runs openclaw as a process of its own. That process is killed,
//! twice. Each time another process of the target has to run, started after the KILL, answer
//! under the service's name where the target says that it is, and be announced by one restarted
//! event. Only processes that the target itself started are killed, whatever it says.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::recovery::{Recovery, recover};
use super::stack::{Stack, config};
use crate::checks::{Cx, Judgement, Undecided};

/// The service that is killed.
const SERVICE: &str = "openclaw";
/// How often.
const KILLS: usize = 2;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every KILL and what came of it.
    pub recoveries: Vec<Recovery>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut kills, mut restarts) = (0, 0);
    for recovery in &seen.recoveries {
        kills += u64::from(recovery.judge(&mut judgement));
        restarts += recovery.restarts();
    }
    judgement.exercised("kills", kills);
    judgement.exercised("restarts", restarts);
    judgement.detail = format!(
        "{kills} KILLs of {SERVICE}, {restarts} restarts, each another process that answers"
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When the target does not start.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = json!({"supervisor": {"backoff_ms": [30, 60, 120]}});
    let stack = Stack::start(cx, config(&[SERVICE], patch), &[]).await?;
    for _ in 0..KILLS {
        let recovery = recover(cx, &stack, SERVICE).await;
        let goes_on = recovery.is_whole();
        seen.recoveries.push(recovery);
        if !goes_on {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::recovery::tests::good;
    use super::*;

    #[test]
    fn what_comes_back_counts_and_what_does_not_is_a_violation() {
        let mut seen = Evidence {
            recoveries: vec![good(SERVICE), good(SERVICE)],
        };
        let judgement = judge(&seen);
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(
            [
                judgement.exercised["kills"],
                judgement.exercised["restarts"]
            ],
            [2, 2]
        );
        seen.recoveries[1].events.clear();
        assert_eq!(judge(&seen).violations.len(), 1);
        seen.recoveries[0].killed_ticks = None;
        assert_eq!(judge(&seen).exercised["kills"], 1);
    }
}
