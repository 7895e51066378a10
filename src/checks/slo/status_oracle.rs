//! What the status route should have said, read by read.
//!
//! Moments are the states between two windows, each with the earliest and latest time of its
//! beginning. A read that lies between two beginnings has one right answer, one that overlaps a
//! beginning has several.

use serde_json::{Map, Value};

use super::walk::counts;
use crate::chaos::degrade::machine::step;
use crate::chaos::degrade::timeline::{Batch, Event, Read, Status, Step, Timeline, Work};
use crate::chaos::degrade::{Change, Class, Count, Mode, Rules, State};

/// The target's clock and ours may differ by so much, in microseconds.
const CLOCK_SLACK_US: u64 = 20_000;
/// Wrong fields of one read that are told.
const TOLD: usize = 3;
/// Violations that are told; what follows from them is not.
const TOLD_IN_ALL: usize = 12;

/// What reading the status came to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Reads with credentials that were compared.
    pub(super) statuses: u64,
    /// Modes that were surely the right answer of some read.
    pub(super) modes: Vec<&'static str>,
    /// Whether the history was longer than its limit at some read.
    pub(super) overflows: u64,
    /// Pairs of v3 and v1 that were compared.
    pub(super) equal: u64,
    /// What contradicts the oracle.
    pub(super) violations: Vec<String>,
    /// The longest time in degrade that was told and right, in seconds.
    pub(super) longest_s: f64,
    /// Reads without credentials that were refused.
    pub(super) refused: u64,
}

/// The oracle between two windows.
#[derive(Debug, Clone)]
struct Moment<'a> {
    state: State,
    earliest_us: u64,
    latest_us: u64,
    /// The breached windows so far, oldest first.
    breaches: Vec<&'a Value>,
    /// The index of the last window, when there was one.
    index: Option<u64>,
    /// When the current degradation began, at the earliest and at the latest.
    entered_us: Option<(u64, u64)>,
    /// Turns in all windows so far.
    sampled: u64,
}

/// The oracle over a whole timeline.
struct Oracle<'a> {
    moments: Vec<Moment<'a>>,
    /// The reasons of the `entered` events, in order.
    reasons: Vec<&'a Value>,
    line: &'a Timeline,
    breach_windows: u32,
    recover_windows: u32,
    history_limit: usize,
    strange: Vec<String>,
}

/// Compares every status read of the timeline.
pub(super) fn look(line: &Timeline, slo: &Value) -> Looked {
    let oracle = Oracle::new(line, slo);
    let mut looked = Looked {
        violations: oracle.strange.clone(),
        ..Looked::default()
    };
    let mut last: Option<(&Status, bool)> = None;
    for status in line.statuses() {
        if !status.credentials {
            match status.status {
                401 => looked.refused += 1,
                got => looked.violations.push(format!(
                    "{} without credentials: got {got}, expected 401",
                    status.path
                )),
            }
            continue;
        }
        if status.status != 200 {
            looked.violations.push(format!(
                "{}: got {}, expected 200",
                status.path, status.status
            ));
            continue;
        }
        let quiet = oracle.compare(status, &mut looked);
        if let Some((before, was_quiet)) = last {
            pair(before, status, quiet && was_quiet, &mut looked);
        }
        last = Some((status, quiet));
    }
    generation(line, &mut looked);
    let more = looked.violations.len().saturating_sub(TOLD_IN_ALL);
    if more > 0 {
        looked.violations.truncate(TOLD_IN_ALL);
        looked.violations.push(format!("and {more} more"));
    }
    looked
}

/// Two reads in a row: the twins say the same but for times, and time passes as it does here.
fn pair(before: &Status, after: &Status, quiet: bool, looked: &mut Looked) {
    if quiet && before.path != after.path && before.path.starts_with("/v3") {
        looked.equal += 1;
        let (v3, v1) = (timeless(&before.body), timeless(&after.body));
        if v3 != v1 {
            let keys = differing(&v3, &v1).join(", ");
            looked.violations.push(format!(
                "v1 and v3 differ in {keys}, expected only times to differ"
            ));
        }
    }
    let begun = |status: &Status| status.body["current_mode"].as_str() != Some("normal");
    let (told, now) = (time(&before.body), time(&after.body));
    // Of two reads that overlap, either may have been answered first.
    let passed_us = before
        .returned_us
        .and_then(|returned_us| after.invoked_us.checked_sub(returned_us));
    if let (Some(told), Some(now), Some(passed_us)) = (told, now, passed_us) {
        let least = told + seconds(passed_us) - seconds(CLOCK_SLACK_US);
        if begun(before) && begun(after) && now < least {
            looked.violations.push(format!(
                "time_in_degrade went from {told:.3} to {now:.3} s in {:.3} s, expected {least:.3} s or more",
                seconds(passed_us)
            ));
        }
    }
}

