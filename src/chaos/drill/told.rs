//! A line for each window, each race and each KILL, made of what was recorded. It says what was
//! seen, and nothing of what it means.

use std::fmt;

use serde_json::Value;

use super::vocabulary::moment;
use super::world::Seen;
use crate::chaos::approvals::round::Round;
use crate::chaos::approvals::{Asked, Verb};
use crate::chaos::bursts::Burst;
use crate::chaos::degrade::{Batch, Change, Step, Timeline};
use crate::chaos::keyed::operations::{Sort, Try};
use crate::chaos::keyed::survival::{Kill, Lane, Subject, second_effects};
use crate::chaos::overlapping_pairs;

/// A line: what it is about, and its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `Window`, `Round`, `Kill`.
    pub verb: &'static str,
    /// The rest.
    pub text: String,
}

/// Remembers how much was told already.
#[derive(Debug, Default)]
pub struct Teller {
    windows: usize,
    rounds: usize,
    kills: usize,
    bursts: usize,
}

/// How far the windows are.
#[derive(Debug, Default)]
struct Windows {
    mode: Mode,
    breaches: u64,
    healthy: u64,
    injected_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Normal,
    Degraded,
    Recovering,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Degraded => "degraded",
            Self::Recovering => "recovering",
        })
    }
}

impl Teller {
    /// What is new since the last time.
    pub(super) fn lines(&mut self, seen: &Seen<'_>) -> Vec<Line> {
        let Seen {
            line,
            rounds,
            lanes,
            book,
        } = seen;
        let windows = windows(line);
        let kills: Vec<Line> = lanes.iter().flat_map(kill_lines).collect();
        let races = rounds.iter().enumerate().map(|(index, round)| Line {
            verb: "Round",
            text: round_line(index + 1, round),
        });
        let races: Vec<Line> = races.collect();
        let new = |all: Vec<Line>, told: &mut usize| {
            let fresh = all[(*told).min(all.len())..].to_vec();
            *told = all.len();
            fresh
        };
        let mut lines = new(windows, &mut self.windows);
        lines.extend(new(races, &mut self.rounds));
        lines.extend(new(kills, &mut self.kills));
        let bursts = book.bursts.iter().enumerate().map(burst_line);
        lines.extend(new(bursts.collect(), &mut self.bursts));
        lines
    }
}

/// Every window and change of mode. From the beginning each time: a read that found nothing goes on
/// as the same step, and may find something later.
fn windows(line: &Timeline) -> Vec<Line> {
    let (mut windows, mut lines) = (Windows::default(), Vec::new());
    for step in &line.steps {
        match step {
            Step::Batch(batch) => windows.injected_ms = held_ms(batch),
            Step::Read(read) => {
                let events = read.events.iter();
                lines.extend(events.filter_map(|event| windows.event(&event.kind, &event.data)));
            }
            _ => {}
        }
    }
    lines
}

fn burst_line((index, burst): (usize, &Burst)) -> Line {
    let acknowledged = burst.writes.iter().filter(|sent| sent.ok()).count();
    let there = burst.reads.iter().filter(|sent| sent.ok()).count();
    let open = burst.writes.iter().filter(|sent| !sent.answered()).count();
    let when = match burst.killed {
        true => "in mid-burst",
        false => "after the burst",
    };
    Line {
        verb: "Kill",
        text: format!(
            "{:>3}  {when}  {acknowledged} acknowledged before, {open} in flight  {there} read after it",
            index + 1
        ),
    }
}

fn kill_lines(lane: &Lane) -> Vec<Line> {
    let line = |index| Line {
        verb: "Kill",
        text: kill_line(index, lane),
    };
    (0..lane.kills.len()).map(line).collect()
}

impl Windows {
    fn event(&mut self, kind: &str, data: &Value) -> Option<Line> {
        let (verb, text) = match kind {
            "slo.window" => ("Window", self.window(data)),
            _ if kind == Change::Entered.event() => {
                self.mode = Mode::Degraded;
                let reason = data["reason"].as_str().unwrap_or("no reason");
                ("Entered", reason.to_owned())
            }
            _ if kind == Change::Exited.event() => {
                self.mode = Mode::Normal;
                let time = data["time_in_degrade"].as_f64().unwrap_or(0.0);
                ("Exited", format!("after {time:.2} s in degrade mode"))
            }
            _ => return None,
        };
        Some(Line { verb, text })
    }

