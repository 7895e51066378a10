//! v4.7/C5: latency degrades, its removal recovers, and a single spike does neither.
//!
//! Nothing but turns and latency: once the model's double answers late, once a link on the way to
//! it delays the bytes. How many healthy windows the way back takes is not asked (C3 does), nor is
//! the status route read: modes are seen by events and by what is shed and served.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::lane::{TRIES, lane};
use super::walk::{Walk, counts};
use crate::chaos::degrade::lane::WINDOW_TURNS;
use crate::chaos::degrade::timeline::{Timeline, Work};
use crate::chaos::degrade::{Change, Count, Cycle, Injection, Lane, Rules, Went};
use crate::checks::{Cx, Judgement, Undecided};

/// Windows that an injection lasts at least: N of the contract's defaults.
const SUSTAINED_WINDOWS: usize = 3;
/// M of the defaults: patience with a recovery is counted in it.
const RECOVER_WINDOWS: usize = 5;
/// Fewest breached windows in a row that are no single spike.
const NO_SPIKE: u32 = 2;
/// What is probed: the first two are shed while degraded, the third never.
const WORKS: [Work; 3] = [
    Work::VisionFrame,
    Work::MemoryWriteLow,
    Work::MemoryWriteNormal,
];

/// What was seen of the two targets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The model answers late.
    pub double: Timeline,
    /// The way to the model is slow.
    pub wire: Timeline,
}

/// Both cycles against the specification, with any number of healthy windows for the way back.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let mut told = Vec::new();
    for (name, line) in [("double", &seen.double), ("wire", &seen.wire)] {
        let (walk, cycles, spikes) = modes(name, line, &mut judgement);
        judgement.exercised("cycles", cycles);
        judgement.exercised("spikes", spikes);
        let stays = walk.stays();
        let stay = stays
            .iter()
            .filter_map(|stay| stay.told)
            .map(|told| format!("{told:.2} s"));
        told.push(format!(
            "{name}: {spikes} spike without effect, {} entered, {} shed, {} exited after {}, {} \
             served again",
            walk.count(Change::Entered),
            walk.refused,
            walk.count(Change::Exited),
            stay.collect::<Vec<_>>().join(" "),
            after(&walk.story, '<').matches('o').count(),
        ));
    }
    judgement.detail = told.join("; ");
    judgement
}

/// One target: its walk, whole cycles and spikes that changed nothing.
fn modes(name: &str, line: &Timeline, judgement: &mut Judgement) -> (Walk, u64, u64) {
    let rules = Rules {
        breach: Count::From(NO_SPIKE),
        recover: Count::From(1),
    };
    let walk = Walk::read(line, rules);
    for text in walk.violations.iter().cloned().chain(walk.wrong_stays()) {
        judgement.violation(format!("{name}: {text}"));
    }
    for text in &walk.undecided {
        judgement.undecided(format!("{name}: {text}"));
    }
    let turns: Vec<u16> = line
        .batches()
        .flat_map(|batch| &batch.turns)
        .map(|turn| turn.status)
        .collect();
    let refused = turns.iter().filter(|status| **status != 200).count();
    judgement.expect(refused == 0, || {
        let first = turns
            .iter()
            .find(|status| **status != 200)
            .copied()
            .unwrap_or_default();
        format!(
            "{name}: got {refused} of {} turns not served (first: {first}), expected 0",
            turns.len()
        )
    });
    let (breach_windows, _) = counts(&json!({}));
    let absences = [
        walk.never_entered(line, breach_windows),
        walk.never_exited(line, RECOVER_WINDOWS),
    ];
    for verdict in absences.into_iter().flatten() {
        verdict.prefixed(name).tell(judgement);
    }
    let windows = walk.windows();
    let before = windows.split('>').next().unwrap_or_default();
    let degraded = walk
        .story
        .split('>')
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let shed = degraded.is_some_and(|story| story.matches('x').count() >= 2);
    let served = after(&walk.story, '<').matches('o').count() >= 2;
    let cycle = walk.count(Change::Exited) > 0 && shed && served;
    (walk, cycle.into(), before.matches("HBH").count() as u64)
}