fn time(body: &Value) -> Option<f64> {
    body["time_in_degrade"].as_f64()
}

/// Nobody edits the config in this drive.
fn generation(line: &Timeline, looked: &mut Looked) {
    let reads = line
        .statuses()
        .filter(|status| status.status == 200 && status.credentials);
    let mut generations: Vec<&Value> = reads
        .map(|status| &status.body["config_generation"])
        .collect();
    generations.dedup();
    let number = generations.iter().all(|generation| generation.is_u64());
    if generations.len() > 1 || !number {
        looked.violations.push(format!(
            "config_generation: got {generations:?}, expected one number throughout"
        ));
    }
}

/// The body without its times and its correlation id.
fn timeless(body: &Value) -> Map<String, Value> {
    let mut body = body.as_object().cloned().unwrap_or_default();
    body.remove("time_in_degrade");
    body.remove("correlation_id");
    if let Some(window) = body.get_mut("window").and_then(Value::as_object_mut) {
        window.remove("age_ms");
    }
    body
}

fn differing(one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<String> {
    let keys = one
        .keys()
        .chain(other.keys().filter(|key| !one.contains_key(*key)));
    keys.filter(|key| one.get(*key) != other.get(*key))
        .cloned()
        .collect()
}

impl<'a> Oracle<'a> {
    fn new(line: &'a Timeline, slo: &Value) -> Oracle<'a> {
        let (breach_windows, recover_windows) = counts(slo);
        let limit = slo["history_limit"].as_u64().unwrap_or(200);
        let mut oracle = Oracle {
            moments: vec![Moment::start()],
            reasons: Vec::new(),
            line,
            strange: Vec::new(),
            breach_windows,
            recover_windows,
            history_limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        // Turns that are in no window yet, and when the next window can close at the earliest.
        let (mut open, mut earliest_us) = (0, 0);
        for step in &line.steps {
            match step {
                Step::Started {
                    from_us, ready_us, ..
                } => {
                    (oracle.moments[0].earliest_us, oracle.moments[0].latest_us) =
                        (*from_us, *ready_us);
                }
                Step::Batch(batch) => {
                    open += batch.turns.len() as u64;
                    earliest_us = closes(batch, open);
                }
                Step::Read(read) => {
                    for event in &read.events {
                        open = open.saturating_sub(oracle.event(event, earliest_us, read));
                    }
                }
                _ => {}
            }
        }
        oracle
    }

    /// Takes an event; answers how many samples it closed over.
    fn event(&mut self, event: &'a Event, earliest_us: u64, read: &Read) -> u64 {
        if event.kind == "slo.degrade.entered" {
            self.reasons.push(&event.data["reason"]);
        }
        if event.kind != "slo.window" {
            return 0;
        }
        let class = match event.data["class"].as_str() {
            Some("breach") => Class::Breach,
            Some("healthy") => Class::Healthy,
            // Neutral windows are not announced: any other word is not of the contract.
            other => {
                self.strange.push(format!(
                    "slo.window of class {other:?}, expected breach or healthy"
                ));
                Class::Neutral
            }
        };
        let rules = Rules {
            breach: Count::At(self.breach_windows),
            recover: Count::At(self.recover_windows),
        };
        let mut next = self
            .moments
            .last()
            .expect("there is a first moment")
            .clone();
        let (state, change) = step(next.state, class, rules)[0];
        next.state = state;
        (next.earliest_us, next.latest_us) = (earliest_us, read.returned_us);
        match change {
            Some(Change::Entered) => next.entered_us = Some((earliest_us, read.returned_us)),
            Some(Change::Exited) => next.entered_us = None,
            None => {}
        }
        if class == Class::Breach {
            next.breaches.push(&event.data);
        }
        next.index = event.data["index"].as_u64();
        let samples = event.data["samples"].as_u64().unwrap_or(0);
        next.sampled += samples;
        self.moments.push(next);
        samples
    }

    /// Compares one read. True when nothing else went on meanwhile.
    fn compare(&self, status: &Status, looked: &mut Looked) -> bool {
        let returned_us = status.returned_us.unwrap_or(u64::MAX);
        let last = self
            .moments
            .iter()
            .rposition(|moment| moment.earliest_us <= returned_us);
        let first = self
            .moments
            .iter()
            .rposition(|moment| moment.latest_us <= status.invoked_us);
        let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
        looked.statuses += 1;
        let wrongs = (first..=last).map(|at| (at, self.wrong(&self.moments[at], status)));
        let Some((at, wrong)) = wrongs.min_by_key(|(_, wrong)| wrong.len()) else {
            return false;
        };
        let moment = &self.moments[at];
        for text in wrong.iter().take(TOLD) {
            let (path, mode) = (&status.path, moment.state.mode.name());
            looked
                .violations
                .push(format!("{path} at window {at}, {mode}: {text}"));
        }
        let quiet = first == last && !self.overlapped(status);
        if !wrong.is_empty() {
            return quiet;
        }
        if first == last {
            let mode = moment.state.mode.name();
            if !looked.modes.contains(&mode) {
                looked.modes.push(mode);
            }
            if moment.breaches.len() > self.history_limit {
                looked.overflows += 1;
            }
        }
        let told = status.body["time_in_degrade"].as_f64().unwrap_or(0.0);
        looked.longest_s = looked.longest_s.max(told);
        quiet
    }

    fn overlapped(&self, status: &Status) -> bool {
        let returned_us = status.returned_us.unwrap_or(u64::MAX);
        let mut batches = self.line.batches();
        batches.any(|batch| batch.invoked_us < returned_us && batch.returned_us > status.invoked_us)
    }

    /// What the body says otherwise than this moment, each with got and expected.
    fn wrong(&self, moment: &Moment<'_>, status: &Status) -> Vec<String> {
        let body = &status.body;
        let state = moment.state;
        let mut wrong = Vec::new();
        let mut field = |name: &str, got: &Value, holds: bool, expected: String| {
            if !holds {
                wrong.push(format!("{name}: got {got}, expected {expected}"));
            }
        };
        let mode = state.mode.name();
        let got = &body["current_mode"];
        field("current_mode", got, got == mode, mode.to_owned());
        let clear = state.mode == Mode::Recovering;
        let got = &body["clear_to_recover"];
        field("clear_to_recover", got, *got == clear, clear.to_string());
        for (name, expected) in [
            ("breach_threshold", self.breach_windows),
            ("recover_threshold", self.recover_windows),
        ] {
            let got = &body[name];
            field(name, got, *got == expected, expected.to_string());
        }
        for (name, expected) in [
            ("consecutive_breach", breaches(state, self.breach_windows)),
            ("consecutive_healthy", healthy(state, self.recover_windows)),
        ] {
            let got = &body[name];
            let holds = expected.iter().any(|expected| *got == *expected);
            field(name, got, holds, format!("{}", expected[0]));
        }
        let (holds, expected) = self.time_fits(moment, status);
        field("time_in_degrade", &body["time_in_degrade"], holds, expected);
        let (holds, expected) = self.reason_fits(moment, &body["degrade_reason"]);
        field("degrade_reason", &body["degrade_reason"], holds, expected);
        let (got, expected) = (history(&body["breach_history"]), self.history(moment));
        let holds = got == expected && body["breach_history"].is_array();
        field(
            "breach_history",
            &brief(&got),
            holds,
            brief(&expected).to_string(),
        );
        for (name, got, holds, expected) in self.window_and_shed(moment, status) {
            field(&name, &got, holds, expected);
        }
        wrong
    }

    fn time_fits(&self, moment: &Moment<'_>, status: &Status) -> (bool, String) {
        let told = status.body["time_in_degrade"].as_f64();
        let Some((earliest_us, latest_us)) = moment.entered_us else {
            return (told == Some(0.0), "0".to_owned());
        };
        let returned_us = status.returned_us.unwrap_or(u64::MAX);
        let least = status
            .invoked_us
            .saturating_sub(latest_us)
            .saturating_sub(CLOCK_SLACK_US);
        let most = returned_us.saturating_sub(earliest_us) + CLOCK_SLACK_US;
        let (least, most) = (seconds(least), seconds(most));
        let holds = told.is_some_and(|told| (least..=most).contains(&told));
        (holds, format!("{least:.3} to {most:.3}"))
    }

    fn reason_fits(&self, moment: &Moment<'_>, got: &Value) -> (bool, String) {
        if moment.entered_us.is_none() {
            return (got.is_null(), "null".to_owned());
        }
        let times = self
            .moments
            .iter()
            .filter(|other| other.earliest_us <= moment.earliest_us);
        let entered: std::collections::BTreeSet<_> =
            times.filter_map(|moment| moment.entered_us).collect();
        let said = entered
            .len()
            .checked_sub(1)
            .and_then(|at| self.reasons.get(at));
        let holds = match said {
            Some(reason) => got == *reason,
            None => got.as_str().is_some_and(|reason| !reason.is_empty()),
        };
        (
            holds,
            said.map_or("a reason".to_owned(), ToString::to_string),
        )
    }

    /// The last breached windows, as the history should have them.
    fn history(&self, moment: &Moment<'_>) -> Vec<Value> {
        let from = moment.breaches.len().saturating_sub(self.history_limit);
        moment.breaches[from..]
            .iter()
            .map(|window| entry(window))
            .collect()
    }

    /// The open window and the counters of what was shed.
    fn window_and_shed(
        &self,
        moment: &Moment<'_>,
        status: &Status,
    ) -> Vec<(String, Value, bool, String)> {
        let returned_us = status.returned_us.unwrap_or(u64::MAX);
        let window = &status.body["window"];
        let mut fields = Vec::new();
        if let Some(index) = moment.index {
            let got = &window["index"];
            fields.push((
                "window.index".into(),
                got.clone(),
                *got == index + 1,
                (index + 1).to_string(),
            ));
        }
        let turns = || self.line.batches().flat_map(|batch| &batch.turns);
        let ended =
            turns().filter(|turn| turn.returned_us.is_some_and(|at| at <= status.invoked_us));
        let begun = turns().filter(|turn| turn.invoked_us <= returned_us);
        let least = (ended.count() as u64).saturating_sub(moment.sampled);
        let most = (begun.count() as u64).saturating_sub(moment.sampled);
        let got = &window["samples"];
        let holds = got
            .as_u64()
            .is_some_and(|got| (least..=most).contains(&got));
        fields.push((
            "window.samples".into(),
            got.clone(),
            holds,
            between(least, most),
        ));
        let most = returned_us.saturating_sub(moment.earliest_us) + CLOCK_SLACK_US;
        let got = &window["age_ms"];
        let holds = got
            .as_f64()
            .is_some_and(|age| (0.0..=most as f64 / 1e3).contains(&age));
        fields.push((
            "window.age_ms".into(),
            got.clone(),
            holds,
            format!("0 to {}", most / 1000),
        ));
        for work in [Work::VisionFrame, Work::MemoryWriteLow] {
            let refused = || {
                self.line
                    .probes()
                    .filter(move |probe| probe.work == work && probe.shed())
            };
            let before = refused()
                .filter(|probe| probe.returned_us.is_some_and(|at| at <= status.invoked_us));
            let until = refused().filter(|probe| probe.invoked_us <= returned_us);
            let (least, most) = (before.count() as u64, until.count() as u64);
            let got = &status.body["shed"][work.name()];
            let holds = got
                .as_u64()
                .is_some_and(|got| (least..=most).contains(&got));
            fields.push((
                format!("shed.{}", work.name()),
                got.clone(),
                holds,
                between(least, most),
            ));
        }
        fields
    }
}

impl Moment<'_> {
    fn start() -> Self {
        Moment {
            state: State::START,
            earliest_us: 0,
            latest_us: 0,
            breaches: Vec::new(),
            index: None,
            entered_us: None,
            sampled: 0,
        }
    }
}

/// When the window that a batch fills can have closed at the earliest.
fn closes(batch: &Batch, open: u64) -> u64 {
    if open == batch.turns.len() as u64 {
        batch.released_us()
    } else {
        batch.invoked_us
    }
}

/// The run of breaches. While not normal a machine may stop counting at its threshold.
fn breaches(state: State, threshold: u32) -> Vec<u32> {
    match state.mode {
        Mode::Normal => vec![state.breaches],
        _ => vec![state.breaches, state.breaches.min(threshold)],
    }
}

/// The run of healthy windows. While normal nothing is counted by it: it may also be 0.
fn healthy(state: State, threshold: u32) -> Vec<u32> {
    match state.mode {
        Mode::Normal => vec![state.healthy, 0, state.healthy.min(threshold)],
        _ => vec![state.healthy],
    }
}

/// What an entry of the history has in common with its event.
fn entry(window: &Value) -> Value {
    let keys = ["index", "samples", "p95", "p99"];
    keys.into_iter()
        .map(|key| (key.to_owned(), window[key].clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// A history for a message: index and total p95 of each entry.
fn brief(history: &[Value]) -> Value {
    let entry = |entry: &Value| format!("#{} p95 {}", entry["index"], entry["p95"]["total"]);
    history.iter().map(entry).collect()
}

fn between(least: u64, most: u64) -> String {
    match most - least {
        0 => least.to_string(),
        _ => format!("{least} to {most}"),
    }
}

fn history(told: &Value) -> Vec<Value> {
    told.as_array().into_iter().flatten().map(entry).collect()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
