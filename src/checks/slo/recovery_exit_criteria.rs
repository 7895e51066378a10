//! v4.7/C3: degrade mode ends with the fifth consecutive healthy window and not before.
//!
//! Four targets side by side, all with the default counts. One recovers with a breach in between;
//! one is killed in the middle of its count; one is left alone and recovers by self-probes; one has
//! those turned off, so that neutral windows must not end it. How many breaches degrade is not
//! asked (C1 does), and the status route is not read (C4 does): modes are seen by events and by
//! what is shed.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::absence::Verdict;
use super::lane::{TRIES, lane};
use super::walk::{Walk, counts, looked};
use crate::chaos::degrade::lane::{LEAST_BOUND, LONG_WINDOW_MS, PATIENCE, WINDOW_TURNS};
use crate::chaos::degrade::timeline::{Step, Timeline, Work};
use crate::chaos::degrade::{Change, Count, Cycle, Injection, Lane, Rules, Went};
use crate::checks::{Cx, Judgement, Undecided};

/// N and M as the contract's defaults have them: the config of this gate does not name them.
const BREACH_WINDOWS: usize = 3;
const RECOVER_WINDOWS: usize = 5;
/// A window that time closes, for the lanes without traffic.
const SHORT_WINDOW_MS: u64 = 60;
/// How many of those must pass without ending degrade mode.
const NEUTRAL_WINDOWS: u64 = 13;
/// Work that is shed while not normal.
const SHED: [Work; 2] = [Work::VisionFrame, Work::MemoryWriteLow];

/// What was seen of each target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Four healthy windows, a breach, four healthy ones, a fifth.
    pub interrupted: Timeline,
    /// Killed in the middle of the count of healthy windows.
    pub killed: Timeline,
    /// Left without traffic, with self-probes.
    pub unattended: Timeline,
    /// Left without traffic and without self-probes, then given traffic.
    pub unprobed: Timeline,
}

/// Holds every target's modes against the specification, and looks for the four patterns.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let lanes = [
        ("interrupted", &seen.interrupted),
        ("killed", &seen.killed),
        ("unattended", &seen.unattended),
        ("unprobed", &seen.unprobed),
    ];
    let [interrupted, killed, unattended, unprobed] =
        lanes.map(|(name, line)| modes(name, line, &mut judgement));
    let walks = [&interrupted, &killed, &unattended, &unprobed];

    // Shed to the last, and the count began anew with the breach in between.
    let shed = interrupted.story.contains("xH<");
    let whole = from_none(&interrupted.windows(), "HHHHBHHHHH<");
    let patterns = u64::from(shed && whole);
    let kills = kept_over_a_kill(&killed.windows());
    let (alone, alone_ms) = by_self_probes(&seen.unattended, &unattended, &mut judgement);
    let neutral = if unprobed.count(Change::Exited) > 0 {
        neutral_windows(&seen.unprobed)
    } else {
        0
    };
    let recoveries: u64 = walks.iter().map(|walk| walk.count(Change::Exited)).sum();
    judgement.exercised("interrupted_recoveries", patterns);
    judgement.exercised("kills_while_degraded", kills.is_some().into());
    judgement.exercised("self_probe_recoveries", alone);
    judgement.exercised("neutral_windows", neutral);
    judgement.exercised("recoveries", recoveries);

    let each = |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(" ");
    let runs = walks.iter().flat_map(|walk| walk.healthy_before_exits());
    let stays = walks.iter().flat_map(|walk| walk.stays());
    judgement.detail = format!(
        "{} entered, {recoveries} exited, after {} healthy windows and {} s; {patterns} with 4 \
         healthy and a breach before; killed after {} healthy; by self-probes in {alone_ms} ms; \
         {neutral} neutral windows ended nothing; {} probes shed",
        walks
            .iter()
            .map(|walk| walk.count(Change::Entered))
            .sum::<u64>(),
        each(&mut runs.map(|run| run.to_string())),
        each(&mut stays.map(|stay| stay.told.map_or("?".into(), |told| format!("{told:.2}")))),
        kills.map_or("?".to_owned(), |healthy| healthy.to_string()),
        walks.iter().map(|walk| walk.refused).sum::<u64>(),
    );
    judgement
}

/// One target's modes, against its own config.
fn modes(name: &str, line: &Timeline, judgement: &mut Judgement) -> Walk {
    let (breach_windows, recover_windows) = counts(slo_of(line));
    let rules = Rules {
        breach: Count::From(1),
        recover: Count::At(recover_windows),
    };
    let walk = Walk::read(line, rules);
    for text in walk.violations.iter().cloned().chain(walk.wrong_stays()) {
        judgement.violation(format!("{name}: {text}"));
    }
    for text in &walk.undecided {
        judgement.undecided(format!("{name}: {text}"));
    }
    if let Some(verdict) = walk.never_entered(line, breach_windows) {
        verdict.prefixed(name).tell(judgement);
    }
    walk
}