    fn window(&mut self, data: &Value) -> String {
        let class = data["class"].as_str().unwrap_or("?");
        match class {
            "breach" => (self.breaches, self.healthy) = (self.breaches + 1, 0),
            "healthy" => (self.breaches, self.healthy) = (0, self.healthy + 1),
            _ => {}
        }
        self.mode = match (self.mode, class) {
            (Mode::Degraded, "healthy") => Mode::Recovering,
            (Mode::Recovering, "breach") => Mode::Degraded,
            (mode, _) => mode,
        };
        let number = |name: &str| data[name].as_u64().unwrap_or(0);
        let ms = |name: &str| data[name]["total"].as_f64().unwrap_or(0.0);
        format!(
            "{:>3}  injected {:>4} ms  p95 {:>7.1} ms  p99 {:>7.1} ms  {} samples  {class:<7}  \
             {:<10}  {} breached, {} healthy in a row",
            number("index"),
            self.injected_ms,
            ms("p95"),
            ms("p99"),
            number("samples"),
            self.mode.to_string(),
            self.breaches,
            self.healthy,
        )
    }
}

/// What the double or the link held every turn of a batch for, at least.
pub(super) fn held_ms(batch: &Batch) -> u64 {
    let held = batch.model_calls.iter();
    let least = held.map(|(at, out)| out.saturating_sub(*at) / 1000).min();
    // Less than this is no injection, but the double doing its work.
    let held = least.filter(|ms| *ms >= 50).unwrap_or(0);
    held + batch.wire_delay_ms
}

fn round_line(number: usize, round: &Round) -> String {
    let won: Vec<String> = round
        .race
        .iter()
        .filter(|asked| asked.won())
        .map(|asked| format!("{} by {}", asked.verb.verdict(), asked.actor))
        .collect();
    let won = match won.as_slice() {
        [] => "nobody won".to_owned(),
        winners => winners.join(", "),
    };
    let conflicts = round.race.iter().filter(|asked| asked.status == 409);
    let intervals: Vec<_> = round.race.iter().filter_map(Asked::interval).collect();
    let approvals = round
        .race
        .iter()
        .filter(|asked| asked.verb == Verb::Approve);
    let runs = match &round.runs {
        Some(runs) => runs.len().to_string(),
        None => "unknown".to_owned(),
    };
    format!(
        "{number:>3}  {:<13}  {:>2} racers ({} to approve)  {won}  {} conflicts  {runs} executions  \
         {} overlapping pairs",
        round.decision.route.to_string(),
        round.race.len(),
        approvals.count(),
        conflicts.count(),
        overlapping_pairs(&intervals),
    )
}

fn kill_line(index: usize, lane: &Lane) -> String {
    let kill = &lane.kills[index];
    let own: Vec<&Subject> = lane
        .subjects
        .iter()
        .filter(|subject| subject.cut == Some(index))
        .collect();
    let inside = own
        .iter()
        .filter(|subject| subject.inside(kill, &lane.backends.of(&subject.asked)))
        .count();
    let acknowledged: Vec<&Subject> = lane
        .subjects
        .iter()
        .filter(|subject| acknowledged(subject, kill))
        .collect();
    let back = |subjects: &[&Subject]| {
        let came = |subject: &&&Subject| came_back(subject, kill);
        subjects.iter().filter(came).count()
    };
    let effects: u64 = own
        .iter()
        .map(|subject| second_effects(&lane.backends.of(&subject.asked)))
        .sum();
    let ready = match kill.ready_us {
        Some(ready_us) => format!(
            "ready after {} ms",
            ready_us.saturating_sub(kill.killed_us) / 1000
        ),
        None => "not ready again".to_owned(),
    };
    format!(
        "{:>3}  {:<10}  {} in flight, {inside} cut  {} acknowledged before, {} came back  {} of the \
         cut answered from the store, {effects} second effects  {ready}",
        index + 1,
        moment(kill.moment),
        own.len(),
        acknowledged.len(),
        back(&acknowledged),
        back(&own),
    )
}

/// Whether the client had an answer of an execution before the KILL.
fn acknowledged(subject: &Subject, kill: &Kill) -> bool {
    let before = |entry: &&Try| entry.returned_us.is_some_and(|at| at < kill.killed_us);
    let mut answered = subject.asked.tries.iter().filter(before);
    answered.any(|entry| subject.asked.succeeded(entry))
}

/// Whether a repeat after the KILL was answered from the store.
fn came_back(subject: &Subject, kill: &Kill) -> bool {
    subject.asked.tries.iter().any(|entry| {
        let repeat = entry.sort == Sort::Repeat && entry.invoked_us > kill.killed_us;
        repeat && entry.replayed && subject.asked.succeeded(entry)
    })
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
