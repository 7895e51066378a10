//! v4.7/C1: only N consecutive breached windows enter degrade mode, judged by the percentiles
//! themselves.
//!
//! Five targets side by side, each from normal, each judged up to its first `entered`. With the
//! default N: one and two breached windows between healthy ones, then three, one of them full of
//! turns that fail; three with windows of too few samples in between; turns that hang and never
//! end. With N = 1 and 100 samples a window: one slow turn of 100, then two (only p99 is past its
//! limit); five very slow ones (only the mean is past the limit of p95), then six slow ones (p95 is,
//! the mean is not). Load that makes a window uncertain spoils a pattern; it is driven again, on
//! another target that allows more time.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::absence::Verdict;
use super::lane::lane;
use super::walk::{Walk, counts};
use crate::chaos::degrade::lane::{LEAST_BOUND, PATIENCE, WINDOW_TURNS};
use crate::chaos::degrade::timeline::{Step, Timeline};
use crate::chaos::degrade::{Batch, Change, Class, Count, Cycle, Injection, Lane, Rules, Went};
use crate::checks::{Cx, Judgement, Undecided};

#[cfg(test)]
mod tests;

/// N as the contract's defaults have it: the config of most targets here does not name it.
const BREACH_WINDOWS: usize = 3;
/// What a turn may take, by try: more and more of what a busy machine takes itself.
const THRESHOLDS_MS: [u64; 4] = [100, 250, 600, 1500];
/// `F` is a breached window of turns that fail in the end.
const ROWS: &str = "BHBBHBFB";
/// Samples of a window in which a percentile and the mean can differ so much.
const TAIL_TURNS: usize = 100;
/// The same where the slowest turns take [`MEAN_FACTOR`] times that, and have to be over before a
/// client gives up.
const MEAN_LIMITS_MS: [u64; 4] = [50, 125, 300, 450];
/// How much slower than their limit the turns are that take the mean past it: five of 100.
const MEAN_FACTOR: u64 = 21;
/// A window that time closes, by try.
const SHORT_WINDOWS_MS: [u64; 4] = [160, 400, 1000, 2500];
/// A limit that every turn of those targets is past.
const QUICK_LIMIT_MS: u64 = 20;
/// Turns in a window of too few samples.
const FEW_TURNS: usize = 2;
/// The least time in which turns that hang have to degrade: nobody but the target moves that on.
const HANG_BOUND: Duration = Duration::from_secs(10);

/// What was seen of the targets, try by try.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Rows of one, two and three breached windows.
    pub rows: Vec<Timeline>,
    /// Three breached windows, with neutral ones in between.
    pub neutral: Vec<Timeline>,
    /// Turns that hang.
    pub hanging: Vec<Timeline>,
    /// One slow turn of 100, then two.
    pub late: Vec<Timeline>,
    /// Five very slow turns of 100, then six slow ones.
    pub mean: Vec<Timeline>,
}

/// Each target up to its first entry, and the patterns that came out clean.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let mut told = Vec::new();
    let lanes: [(&str, &[Timeline], Found); 5] = [
        ("rows", &seen.rows, rows),
        ("neutral", &seen.neutral, neutral),
        ("hanging", &seen.hanging, hanging),
        ("p99", &seen.late, late),
        ("mean", &seen.mean, mean),
    ];
    let mut tail_samples = Vec::new();
    for (name, lines, found) in lanes {
        let (patterns, windows) = tries(name, lines, found, &mut judgement);
        told.push(format!("{name} {windows:?} ({patterns} patterns)"));
        judgement.exercised("patterns", patterns);
        if ["p99", "mean"].contains(&name) {
            tail_samples.push(if patterns > 0 { TAIL_TURNS as u64 } else { 0 });
        }
    }
    let samples = tail_samples.into_iter().min().unwrap_or(0);
    judgement.exercised("samples_per_tail_window", samples);
    judgement.detail = format!(
        "up to the first entry, N = {BREACH_WINDOWS} by default: {}; {samples} samples in a window \
         of the last two",
        told.join("; ")
    );
    judgement
}

/// How many patterns a walk shows cleanly.
type Found = fn(&Timeline, &Walk) -> u64;