/// The `slo` key of the last start.
fn slo_of(line: &Timeline) -> &Value {
    let started = line.steps.iter().rev().find_map(|step| match step {
        Step::Started { slo, .. } => Some(slo),
        _ => None,
    });
    started.unwrap_or(&Value::Null)
}

/// Whether this pattern came when no healthy window was counted yet.
fn from_none(windows: &str, pattern: &str) -> bool {
    windows.contains(&format!(">{pattern}")) || windows.contains(&format!("B{pattern}"))
}

/// After how many healthy windows the target was killed, if the other ones then ended it.
fn kept_over_a_kill(windows: &str) -> Option<usize> {
    (1..RECOVER_WINDOWS).find(|before| {
        let after = RECOVER_WINDOWS - before;
        from_none(
            windows,
            &format!("{}K{}<", "H".repeat(*before), "H".repeat(after)),
        )
    })
}

/// Whether a target without traffic recovered, and how long that took in milliseconds. That it
/// did not, with all the windows that patience allows, is a violation.
fn by_self_probes(line: &Timeline, walk: &Walk, judgement: &mut Judgement) -> (u64, u64) {
    let Some(restart) = Restart::of(line) else {
        return (0, 0);
    };
    let exited = walk
        .edges
        .iter()
        .find(|edge| edge.change == Change::Exited && edge.latest_us > restart.ready_us);
    if let Some(edge) = exited {
        let alone = line
            .batches()
            .all(|batch| batch.returned_us < restart.ready_us);
        return (alone.into(), (edge.latest_us - restart.ready_us) / 1000);
    }
    let (looks, watched_us) = restart.watched(line);
    let text = format!(
        "unattended: got no {} in {} ms without traffic, expected it after {RECOVER_WINDOWS} \
         windows of {} ms",
        Change::Exited.event(),
        watched_us / 1000,
        restart.window_ms
    );
    let patience_us = 1000 * restart.window_ms * (PATIENCE * RECOVER_WINDOWS) as u64;
    let bound_us = patience_us.max(LEAST_BOUND.as_micros() as u64);
    // A probe that was slow, by the target's own word, is no healthy window.
    let healthy = !walk.story.contains('b');
    let surely = healthy && watched_us >= bound_us && looked(looks, watched_us);
    let verdict = if surely {
        Verdict::Wrong(text)
    } else {
        Verdict::Unknown(text)
    };
    verdict.tell(judgement);
    (0, 0)
}

/// How many whole windows passed between the restart and the last refused probe before traffic.
fn neutral_windows(line: &Timeline) -> u64 {
    let Some(restart) = Restart::of(line) else {
        return 0;
    };
    let refused = line.probes().filter(|probe| {
        probe.shed() && (restart.ready_us..restart.until_us).contains(&probe.invoked_us)
    });
    let last_us = refused.map(|probe| probe.invoked_us).max();
    let quiet_us = last_us.unwrap_or(0).saturating_sub(restart.ready_us);
    quiet_us / 1000 / restart.window_ms.max(1)
}

/// The second start of a target, which gives it short windows and no traffic.
struct Restart {
    /// When it was ready.
    ready_us: u64,
    /// Until traffic or the next start.
    until_us: u64,
    /// Its windows.
    window_ms: u64,
}

impl Restart {
    fn of(line: &Timeline) -> Option<Restart> {
        let mut starts = line.steps.iter().filter_map(|step| match step {
            Step::Started {
                from_us,
                ready_us,
                slo,
            } => Some((*from_us, *ready_us, slo)),
            _ => None,
        });
        let (_, ready_us, slo) = starts.nth(1)?;
        let next_us = starts.next().map_or(u64::MAX, |start| start.0);
        let traffic = line.batches().find(|batch| batch.invoked_us > ready_us);
        Some(Restart {
            ready_us,
            until_us: traffic.map_or(next_us, |batch| batch.invoked_us.min(next_us)),
            window_ms: slo["window_ms"].as_u64().unwrap_or(0),
        })
    }

    /// How often the log was read since then, and until when, in microseconds since then.
    fn watched(&self, line: &Timeline) -> (u32, u64) {
        let reads = line.steps.iter().filter_map(|step| match step {
            Step::Read(read) if read.invoked_us >= self.ready_us => Some(read),
            _ => None,
        });
        reads.fold((0, 0), |(looks, _), read| {
            (looks + read.reads, read.returned_us - self.ready_us)
        })
    }
}

