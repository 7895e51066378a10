//! Gate restart-policy: a service that crashes again and again is restarted three times a window,
//! spaced by the back-off, and not a fourth time until the window ends.
//!
//! The times are scaled down. The process of the memory-engine is killed whenever one is seen, until
//! the target says that the budget is spent; then the next one is waited for. When a process was
//! started is what the system says of it, not what the target says, and not when it was seen.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::kills::{End, SLACK_MS, Start, between_ms, crash, rearmed};
use super::stack::{BOUND, Happened, Stack, config, count};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::process::TICK_MS;
use crate::violation;

/// The service that is killed.
const SERVICE: &str = "memory-engine";
/// Before the first restart of a window, the second and the third: 2, 4 and 8 s, scaled.
const BACKOFF_MS: [u64; 3] = [60, 120, 240];
/// The window. Shorter against the back-off than the product's, so that its end can be waited for.
const WINDOW_MS: u64 = 3000;
/// What two moments lose by being rounded to ticks.
const ROUNDING_MS: u64 = 2 * TICK_MS;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every process of the service, the first start's first.
    pub starts: Vec<Start>,
    /// How the crash loop ended.
    pub end: Option<End>,
    /// Whether the next process was waited for after that, to the end.
    pub waited: bool,
    /// What the target says happened; none when it was not asked at the end.
    pub events: Option<Vec<Happened>>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["restarts", "exhausted", "rearmed"] {
        judgement.exercised(counter, 0);
    }
    spaced(seen, &mut judgement);
    let restarts = seen.starts.get(1..).unwrap_or_default();
    let Some(first) = restarts.first() else {
        if seen.end == Some(End::Nothing) && !seen.starts.is_empty() {
            violation!(
                judgement,
                "{SERVICE} after its KILL: got no restart within {BOUND:?}"
            );
        }
        return judgement;
    };
    let within = |start: &&Start| {
        between_ms(first.started_ticks, start.started_ticks) + SLACK_MS < WINDOW_MS
    };
    let in_window = restarts.iter().filter(within).count();
    let later = restarts.len() - in_window;
    judgement.expect(in_window <= BACKOFF_MS.len(), || {
        format!("in one window of {WINDOW_MS} ms: got {in_window} restarts, expected 3")
    });
    let told = |kind: &str| seen.events.as_ref().map(|events| count(events, kind));
    let exhausted = told("exhausted");
    if seen.end == Some(End::Exhausted) {
        judgement.expect(in_window == BACKOFF_MS.len(), || {
            format!("restarts when the budget was spent: got {in_window}, expected 3")
        });
        judgement.expect(exhausted.is_none_or(|told| told == 1), || {
            let told = exhausted.unwrap_or_default();
            format!("exhausted events of one window: got {told}, expected 1")
        });
        judgement.expect(later > 0 || !seen.waited, || {
            format!("{BOUND:?} after the window of {WINDOW_MS} ms: got no restart, expected one")
        });
    }
    if seen.end == Some(End::Nothing) {
        let got = restarts.len();
        violation!(
            judgement,
            "after {got} restarts: got neither another one nor an end within {BOUND:?}"
        );
    }
    let announced = told("restarted");
    judgement.expect(
        announced.is_none_or(|told| told == restarts.len() as u64),
        || {
            let (told, got) = (announced.unwrap_or_default(), restarts.len());
            format!("restarted events: got {told}, expected {got}, one a process")
        },
    );
    judgement.exercised("restarts", in_window as u64);
    judgement.exercised("exhausted", u64::from(seen.end == Some(End::Exhausted)));
    judgement.exercised("rearmed", later as u64);
    judgement.detail = format!(
        "{in_window} restarts in a window of {WINDOW_MS} ms, spaced by at least {BACKOFF_MS:?} ms, then {} exhausted, and {later} after the window",
        exhausted.unwrap_or_default()
    );
    judgement
}

/// From a KILL to the process after it passes at least the back-off.
fn spaced(seen: &Evidence, judgement: &mut Judgement) {
    for (pair, back_off) in seen.starts.windows(2).zip(BACKOFF_MS) {
        let [before, after] = pair else { continue };
        let Some(killed) = before.killed_ticks else {
            continue;
        };
        let got = between_ms(killed, after.started_ticks);
        judgement.expect(got + ROUNDING_MS >= back_off, || {
            let pid = after.pid;
            format!("from a KILL to process {pid}: got {got} ms, expected {back_off} or more")
        });
    }
}

/// Drives it.
///
/// # Errors
/// When the target does not start.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = json!({"supervisor": {"backoff_ms": BACKOFF_MS, "window_ms": WINDOW_MS}});
    let stack = Stack::start(cx, config(&[SERVICE], patch), &[]).await?;
    // The first start, what is allowed, and one more than that.
    let most = 2 + BACKOFF_MS.len();
    let end = crash(cx, &stack, SERVICE, &mut seen.starts, most).await;
    seen.end = Some(end);
    if end == End::Exhausted {
        rearmed(cx, &stack, SERVICE, &mut seen.starts, WINDOW_MS).await;
        seen.waited = true;
    }
    // A process can be seen before it is announced. One that is not is judged by its absence.
    let restarts = seen.starts.len().saturating_sub(1) as u64;
    let announced = || async {
        let events = stack.events(SERVICE, 0).await;
        (count(&events, "restarted") >= restarts).then_some(())
    };
    drop(cx.until("what happened", BOUND, announced).await);
    seen.events = Some(stack.events(SERVICE, 0).await);
    Ok(())
}

#[cfg(test)]
#[path = "restart_policy_tests.rs"]
mod tests;
