//! v4.7/C4: `GET /v1/slo/status` and `/v3/slo/status` tell the truth through a full cycle.
//!
//! The oracle is the specification run over the `slo.window` events and the config that the target
//! was given. Reads that race a change may show either side of it, by the recorded times.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lane::lane;
use super::status_oracle::{Looked, look};
use super::walk::{Walk, exact};
use crate::chaos::degrade::lane::WINDOW_TURNS;
use crate::chaos::degrade::timeline::{Step, Timeline, Work};
use crate::chaos::degrade::{Change, Cycle, Injection, Went};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::Credential;

/// Both routes.
const PATHS: [&str; 2] = ["/v3/slo/status", "/v1/slo/status"];
/// The counts of this gate's config: small, so that a full cycle is short.
const BREACH_WINDOWS: usize = 2;
const RECOVER_WINDOWS: usize = 3;
/// Fewer than the cycle breaches.
const HISTORY_LIMIT: usize = 3;
/// What is shed and counted: unequally, so that swapped counters show.
const SHED: [Work; 3] = [
    Work::VisionFrame,
    Work::MemoryWriteLow,
    Work::MemoryWriteLow,
];

/// What was seen of the target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The cycle, with reads of the status between and during its windows.
    pub cycle: Timeline,
}

/// Every read against the oracle.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let line = &seen.cycle;
    let slo = slo_of(line);
    let walk = Walk::read(line, exact(slo));
    if let Some(verdict) = walk.never_entered(line, BREACH_WINDOWS as u32) {
        verdict.tell(&mut judgement);
    }
    let Looked {
        statuses,
        modes,
        overflows,
        equal,
        violations,
        longest_s,
        refused,
    } = look(line, slo);
    for text in violations {
        judgement.violation(text);
    }
    for text in walk.violations.iter().cloned() {
        judgement.violation(text);
    }
    judgement.undecided.extend(walk.undecided.iter().cloned());
    judgement.exercised("statuses", statuses);
    judgement.exercised("modes", modes.len() as u64);
    judgement.exercised("history_overflows", overflows);
    judgement.exercised("twin_pairs", equal);
    judgement.expect(statuses == 0 || refused >= PATHS.len() as u64, || {
        format!(
            "got {refused} refusals without credentials, expected {}",
            PATHS.len()
        )
    });
    judgement.detail = format!(
        "{statuses} reads held against the oracle over windows {:?}, modes {}; v1 = v3 in {equal} \
         pairs; {} breaches, {HISTORY_LIMIT} kept; in degrade up to {longest_s:.2} s; {} shed counted; \
         {refused} refused without credentials",
        walk.windows(),
        modes.join(" "),
        walk.windows().matches('B').count(),
        walk.refused,
    );
    judgement
}

fn slo_of(line: &Timeline) -> &Value {
    let started = line.steps.iter().find_map(|step| match step {
        Step::Started { slo, .. } => Some(slo),
        _ => None,
    });
    started.unwrap_or(&Value::Null)
}

/// Drives the cycle.
///
/// # Errors
/// When the target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let counts = json!({
        "breach_windows": BREACH_WINDOWS,
        "recover_windows": RECOVER_WINDOWS,
        "history_limit": HISTORY_LIMIT,
    });
    let lane = lane(cx, &counts, Injection::Double).await?;
    let mut cycle = lane.open(&mut seen.cycle).await?;
    let _span = cx.span("windows");
    for path in PATHS {
        cycle.status(path, Credential::None).await;
    }
    read(&mut cycle).await;
    full_cycle(&mut cycle).await?;
    Ok(())
}

/// `BHBB`, then `HB` on the way back, then `HHH`, and two turns that fill no window. A window that
/// load made another one is as good: the oracle goes by what the events say.
async fn full_cycle(cycle: &mut Cycle<'_>) -> anyhow::Result<()> {
    for letter in "BHBB".chars() {
        if window(cycle, letter).await? == Went::Silent {
            break;
        }
    }
    if !cycle.degraded() {
        cycle.inject();
        let entered = cycle.turns_until(Change::Entered, BREACH_WINDOWS).await?;
        cycle.relieve();
        read(cycle).await;
        if !entered {
            return Ok(());
        }
    }
    cycle.probe(&SHED).await;
    read(cycle).await;
    // A window in two parts: the status tells what is in an open one.
    cycle.turns(2, None).await?;
    read(cycle).await;
    cycle.turns(WINDOW_TURNS - 2, None).await?;
    read(cycle).await;
    for letter in "BHHH".chars() {
        window(cycle, letter).await?;
    }
    cycle.turns_until(Change::Exited, RECOVER_WINDOWS).await?;
    read(cycle).await;
    cycle.probe(&SHED).await;
    cycle.turns(2, None).await?;
    read(cycle).await;
    Ok(())
}

async fn window(cycle: &mut Cycle<'_>, letter: char) -> anyhow::Result<Went> {
    let went = if letter == 'B' {
        cycle.inject();
        let went = cycle.turns_while_reading(&PATHS).await;
        cycle.relieve();
        went?
    } else {
        cycle.turns(WINDOW_TURNS, None).await?
    };
    read(cycle).await;
    Ok(went)
}

async fn read(cycle: &mut Cycle<'_>) {
    for path in PATHS {
        cycle.status(path, Credential::Operator(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::twins::{Flaw, Paper};
    use super::*;

    fn judged(flaw: Flaw) -> Judgement {
        let counts = json!({
            "breach_windows": BREACH_WINDOWS,
            "recover_windows": RECOVER_WINDOWS,
            "history_limit": HISTORY_LIMIT,
        });
        let mut paper = Paper::start(flaw, counts);
        paper.look_without().look();
        for letter in ["B", "H", "B", "B"] {
            paper.drive(letter).look();
        }
        paper.probe().look();
        paper.turns(2, 12).read().look().turns(3, 12).read().look();
        for letter in ["B", "H", "H", "H"] {
            paper.drive(letter).look();
        }
        paper.probe().turns(2, 12).read().look();
        judge(&Evidence { cycle: paper.line })
    }

    #[test]
    fn a_truthful_status_passes() {
        let judgement = judged(Flaw::None);
        assert_eq!(judgement.violations, Vec::<String>::new());
        assert!(judgement.exercised["statuses"] >= 20, "{judgement:?}");
        assert_eq!(judgement.exercised["modes"], 3);
        assert!(judgement.exercised["history_overflows"] >= 1);
    }

    #[test]
    fn each_lie_is_a_violation() {
        for flaw in [
            Flaw::StatusStatic,
            Flaw::TimeFrozen,
            Flaw::HistoryUnbounded,
            Flaw::HistoryReversed,
            Flaw::AlwaysClear,
            Flaw::TwinDiffers,
            Flaw::StatusOpen,
            Flaw::ShedUncounted,
        ] {
            assert_ne!(judged(flaw).violations, Vec::<String>::new(), "{flaw:?}");
        }
    }

    #[test]
    fn nothing_seen_is_nothing_exercised() {
        let judgement = judge(&Evidence::default());
        assert_eq!(judgement.exercised["statuses"], 0);
        assert!(judgement.violations.is_empty());
    }
}