/// All tries of one target's patterns: how many came out clean in the best, and its windows.
fn tries(name: &str, lines: &[Timeline], found: Found, judgement: &mut Judgement) -> (u64, String) {
    let mut best = (0, String::new());
    let mut undecided = vec![format!("{name}: not driven")];
    for line in lines {
        let (breach_windows, _) = counts(slo_of(line));
        let rules = Rules {
            breach: Count::At(breach_windows),
            recover: Count::From(1),
        };
        let line = line.up_to(Change::Entered.event());
        let walk = Walk::read(&line, rules);
        for text in walk.violations.iter().chain(&walk.misread) {
            judgement.violation(format!("{name}: {text}"));
        }
        undecided = walk
            .undecided
            .iter()
            .map(|text| format!("{name}: {text}"))
            .collect();
        let absence =
            never_by_hanging(&line, &walk).or_else(|| walk.never_entered(&line, breach_windows));
        match absence.map(|verdict| verdict.prefixed(name)) {
            Some(Verdict::Wrong(text)) => judgement.violation(text),
            Some(Verdict::Unknown(text)) => undecided.push(text),
            None => {}
        }
        let patterns = found(&line, &walk);
        if patterns >= best.0 {
            best = (patterns, walk.windows());
        }
    }
    if best.0 == 0 {
        judgement.undecided.extend(undecided);
    }
    best
}

fn slo_of(line: &Timeline) -> &Value {
    let started = line.steps.iter().find_map(|step| match step {
        Step::Started { slo, .. } => Some(slo),
        _ => None,
    });
    started.unwrap_or(&Value::Null)
}

/// Turns hung for as long as the target can ask for, and it did not enter.
fn never_by_hanging(line: &Timeline, walk: &Walk) -> Option<Verdict> {
    let held_us = line.steps.iter().find_map(|step| match step {
        Step::Hanging(hanging) if hanging.held >= WINDOW_TURNS => Some(hanging.held_us),
        _ => None,
    })?;
    if walk.count(Change::Entered) > 0 {
        return None;
    }
    let read = line.steps.iter().rev().find_map(|step| match step {
        Step::Read(read) => Some(read.returned_us),
        _ => None,
    });
    let watched_us = read.unwrap_or(held_us).saturating_sub(held_us);
    let text = format!(
        "got no {} while every turn hung for {} ms, expected it after {BREACH_WINDOWS} windows",
        Change::Entered.event(),
        watched_us / 1000
    );
    let surely = watched_us >= hang_bound().as_micros() as u64;
    Some(if surely {
        Verdict::Wrong(text)
    } else {
        Verdict::Unknown(text)
    })
}

fn hang_bound() -> Duration {
    let windows = (PATIENCE * BREACH_WINDOWS) as u32;
    HANG_BOUND.max(Duration::from_millis(SHORT_WINDOWS_MS[0]) * windows)
}

/// A single one, two in a row, exactly three, and one of those full of turns that failed.
fn rows(line: &Timeline, walk: &Walk) -> u64 {
    if walk.windows() != "BHBBHBBB>" {
        return 0;
    }
    let failed = |batch: &Batch| batch.turns.iter().all(|turn| turn.status != 200);
    let last: Vec<_> = line.batches().collect();
    let failing = last
        .iter()
        .rev()
        .take(BREACH_WINDOWS)
        .any(|batch| failed(batch));
    3 + u64::from(failing)
}

/// Between the breached windows whole windows passed: one with too few slow turns, and one with
/// none. The numbers of the windows say so, and so do the times.
fn neutral(line: &Timeline, walk: &Walk) -> u64 {
    let window_us = slo_of(line)["window_ms"]
        .as_u64()
        .unwrap_or(u64::MAX / 1000)
        * 1000;
    let batches: Vec<&Batch> = line.batches().collect();
    let full = |batch: &Batch| batch.turns.len() >= WINDOW_TURNS;
    let pauses = batches.windows(2).filter(|pair| {
        full(pair[1]) && pair[1].invoked_us.saturating_sub(pair[0].returned_us) >= window_us
    });
    let few = batches
        .iter()
        .any(|batch| !full(batch) && walk.breached(batch));
    let whole = walk.windows() == "BBB>" && pauses.count() == BREACH_WINDOWS - 1;
    u64::from(whole && few && windows_between(line))
}

