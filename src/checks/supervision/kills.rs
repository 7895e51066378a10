//! A service that is killed whenever it runs: its processes, one after the other. Shared by the
//! gates about how often a service may be restarted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stack::{BOUND, Stack, Standing};
use crate::checks::Cx;
use crate::target::Process;
use crate::target::process::{TICK_MS, now_ticks};

/// What the rounding of two moments to ticks may take from the time between them, and what may
/// lie between the moment at which a restart is counted and its process.
pub(super) const SLACK_MS: u64 = 100;

/// One process of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which one.
    pub pid: u32,
    /// When it was started, in ticks of the system.
    pub started_ticks: u64,
    /// When it was killed; none when it was let be.
    pub killed_ticks: Option<u64>,
}

impl Start {
    fn of(process: Process) -> Self {
        Self {
            pid: process.pid,
            started_ticks: process.started_ticks,
            killed_ticks: None,
        }
    }
}

/// How a crash loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The target says that the budget is spent.
    Exhausted,
    /// It says that it restarts nothing.
    Refused,
    /// As many processes were seen as were to be.
    Enough,
    /// Nothing happened for the bound.
    Nothing,
}

/// Waits for another process than the last one, or for the word that none will come.
async fn next(
    cx: &Cx,
    stack: &Stack,
    service: &str,
    starts: &[Start],
) -> (Option<Start>, Option<Standing>) {
    let last = starts.last().map(|start| start.pid);
    let other = |now: &Standing| now.process.filter(|process| Some(process.pid) != last);
    let over = |now: &Standing| ["exhausted", "refused"].contains(&now.restart.as_str());
    let seen = stack
        .watch(cx, service, BOUND, |now| other(now).is_some() || over(now))
        .await;
    let start = seen.as_ref().and_then(other).map(Start::of);
    (start, seen)
}

/// Kills every process of the service as soon as it is seen, until none comes or `most` were seen.
pub(super) async fn crash(
    cx: &Cx,
    stack: &Stack,
    service: &str,
    starts: &mut Vec<Start>,
    most: usize,
) -> End {
    while starts.len() < most {
        let (start, seen) = next(cx, stack, service, starts).await;
        let Some(mut start) = start else {
            return match seen.map(|seen| seen.restart) {
                Some(restart) if restart == "exhausted" => End::Exhausted,
                Some(restart) if restart == "refused" => End::Refused,
                _ => End::Nothing,
            };
        };
        let at = now_ticks();
        if stack.instance.kill_child(start.pid) {
            start.killed_ticks = at;
        }
        starts.push(start);
    }
    End::Enough
}

/// After the word that none will come: waits until the window of the first restart is over, and for
/// the process that comes then.
pub(super) async fn rearmed(
    cx: &Cx,
    stack: &Stack,
    service: &str,
    starts: &mut Vec<Start>,
    window_ms: u64,
) {
    let Some(first) = starts.get(1).map(|start| start.started_ticks) else {
        return;
    };
    past(
        cx,
        first + window_ms / TICK_MS,
        Duration::from_millis(window_ms) + BOUND,
    )
    .await;
    let last = starts.last().map(|start| start.pid);
    let other = |now: &Standing| now.process.filter(|process| Some(process.pid) != last);
    let seen = stack
        .watch(cx, service, BOUND, |now| other(now).is_some())
        .await;
    starts.extend(seen.as_ref().and_then(other).map(Start::of));
}

/// Waits until a moment has come, by the ticks of the system.
async fn past(cx: &Cx, ticks: u64, bound: Duration) {
    let come = || async move { now_ticks().is_none_or(|now| now >= ticks).then_some(()) };
    // What is seen afterwards is dated by itself.
    drop(cx.until("the end of a window", bound, come).await);
}

/// Milliseconds from one tick to another; none before it.
pub(super) fn between_ms(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) * TICK_MS
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Processes started then, each killed within the same tick but for the last one.
    pub(in crate::checks::supervision) fn starts(ticks: &[u64]) -> Vec<Start> {
        let last = ticks.len() - 1;
        let start = |(at, ticks): (usize, &u64)| Start {
            pid: 100 + at as u32,
            started_ticks: *ticks,
            killed_ticks: (at < last).then_some(*ticks),
        };
        ticks.iter().enumerate().map(start).collect()
    }

    #[test]
    fn ticks_are_hundredths() {
        assert_eq!((between_ms(100, 106), between_ms(106, 100)), (60, 0));
    }
}
