//! What a whole timeline says beside its modes: how long degrade mode lasted, and what did not
//! happen although it had all the time that it can ask for.

use super::Change;
use super::lane::{LEAST_BOUND, PATIENCE, WINDOW_TURNS};
use super::timeline::{Speed, Step, Timeline};
use super::walk::{LEAST_BOUND_US, Walk};
use crate::chaos::Judgement;

/// The target's clock and ours may differ by so much, in seconds: rounding, and a clock being set.
const CLOCK_SLACK_S: f64 = 0.02;

impl Walk {
    /// Each exit: the time in degrade that it tells, and what the harness's own times allow,
    /// all in seconds.
    pub fn stays(&self) -> Vec<Stay> {
        let pairs = self.edges.windows(2);
        pairs
            .filter(|pair| (pair[0].change, pair[1].change) == (Change::Entered, Change::Exited))
            .map(|pair| Stay {
                told: pair[1].data["time_in_degrade"].as_f64(),
                least: seconds(pair[1].earliest_us.saturating_sub(pair[0].latest_us))
                    - CLOCK_SLACK_S,
                most: seconds(pair[1].latest_us.saturating_sub(pair[0].earliest_us))
                    + CLOCK_SLACK_S,
            })
            .collect()
    }

    /// What contradicts the claim that every exit tells how long it lasted.
    pub fn wrong_stays(&self) -> impl Iterator<Item = String> {
        self.stays()
            .into_iter()
            .filter(|stay| !stay.fits())
            .map(|stay| {
                let Stay { told, least, most } = stay;
                let told = told.map_or("none".to_owned(), |told| format!("{told:.3}"));
                format!("exited: got time_in_degrade {told} s, expected {least:.3} to {most:.3}")
            })
    }

    /// Why it is wrong that degrade mode was never entered, or why that is not known.
    pub fn never_entered(&self, line: &Timeline, breach_windows: u32) -> Option<Verdict> {
        if self.count(Change::Entered) > 0 {
            return None;
        }
        let needed = (PATIENCE * WINDOW_TURNS) as u64 * u64::from(breach_windows);
        let (turns, watched_ms) = (self.slow_turns, span_us(line) / 1000);
        let text = format!(
            "got no {} after {turns} turns over {:.0} ms and {watched_ms} ms, expected it after \
             {breach_windows} windows",
            Change::Entered.event(),
            self.threshold_ms
        );
        let surely = turns >= needed && watched_ms * 1000 >= LEAST_BOUND_US;
        Some(if surely {
            Verdict::Wrong(text)
        } else {
            Verdict::Unknown(text)
        })
    }

    /// Why it is wrong that the target stayed degraded without latency, or why that is not known.
    pub fn never_exited(&self, line: &Timeline, recover_windows: usize) -> Option<Verdict> {
        let entered = self
            .edges
            .last()
            .filter(|edge| edge.change == Change::Entered)?;
        let since = line
            .batches()
            .filter(|batch| batch.invoked_us >= entered.latest_us);
        let fast: Vec<_> = since
            .filter(|batch| self.speed(batch) == Speed::Fast)
            .collect();
        let turns: usize = fast.iter().map(|batch| batch.turns.len()).sum();
        let (first, last) = (fast.first(), fast.last());
        let from_us = first.map_or(0, |batch| batch.invoked_us);
        let time_us = last
            .map_or(0, |batch| batch.returned_us)
            .saturating_sub(from_us);
        let text = format!(
            "got no {} after {turns} quick turns and {} ms, expected it unaided",
            Change::Exited.event(),
            time_us / 1000
        );
        let enough = turns >= PATIENCE * recover_windows * WINDOW_TURNS;
        let surely = enough && time_us >= LEAST_BOUND.as_micros() as u64;
        Some(if surely {
            Verdict::Wrong(text)
        } else {
            Verdict::Unknown(text)
        })
    }
}

/// What an absence comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It had all the time it can ask for.
    Wrong(String),
    /// It had not.
    Unknown(String),
}

impl Verdict {
    /// With the name of the target in front.
    pub fn prefixed(self, name: &str) -> Verdict {
        match self {
            Verdict::Wrong(text) => Verdict::Wrong(format!("{name}: {text}")),
            Verdict::Unknown(text) => Verdict::Unknown(format!("{name}: {text}")),
        }
    }

    /// Enters it into a judgement.
    pub fn tell(self, judgement: &mut Judgement) {
        match self {
            Verdict::Wrong(text) => judgement.violation(text),
            Verdict::Unknown(text) => judgement.undecided(text),
        }
    }
}

/// How long degrade mode lasted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stay {
    /// What the exit told.
    pub told: Option<f64>,
    /// What the recorded times allow at least.
    pub least: f64,
    /// At most.
    pub most: f64,
}

impl Stay {
    fn fits(self) -> bool {
        self.told
            .is_some_and(|told| (self.least..=self.most).contains(&told))
    }
}

/// From the first batch to the last read, in microseconds.
fn span_us(line: &Timeline) -> u64 {
    let first = line.batches().next().map_or(0, |batch| batch.invoked_us);
    let last = line.steps.iter().rev().find_map(|step| match step {
        Step::Read(read) => Some(read.returned_us),
        _ => None,
    });
    last.unwrap_or(first).saturating_sub(first)
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
