//! v4.7/C2: entering degrade mode is one event with reason and metrics, and sheds vision frames and
//! low-priority memory writes and nothing else.
//!
//! One target, breached window by window. Before the entry everything is served (the control);
//! between the entry and one more breached window the same is asked again. How many breaches it
//! takes is not asked (C1 does), nor how degrade mode ends (C3 does). The metrics of the event are
//! held against the times of the harness; refusals are counted and held against the counters of
//! each service's `/status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lane::lane;
use super::walk::{Edge, Walk};
use crate::chaos::degrade::lane::WINDOW_TURNS;
use crate::chaos::degrade::timeline::{Timeline, Work};
use crate::chaos::degrade::{Batch, Change, Count, Cycle, Injection, Lane, Rules, Went};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::Ask;
use essential::{Essential, KINDS, all, one_guarded_call, served};

mod essential;
#[cfg(test)]
mod tests;

/// What a turn may take: every window of the pattern is slow, so that it need not be much.
const THRESHOLD_MS: u64 = 50;
/// N of the contract's defaults.
const BREACH_WINDOWS: usize = 3;
/// Work that may be shed, and the write that never is.
const WORKS: [Work; 3] = [
    Work::VisionFrame,
    Work::MemoryWriteLow,
    Work::MemoryWriteNormal,
];
/// How often that is probed while degraded.
const ROUNDS: usize = 2;
/// Where refusals are counted: in the order of the works that are.
const COUNTING: [&str; 2] = ["vision-capture", "memory-engine"];

/// What was seen of the target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Windows, probes and events.
    pub line: Timeline,
    /// Essential work asked for while nothing was degraded.
    pub before: Vec<Essential>,
    /// The same while degraded.
    pub during: Vec<Essential>,
    /// `counters.shed` of the `/status` of each service, before and after.
    pub counted: BTreeMap<String, Counted>,
}

/// A counter before and after; none when it was not shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// At the start.
    pub before: Option<u64>,
    /// At the end.
    pub after: Option<u64>,
}

impl Counted {
    fn refusals(self) -> Option<u64> {
        Some(self.after?.saturating_sub(self.before?))
    }
}

/// The entry, its event, what was refused and what was served.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let rules = Rules {
        breach: Count::From(1),
        recover: Count::From(1),
    };
    let walk = Walk::read(&seen.line, rules);
    judgement.violations.extend(walk.violations.iter().cloned());
    judgement.undecided.extend(walk.undecided.iter().cloned());
    let never = walk.never_entered(&seen.line, BREACH_WINDOWS as u32);
    if let Some(verdict) = never {
        verdict.tell(&mut judgement);
    }
    let entered = walk
        .edges
        .iter()
        .find(|edge| edge.change == Change::Entered);
    if let Some(edge) = entered {
        event(edge, &seen.line, &mut judgement);
    }
    counters(seen, &mut judgement);
    essential(seen, &walk, &mut judgement);

    let between = entered.map_or(0, |edge| between_breaches(edge, &seen.line, &walk));
    let turns = entered.map_or(0, |edge| turns_served(edge, &seen.line));
    let kinds = served(&seen.during);
    judgement.exercised("entries", walk.count(Change::Entered));
    judgement.exercised("shed", between);
    judgement.exercised("served", kinds.len() as u64 + u64::from(turns > 0));
    judgement.exercised("controls", walk.served + served(&seen.before).len() as u64);
    judgement.detail = format!(
        "windows {:?}: {} entered ({}); {between} shed between two breached windows, {} counted; \
         meanwhile {turns} turns served, and {}; before it {} probes and {} of {} kinds",
        walk.windows(),
        walk.count(Change::Entered),
        entered.map_or("never", |edge| edge.data["reason"]
            .as_str()
            .unwrap_or("no reason")),
        seen.counted
            .values()
            .filter_map(|counted| counted.refusals())
            .sum::<u64>(),
        if kinds.is_empty() {
            "nothing else".to_owned()
        } else {
            kinds.join(", ")
        },
        walk.served,
        served(&seen.before).len(),
        KINDS.len(),
    );
    judgement
}