/// Drives the four targets side by side.
///
/// # Errors
/// When a target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let healthy = cx
        .seed
        .child("healthy before the kill")
        .rng()
        .random_range(1..RECOVER_WINDOWS);
    let Evidence {
        interrupted,
        killed,
        unattended,
        unprobed,
    } = seen;
    let (on, off) = (json!({}), json!({"self_probe": false}));
    let one = lane(cx, &on, Injection::Double).await?;
    let two = lane(cx, &on, Injection::Double).await?;
    let three = lane(cx, &on, Injection::Double).await?;
    let four = lane(cx, &off, Injection::Double).await?;
    let _span = cx.span("windows");
    tokio::try_join!(
        recover_interrupted(one, interrupted),
        recover_over_a_kill(two, killed, healthy),
        recover_unattended(three, unattended),
        stay_unprobed(four, unprobed),
    )?;
    Ok(())
}

/// Degrades the target and sees it shed; one that is degraded gets a breach, which takes its count
/// of healthy windows back to none. False when it cannot be degraded. A pattern that load spoiled
/// is driven again more slowly.
async fn begin(cycle: &mut Cycle<'_>, again: bool) -> anyhow::Result<bool> {
    if again {
        cycle.allow_twice_the_time().await?;
    }
    if cycle.degraded() {
        cycle.inject();
        let went = cycle.turns(WINDOW_TURNS, None).await;
        cycle.relieve();
        return Ok(went? != Went::Silent);
    }
    let entered = cycle.degrade(BREACH_WINDOWS).await?;
    if entered {
        cycle.probe(&SHED).await;
    }
    Ok(entered)
}

/// `HHHHBHHHH`, then the fifth; again from a breach on when load spoils it.
async fn recover_interrupted(lane: Lane, line: &mut Timeline) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    cycle.probe(&SHED).await;
    for again in 0..TRIES {
        if !begin(&mut cycle, again > 0).await? || interrupted(&mut cycle).await? != Went::Uncertain
        {
            break;
        }
    }
    Ok(())
}

async fn interrupted(cycle: &mut Cycle<'_>) -> anyhow::Result<Went> {
    for letter in "HHHHBHHHH".chars() {
        if letter == 'B' {
            cycle.probe(&SHED).await;
            cycle.inject();
        }
        let went = cycle.turns(WINDOW_TURNS, None).await;
        cycle.relieve();
        let went = went?;
        if went != Went::Clean {
            return Ok(went);
        }
        if !cycle.degraded() {
            // It left early: the rest of the pattern has no meaning.
            cycle.probe(&SHED).await;
            return Ok(Went::Clean);
        }
    }
    finish(cycle).await
}

/// The last healthy window: shed before it, served after it.
async fn finish(cycle: &mut Cycle<'_>) -> anyhow::Result<Went> {
    cycle.probe(&SHED).await;
    let went = cycle.turns(WINDOW_TURNS, Some(Change::Exited)).await?;
    cycle.probe(&SHED).await;
    Ok(went)
}

/// Killed after `healthy` windows of the five; again from a breach on when load spoils it.
async fn recover_over_a_kill(
    lane: Lane,
    line: &mut Timeline,
    healthy: usize,
) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    for again in 0..TRIES {
        if !begin(&mut cycle, again > 0).await? {
            break;
        }
        if !healthy_windows(&mut cycle, healthy).await? {
            continue;
        }
        cycle.kill_and_start(&json!({})).await?;
        cycle.open_sessions().await?;
        cycle.probe(&SHED).await;
        let clean = healthy_windows(&mut cycle, RECOVER_WINDOWS - healthy - 1).await?;
        if clean && finish(&mut cycle).await? != Went::Uncertain {
            break;
        }
    }
    Ok(())
}

