//! Gate slo-enforcement (v4.6/C2): a sustained breach under live traffic is seen: work is shed and
//! an event tells why. When the model is quick again the work is served again.
//!
//! One target and its traffic: turns, vision frames, memory writes of both priorities. The model is
//! slowed until the entry is told, what may be shed is asked for, the model is quick again and the
//! same is asked for once more. How many windows either way takes is not asked, the status route is
//! not read, and no process is restarted.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::lane::lane;
use super::walk::{Edge, Walk};
use crate::chaos::degrade::lane::WINDOW_TURNS;
use crate::chaos::degrade::timeline::{Probe, Timeline, Work};
use crate::chaos::degrade::{Change, Count, Cycle, Injection, Lane, Rules, Went};
use crate::checks::{Cx, Judgement, Undecided};
use crate::violation;

/// Windows that the model is slow for at least, and that an exit is waited for: N and M of the
/// contract's defaults.
const BREACH_WINDOWS: usize = 3;
const RECOVER_WINDOWS: usize = 5;
/// What is asked for beside turns: the first two are shed while degraded, the third never.
const WORKS: [Work; 3] = [
    Work::VisionFrame,
    Work::MemoryWriteLow,
    Work::MemoryWriteNormal,
];
/// Healthy windows before the model is slow.
const QUICK_WINDOWS: usize = 2;

/// What was seen of the target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Turns, events, and work that may be shed.
    pub line: Timeline,
}

/// The mode by its events, and what it did to the work.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    // Any number of windows: that it is the configured one is another gate's claim.
    let any = Rules {
        breach: Count::From(1),
        recover: Count::From(1),
    };
    let walk = Walk::read(&seen.line, any);
    judgement.violations.extend(walk.violations.iter().cloned());
    judgement.undecided.extend(walk.undecided.iter().cloned());
    let absences = [
        walk.never_entered(&seen.line, BREACH_WINDOWS as u32),
        walk.never_exited(&seen.line, RECOVER_WINDOWS),
    ];
    for verdict in absences.into_iter().flatten() {
        verdict.tell(&mut judgement);
    }
    let of = |change| walk.edges.iter().find(|edge| edge.change == change);
    let (entered, exited) = (of(Change::Entered), of(Change::Exited));
    if let Some(edge) = entered {
        told_why(edge, &mut judgement);
    }
    turns_served(&seen.line, &mut judgement);
    let shed = entered.map_or(0, |edge| kinds(seen, edge, exited, Probe::shed));
    let again = exited.map_or(0, |edge| kinds(seen, edge, None, Probe::served));
    judgement.exercised("breaches", walk.count(Change::Entered));
    judgement.exercised("recoveries", walk.count(Change::Exited));
    judgement.exercised("shed", shed);
    judgement.exercised("served_again", again);
    judgement.detail = format!(
        "windows {:?}: {} entered ({}), {shed} kinds of work shed; {} exited, {again} kinds served \
         again; {} slow and {} quick turns",
        walk.windows(),
        walk.count(Change::Entered),
        entered.map_or("never", |edge| edge.data["reason"]
            .as_str()
            .unwrap_or("no reason")),
        walk.count(Change::Exited),
        walk.slow_turns,
        walk.fast_turns,
    );
    judgement
}

/// An entry that names nothing is not enforced for a reason.
fn told_why(edge: &Edge, judgement: &mut Judgement) {
    let reason = &edge.data["reason"];
    let named = reason.as_str().is_some_and(|text| text.contains("total"));
    judgement.expect(named, || {
        format!("entered: got reason {reason}, expected it to name total, which was exceeded")
    });
}

/// Turns are never shed, whatever the mode.
fn turns_served(line: &Timeline, judgement: &mut Judgement) {
    let turns = || line.batches().flat_map(|batch| &batch.turns);
    let mut refused = turns().filter(|turn| turn.status != 200);
    if let Some(first) = refused.next() {
        violation!(
            judgement,
            "got {} of {} turns not served (first: {} {}), expected 0",
            refused.count() + 1,
            turns().count(),
            first.status,
            first.code
        );
    }
}