/// Reason and metrics of an entry against what the harness measured of its windows.
fn event(edge: &Edge, line: &Timeline, judgement: &mut Judgement) {
    let reason = &edge.data["reason"];
    judgement.expect(
        reason
            .as_str()
            .is_some_and(|reason| reason.contains("total")),
        || format!("entered: got reason {reason}, expected it to name total, which is exceeded"),
    );
    let told = edge.data["windows"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let logged = line
        .events()
        .filter(|(event, at_us)| event.kind == "slo.window" && *at_us <= edge.latest_us);
    let mut run: Vec<&Value> = logged.map(|(event, _)| &event.data).collect();
    let newest = run
        .iter()
        .rev()
        .take_while(|window| window["class"] == "breach");
    run.drain(..run.len() - newest.count());
    judgement.expect(!run.is_empty() && told.iter().eq(run.iter().copied()), || {
        let indexes = |windows: &mut dyn Iterator<Item = &Value>| {
            let indexes = windows.map(|window| window["index"].to_string());
            indexes.collect::<Vec<_>>().join(" ")
        };
        let (told, run) = (indexes(&mut told.iter()), indexes(&mut run.iter().copied()));
        format!("entered: got windows [{told}], expected the breached ones before it as logged, [{run}]")
    });
    let batches: Vec<&Batch> = line.batches().collect();
    let before = batches
        .iter()
        .rev()
        .filter(|batch| batch.returned_us <= edge.latest_us);
    // One batch a window. One that filled several says too little of each.
    let single =
        before.take_while(|batch| batch.turns.len() == WINDOW_TURNS && batch.all_sampled());
    for (window, batch) in told.iter().rev().zip(single) {
        metrics(window, batch, judgement);
    }
}

/// One window of the event against the turns that were in it.
fn metrics(window: &Value, batch: &Batch, judgement: &mut Judgement) {
    let index = &window["index"];
    judgement.expect(window["samples"] == WINDOW_TURNS, || {
        let samples = &window["samples"];
        format!("entered: got {samples} samples in window {index}, expected {WINDOW_TURNS}")
    });
    for (name, percent) in [("p95", 95), ("p99", 99)] {
        let (within, told) = (batch.percentile(percent), &window[name]["total"]);
        judgement.expect(told.as_f64().is_some_and(|told| within.fits(told)), || {
            let (least, most) = (within.least, within.most);
            format!(
                "entered: got {name} of total {told} ms in window {index}, expected {least:.3} to \
                 {most:.3}"
            )
        });
    }
}

/// Probes refused as shed work is, after the entry was read and before another breached window.
fn between_breaches(entered: &Edge, line: &Timeline, walk: &Walk) -> u64 {
    let breached = line.batches().filter(|batch| walk.breached(batch));
    let last_us = breached.map(|batch| batch.invoked_us).max().unwrap_or(0);
    let shed = line.probes().filter(|probe| {
        let before = probe
            .returned_us
            .is_some_and(|returned_us| returned_us <= last_us);
        probe.shed() && probe.invoked_us >= entered.latest_us && before
    });
    shed.count() as u64
}

/// Turns that were sent after the entry was read, and served.
fn turns_served(entered: &Edge, line: &Timeline) -> usize {
    let since = line
        .batches()
        .filter(|batch| batch.invoked_us >= entered.latest_us);
    let turns = since.flat_map(|batch| &batch.turns);
    turns.filter(|turn| turn.status == 200).count()
}

/// Each service has counted as many as it refused.
fn counters(seen: &Evidence, judgement: &mut Judgement) {
    for (service, work) in COUNTING.iter().zip(&WORKS) {
        let Some(counted) = seen.counted.get(*service) else {
            judgement.undecided(format!("{service}: its counters were not read twice"));
            continue;
        };
        let of_work = seen.line.probes().filter(|probe| probe.work == *work);
        let refused = of_work.filter(|probe| probe.shed()).count() as u64;
        judgement.expect(counted.refusals() == Some(refused), || {
            let got = counted
                .refusals()
                .map_or("no number".to_owned(), |count| count.to_string());
            let work = work.name();
            format!(
                "{service}: got {got} as the growth of counters.shed, expected {refused} for {work}"
            )
        });
    }
}

/// Whatever is not to be shed is served, before and after.
fn essential(seen: &Evidence, walk: &Walk, judgement: &mut Judgement) {
    for (when, all) in [
        ("before the entry", &seen.before),
        ("while degraded", &seen.during),
    ] {
        for Essential { kind, sent } in all {
            judgement.expect(sent.ok(), || {
                format!("{when}, {kind}: got {}, expected it served", sent.line())
            });
        }
    }
    let turns = seen.line.batches().flat_map(|batch| &batch.turns);
    let turns: Vec<_> = turns.collect();
    let refused: Vec<_> = turns.iter().filter(|turn| turn.status != 200).collect();
    if let Some(first) = refused.first() {
        judgement.violation(format!(
            "over windows {:?}: got {} of {} turns not served (first: {} {}), expected 0",
            walk.windows(),
            refused.len(),
            turns.len(),
            first.status,
            first.code
        ));
    }
}

/// Drives one entry.
///
/// # Errors
/// When the target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let limits = json!({"thresholds": {"total": {"p95": THRESHOLD_MS, "p99": THRESHOLD_MS}}});
    let lane = lane(cx, &limits, Injection::Double).await?;
    let _span = cx.span("windows");
    enter(lane, seen).await?;
    Ok(())
}

async fn enter(lane: Lane, seen: &mut Evidence) -> anyhow::Result<()> {
    let Evidence {
        line,
        before,
        during,
        counted,
    } = seen;
    lane.models.script(one_guarded_call);
    let mut cycle = lane.open(line).await?;
    let at_start = count(&cycle).await;
    cycle.probe(&WORKS).await;
    cycle.inject();
    for window in 1..=BREACH_WINDOWS {
        let expect = (window == BREACH_WINDOWS).then_some(Change::Entered);
        if cycle.turns(WINDOW_TURNS, expect).await? == Went::Silent {
            break;
        }
        if window == 1 {
            cycle.probe(&WORKS).await;
            *before = all(cycle.client(), cycle.session(), "before").await;
        }
    }
    if cycle.turns_until(Change::Entered, BREACH_WINDOWS).await? {
        for _ in 0..ROUNDS {
            cycle.probe(&WORKS).await;
        }
        *during = all(cycle.client(), cycle.session(), "during").await;
        cycle.turns(WINDOW_TURNS, None).await?;
    }
    for (service, after) in count(&cycle).await {
        let before = at_start.get(&service).copied().flatten();
        counted.insert(service, Counted { before, after });
    }
    Ok(())
}

/// What each service says that it has refused.
async fn count(cycle: &Cycle<'_>) -> BTreeMap<String, Option<u64>> {
    let mut counts = BTreeMap::new();
    for service in COUNTING {
        let exchange = cycle.client().send(Ask::get(service, "/status")).await;
        let shed = exchange.answered()["counters"]["shed"].as_u64();
        counts.insert(service.to_owned(), shed);
    }
    counts
}