/// Windows that are certainly healthy; stops at one that is not. Degrade mode that ended early is
/// no reason to go on.
async fn healthy_windows(cycle: &mut Cycle<'_>, windows: usize) -> anyhow::Result<bool> {
    for _ in 0..windows {
        if cycle.turns(WINDOW_TURNS, None).await? != Went::Clean {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Restarted with short windows and left alone.
async fn recover_unattended(lane: Lane, line: &mut Timeline) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    if !cycle.degrade(BREACH_WINDOWS).await? {
        return Ok(());
    }
    cycle.probe(&SHED).await;
    cycle
        .kill_and_start(&json!({"window_ms": SHORT_WINDOW_MS}))
        .await?;
    let windows = Duration::from_millis(SHORT_WINDOW_MS * (PATIENCE * RECOVER_WINDOWS) as u64);
    if cycle
        .watch_for(Change::Exited, windows.max(LEAST_BOUND))
        .await?
    {
        cycle.open_sessions().await?;
        cycle.probe(&SHED).await;
    }
    Ok(())
}

/// Restarted with short windows that nothing fills, probed for a while, then given turns.
async fn stay_unprobed(lane: Lane, line: &mut Timeline) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    if !cycle.degrade(BREACH_WINDOWS).await? {
        return Ok(());
    }
    cycle.probe(&SHED).await;
    cycle
        .kill_and_start(&json!({"window_ms": SHORT_WINDOW_MS}))
        .await?;
    cycle.open_sessions().await?;
    cycle
        .probe_for(Duration::from_millis(SHORT_WINDOW_MS * NEUTRAL_WINDOWS))
        .await?;
    // Windows by count again: only these are sure to hold five of the turns.
    cycle
        .kill_and_start(&json!({"window_ms": LONG_WINDOW_MS}))
        .await?;
    cycle.open_sessions().await?;
    cycle.turns_until(Change::Exited, RECOVER_WINDOWS).await?;
    cycle.probe(&SHED).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::twins::{Flaw, Paper};
    use super::*;

    fn interrupted(flaw: Flaw) -> Timeline {
        let mut paper = Paper::start(flaw, json!({}));
        paper
            .probe()
            .drive("BBB")
            .probe()
            .drive("HHHH")
            .probe()
            .drive("B")
            .drive("HHHH")
            .probe();
        paper.drive("H").wait().probe();
        paper.line
    }

    fn killed(flaw: Flaw) -> Timeline {
        let mut paper = Paper::start(flaw, json!({}));
        paper.drive("BBB").probe().drive("HH");
        paper.kill(json!({}));
        paper.probe().drive("HH").probe().drive("H").wait().probe();
        paper.line
    }

    fn unattended(flaw: Flaw) -> Timeline {
        let mut paper = Paper::start(flaw, json!({}));
        paper.drive("BBB").probe();
        paper.kill(json!({"window_ms": SHORT_WINDOW_MS}));
        paper.idle(5).wait().wait();
        paper.line
    }

    fn unprobed(flaw: Flaw) -> Timeline {
        let mut paper = Paper::start(flaw, json!({"self_probe": false}));
        paper.drive("BBB").probe();
        paper.kill(json!({"window_ms": SHORT_WINDOW_MS}));
        for _ in 0..13 {
            paper.idle(1).probe();
        }
        paper.drive("HHHHH").wait().probe();
        paper.line
    }

    fn judged(flaw: Flaw) -> Judgement {
        judge(&Evidence {
            interrupted: interrupted(flaw),
            killed: killed(flaw),
            unattended: unattended(flaw),
            unprobed: unprobed(flaw),
        })
    }

    #[test]
    fn a_right_target_exercises_every_pattern() {
        let judgement = judged(Flaw::None);
        assert_eq!(judgement.violations, Vec::<String>::new());
        assert_eq!(judgement.undecided, Vec::<String>::new());
        let exercised = |name: &str| judgement.exercised[name];
        assert_eq!(exercised("interrupted_recoveries"), 1);
        assert_eq!(exercised("kills_while_degraded"), 1);
        assert_eq!(exercised("self_probe_recoveries"), 1);
        assert_eq!(exercised("recoveries"), 4);
        assert!(exercised("neutral_windows") >= 12, "{judgement:?}");
    }

    #[test]
    fn each_flaw_is_a_violation() {
        for flaw in [
            Flaw::LeavesAfterOne,
            Flaw::CountNotReset,
            Flaw::LeavesLate,
            Flaw::CountsLostOnKill,
            Flaw::ModeLostOnKill,
            Flaw::NeutralCounts,
            Flaw::NoProbes,
            Flaw::SecondEntered,
            Flaw::FramesServed,
            Flaw::ManualReset,
        ] {
            assert_ne!(judged(flaw).violations, Vec::<String>::new(), "{flaw:?}");
        }
    }

    #[test]
    fn how_many_breaches_degrade_and_what_the_status_says_is_not_asked() {
        for flaw in [
            Flaw::EntersAtOnce,
            Flaw::StatusStatic,
            Flaw::HistoryUnbounded,
        ] {
            assert_eq!(judged(flaw).violations, Vec::<String>::new(), "{flaw:?}");
        }
    }

    #[test]
    fn an_exit_that_does_not_come_is_undecided_until_the_bound() {
        let line = |waits: bool| {
            let mut paper = Paper::start(Flaw::LeavesLate, json!({}));
            paper.drive("BBBHHHHH");
            if waits {
                paper.wait();
            }
            paper.line
        };
        let judged = |line| {
            judge(&Evidence {
                interrupted: line,
                ..Evidence::default()
            })
        };
        let early = judged(line(false));
        assert!(
            early.violations.is_empty() && !early.undecided.is_empty(),
            "{early:?}"
        );
        assert!(!judged(line(true)).violations.is_empty());
    }

    #[test]
    fn nothing_seen_is_nothing_exercised() {
        let judgement = judge(&Evidence::default());
        assert!(
            judgement.exercised.values().all(|count| *count == 0),
            "{judgement:?}"
        );
        assert!(!judgement.undecided.is_empty());
    }
}