/// Kinds of work that were answered so after one change was read and before the other can have been.
fn kinds(seen: &Evidence, after: &Edge, before: Option<&Edge>, so: fn(&Probe) -> bool) -> u64 {
    let end_us = before.map_or(u64::MAX, |edge| edge.earliest_us);
    let between = |probe: &&Probe| {
        let over = probe.returned_us.is_some_and(|over_us| over_us <= end_us);
        over && probe.invoked_us >= after.latest_us
    };
    let answered = |work: &&Work| {
        let mut probes = seen.line.probes().filter(between);
        probes.any(|probe| probe.work == **work && so(probe))
    };
    WORKS.iter().filter(answered).count() as u64
}

/// Drives one breach and its end.
///
/// # Errors
/// When the target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let lane = lane(cx, &json!({}), Injection::Double).await?;
    let _span = cx.span("windows");
    breach_and_recover(lane, &mut seen.line).await?;
    Ok(())
}

async fn breach_and_recover(lane: Lane, line: &mut Timeline) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    for _ in 0..QUICK_WINDOWS {
        cycle.turns(WINDOW_TURNS, None).await?;
    }
    cycle.probe(&WORKS).await;
    if breach(&mut cycle).await? {
        cycle.probe(&WORKS).await;
        cycle.relieve();
        cycle.turns_until(Change::Exited, RECOVER_WINDOWS).await?;
        cycle.probe(&WORKS).await;
    }
    cycle.relieve();
    Ok(())
}

/// Slow turns until the entry is told, and what may be shed asked for between two windows: true
/// when it is told.
async fn breach(cycle: &mut Cycle<'_>) -> anyhow::Result<bool> {
    cycle.inject();
    for window in 1..=BREACH_WINDOWS {
        let expect = (window == BREACH_WINDOWS).then_some(Change::Entered);
        if cycle.turns(WINDOW_TURNS, expect).await? == Went::Silent {
            break;
        }
    }
    cycle.turns_until(Change::Entered, BREACH_WINDOWS).await
}

#[cfg(test)]
mod tests {
    use super::super::twins::{Flaw, Paper};
    use super::*;

    fn seen(flaw: Flaw) -> Evidence {
        let mut paper = Paper::start(flaw, json!({}));
        paper.drive("HH").probe();
        if matches!(flaw, Flaw::NotFed | Flaw::EnteredSilently) {
            paper.drive(&"B".repeat(30)).wait().probe();
            return Evidence { line: paper.line };
        }
        paper.drive("BBB").probe();
        if flaw == Flaw::ManualReset {
            paper.drive(&"H".repeat(160)).wait();
        }
        paper.drive("HHHHH").probe();
        Evidence { line: paper.line }
    }

    #[test]
    fn a_breach_that_is_shed_told_and_over_passes() {
        let judgement = judge(&seen(Flaw::None));
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(judgement.undecided, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [
            ("breaches", 1),
            ("recoveries", 1),
            ("served_again", 3),
            ("shed", 2),
        ];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    #[test]
    fn how_many_windows_either_way_takes_is_not_asked() {
        for flaw in [
            Flaw::LeavesAfterOne,
            Flaw::EntersAtOnce,
            Flaw::StatusStatic,
            Flaw::Cumulative,
        ] {
            assert_eq!(judge(&seen(flaw)).violations, [""; 0], "{flaw:?}");
        }
    }

    #[test]
    fn each_flaw_is_a_violation() {
        for flaw in [
            Flaw::NotFed,
            Flaw::EnteredSilently,
            Flaw::ManualReset,
            Flaw::FramesServed,
            Flaw::TurnsShed,
        ] {
            assert_ne!(judge(&seen(flaw)).violations, [""; 0], "{flaw:?}");
        }
    }

    #[test]
    fn an_entry_without_a_reason_is_a_violation() {
        let mut seen = seen(Flaw::None);
        let mut spoiled = 0;
        for step in &mut seen.line.steps {
            let crate::chaos::degrade::timeline::Step::Read(read) = step else {
                continue;
            };
            let entries = read.events.iter_mut();
            for event in entries.filter(|event| event.kind == Change::Entered.event()) {
                event.data["reason"] = json!("because");
                spoiled += 1;
            }
        }
        assert_eq!(spoiled, 1);
        let found = judge(&seen).violations;
        assert!(found[0].contains("got reason \"because\""), "{found:?}");
    }

    #[test]
    fn nothing_seen_is_nothing_exercised() {
        let judgement = judge(&Evidence::default());
        assert_eq!(judgement.exercised["breaches"], 0);
        assert!(!judgement.undecided.is_empty());
    }
}