fn after(story: &str, letter: char) -> &str {
    story.split_once(letter).map_or("", |(_, rest)| rest)
}

/// Drives both cycles side by side.
///
/// # Errors
/// When a target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let double = lane(cx, &json!({}), Injection::Double).await?;
    let wire = lane(cx, &json!({}), Injection::Wire).await?;
    let _span = cx.span("windows");
    tokio::try_join!(cycle(double, &mut seen.double), cycle(wire, &mut seen.wire))?;
    Ok(())
}

/// A spike, then a sustained injection until the target sheds, then none until it serves.
async fn cycle(lane: Lane, line: &mut Timeline) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    for _ in 0..TRIES {
        if spike(&mut cycle).await? != Went::Uncertain {
            break;
        }
    }
    cycle.probe(&WORKS).await;
    cycle.inject();
    for window in 1..=SUSTAINED_WINDOWS {
        let expect = (window == SUSTAINED_WINDOWS).then_some(Change::Entered);
        if cycle.turns(WINDOW_TURNS, expect).await? == Went::Silent {
            break;
        }
    }
    if cycle
        .turns_until(Change::Entered, SUSTAINED_WINDOWS)
        .await?
    {
        cycle.probe(&WORKS).await;
        cycle.relieve();
        cycle.turns_until(Change::Exited, RECOVER_WINDOWS).await?;
        cycle.probe(&WORKS).await;
    }
    cycle.relieve();
    Ok(())
}

/// One breached window between healthy ones.
async fn spike(cycle: &mut Cycle<'_>) -> anyhow::Result<Went> {
    let mut all = Went::Clean;
    for letter in "HBHH".chars() {
        if letter == 'B' {
            cycle.inject();
        }
        let went = cycle.turns(WINDOW_TURNS, None).await?;
        cycle.relieve();
        match went {
            Went::Clean => {}
            Went::Uncertain => all = Went::Uncertain,
            Went::Silent => return Ok(Went::Silent),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::twins::{Flaw, Paper};
    use super::*;

    fn cycle(flaw: Flaw) -> Timeline {
        let mut paper = Paper::start(flaw, json!({}));
        paper.drive("HBHH").probe();
        if flaw == Flaw::NotFed {
            paper.drive(&"B".repeat(30)).wait();
            return paper.line;
        }
        paper.drive("BBB").probe();
        if flaw == Flaw::ManualReset {
            paper.drive(&"H".repeat(160));
        }
        paper.drive("HHHHH").probe();
        paper.line
    }

    fn judged(flaw: Flaw) -> Judgement {
        judge(&Evidence {
            double: cycle(flaw),
            wire: cycle(flaw),
        })
    }

    #[test]
    fn a_cycle_without_help_passes() {
        let judgement = judged(Flaw::None);
        assert_eq!(judgement.violations, Vec::<String>::new());
        assert_eq!(
            (judgement.exercised["cycles"], judgement.exercised["spikes"]),
            (2, 2)
        );
    }

    #[test]
    fn how_many_healthy_windows_it_takes_is_not_asked() {
        for flaw in [
            Flaw::LeavesAfterOne,
            Flaw::CountNotReset,
            Flaw::StatusStatic,
        ] {
            let judgement = judged(flaw);
            assert_eq!(judgement.violations, Vec::<String>::new(), "{flaw:?}");
            assert_eq!(judgement.exercised["cycles"], 2, "{flaw:?}");
        }
    }

    #[test]
    fn each_flaw_is_a_violation() {
        for flaw in [
            Flaw::NotFed,
            Flaw::ManualReset,
            Flaw::EntersAtOnce,
            Flaw::FramesServed,
            Flaw::TurnsShed,
        ] {
            assert_ne!(judged(flaw).violations, Vec::<String>::new(), "{flaw:?}");
        }
    }

    #[test]
    fn nothing_seen_is_nothing_exercised() {
        let judgement = judge(&Evidence::default());
        assert_eq!(judgement.exercised["cycles"], 0);
        assert!(!judgement.undecided.is_empty());
    }
}