/// Whether there were windows between those that were told of, each time.
fn windows_between(line: &Timeline) -> bool {
    let windows = line
        .events()
        .filter(|(event, _)| event.kind == "slo.window");
    let indexes: Vec<u64> = windows
        .filter_map(|(event, _)| event.data["index"].as_u64())
        .collect();
    indexes.windows(2).all(|pair| pair[1] > pair[0] + 1)
}

/// The entry came while every turn hung.
fn hanging(line: &Timeline, walk: &Walk) -> u64 {
    let alone = line.batches().next().is_none();
    u64::from(alone && walk.windows() == "BBB>")
}

/// One slow turn of 100 breaches nothing, two breach p99 and not p95.
fn late(line: &Timeline, walk: &Walk) -> u64 {
    let thresholds = &slo_of(line)["thresholds"];
    let only_p95 = json!({"total": {"p95": thresholds["total"]["p95"]}});
    let batches: Vec<&Batch> = line.batches().collect();
    let [one, two] = batches[..] else { return 0 };
    let by_p99 = two.class(&only_p95) == Some(Class::Healthy) && walk.breached(two);
    u64::from(walk.windows() == "HB>" && by_p99 && wide(one) && wide(two))
}

/// The mean is past the limit of p95 and p95 is not; then the other way round. The second is a
/// breach of p95 alone.
fn mean(line: &Timeline, walk: &Walk) -> u64 {
    let thresholds = &slo_of(line)["thresholds"];
    let limit = thresholds["total"]["p95"].as_f64().unwrap_or(f64::INFINITY);
    let only_p99 = json!({"total": {"p99": thresholds["total"]["p99"]}});
    let batches: Vec<&Batch> = line.batches().collect();
    let [above, below] = batches[..] else {
        return 0;
    };
    let differ = above.least_mean_ms() > limit && below.most_mean_ms() < limit;
    let by_p95 = below.class(&only_p99) == Some(Class::Healthy) && walk.breached(below);
    if walk.windows() != "HB>" || !differ || !by_p95 || !wide(above) || !wide(below) {
        return 0;
    }
    // Mean above, mean below, and p95 alone.
    3
}

fn wide(batch: &Batch) -> bool {
    batch.turns.len() >= TAIL_TURNS
}

/// Drives the five targets side by side.
///
/// # Errors
/// When a target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let rows = lanes(cx, &THRESHOLDS_MS, |limit| limits(limit, Some(limit))).await?;
    let neutral = lanes(cx, &SHORT_WINDOWS_MS, |window_ms| {
        let mut slo = limits(QUICK_LIMIT_MS, None);
        slo["window_ms"] = json!(window_ms);
        slo
    });
    let neutral = neutral.await?;
    let hanging = lanes(cx, &SHORT_WINDOWS_MS[..1], |window_ms| {
        let mut slo = limits(QUICK_LIMIT_MS, Some(QUICK_LIMIT_MS));
        slo["window_ms"] = json!(window_ms);
        slo
    });
    let hanging = hanging.await?;
    let late = lanes(cx, &THRESHOLDS_MS, |limit| {
        tail(limits(limit, Some(limit * 5 / 4)))
    })
    .await?;
    let mean = lanes(cx, &MEAN_LIMITS_MS, |limit| {
        tail(limits(limit, Some(limit * (MEAN_FACTOR + 4))))
    });
    let mean = mean.await?;
    let _span = cx.span("windows");
    let quick = Arc::default();
    tokio::try_join!(
        again(rows, &quick, &mut seen.rows, drive_rows),
        again(neutral, &quick, &mut seen.neutral, drive_neutral),
        again(hanging, &quick, &mut seen.hanging, drive_hanging),
        again(late, &quick, &mut seen.late, drive_late),
        again(mean, &quick, &mut seen.mean, drive_mean),
    )?;
    Ok(())
}

/// The limits of `total` in milliseconds, over those that every lane begins with.
fn limits(p95: u64, p99: Option<u64>) -> Value {
    json!({"thresholds": {"total": {"p95": p95, "p99": p99}}})
}

/// One window decides, and it is a wide one.
fn tail(mut slo: Value) -> Value {
    slo["breach_windows"] = json!(1);
    slo["window_max_samples"] = json!(TAIL_TURNS);
    slo["min_samples"] = json!(TAIL_TURNS);
    slo
}

/// A lane for each try.
async fn lanes(
    cx: &mut Cx,
    limits_ms: &[u64],
    slo: impl Fn(u64) -> Value,
) -> Result<Vec<(u64, Lane)>, Undecided> {
    let mut lanes = Vec::new();
    for limit_ms in limits_ms {
        let lane = lane(cx, &slo(*limit_ms), Injection::Double).await?;
        lanes.push((*limit_ms, lane));
    }
    Ok(lanes)
}

/// Drives a pattern on one target after the other until load spoils it no more.
async fn again(
    lanes: Vec<(u64, Lane)>,
    quick: &Arc<Mutex<()>>,
    lines: &mut Vec<Timeline>,
    pattern: impl AsyncFn(&mut Cycle<'_>, u64) -> anyhow::Result<Went>,
) -> anyhow::Result<()> {
    let last = lanes.len();
    for (number, (limit_ms, lane)) in lanes.into_iter().enumerate() {
        lines.push(Timeline::default());
        let Some(line) = lines.last_mut() else { break };
        let mut cycle = lane.open(line).await?.sharing(quick);
        if number + 1 < last && cycle.too_busy_for(limit_ms) {
            continue;
        }
        if pattern(&mut cycle, limit_ms).await? != Went::Uncertain {
            break;
        }
    }
    Ok(())
}

async fn drive_rows(cycle: &mut Cycle<'_>, _: u64) -> anyhow::Result<Went> {
    for (at, letter) in ROWS.chars().enumerate() {
        match letter {
            'B' => cycle.inject(),
            'F' => cycle.fail(),
            _ => cycle.relieve(),
        }
        let expect = (at + 1 == ROWS.len()).then_some(Change::Entered);
        match cycle.turns(WINDOW_TURNS, expect).await? {
            Went::Clean => {}
            Went::Uncertain => return Ok(Went::Uncertain),
            Went::Silent => {
                // It has all the breached windows that patience allows.
                cycle.inject();
                cycle.turns_until(Change::Entered, BREACH_WINDOWS).await?;
                return Ok(Went::Silent);
            }
        }
    }
    Ok(Went::Clean)
}

/// Breached windows that samples close; between them time closes one with too few, and one with
/// none. Time may close one in the middle of its turns too: then the pattern is spoiled.
async fn drive_neutral(cycle: &mut Cycle<'_>, window_ms: u64) -> anyhow::Result<Went> {
    cycle.inject();
    for window in 1..=BREACH_WINDOWS {
        if window > 1 {
            // A third more, so that the next turns are not at an edge of time.
            cycle
                .look_on(Duration::from_millis(window_ms * 4 / 3))
                .await?;
        }
        if cycle.turns(WINDOW_TURNS, None).await? == Went::Silent {
            return Ok(Went::Uncertain);
        }
        if window == 1 {
            cycle.turns(FEW_TURNS, None).await?;
        }
    }
    let entered = cycle.watch_for(Change::Entered, LEAST_BOUND).await?;
    Ok(match (entered, windows_between(cycle.line())) {
        (true, true) => Went::Clean,
        (true, false) => Went::Uncertain,
        (false, _) => Went::Silent,
    })
}

async fn drive_hanging(cycle: &mut Cycle<'_>, _: u64) -> anyhow::Result<Went> {
    let entered = cycle.hang(WINDOW_TURNS, hang_bound()).await?;
    Ok(if entered { Went::Clean } else { Went::Silent })
}

async fn drive_late(cycle: &mut Cycle<'_>, limit_ms: u64) -> anyhow::Result<Went> {
    let slow_ms = limit_ms * 3 / 2;
    let one = cycle.mixed((1, slow_ms), TAIL_TURNS, None).await?;
    if one != Went::Clean {
        return Ok(one);
    }
    cycle
        .mixed((2, slow_ms), TAIL_TURNS, Some(Change::Entered))
        .await
}

async fn drive_mean(cycle: &mut Cycle<'_>, limit_ms: u64) -> anyhow::Result<Went> {
    let above = cycle
        .mixed((5, limit_ms * MEAN_FACTOR), TAIL_TURNS, None)
        .await?;
    if above != Went::Clean {
        return Ok(above);
    }
    let slow_ms = limit_ms * 3 / 2;
    cycle
        .mixed((6, slow_ms), TAIL_TURNS, Some(Change::Entered))
        .await
}
