//! Reads a timeline by the specification: which windows were certainly breached or healthy, which
//! modes that leaves possible, and where events and shed probes contradict all of them.
//!
//! Windows are judged by times of the harness. Where those do not say, the window's own class
//! counts: what a target does has to fit at least its own words.
//!
//! A batch that is alone in its window is read by its percentiles, any other only when all of its
//! turns were slow or all were fast.

use serde_json::Value;

use super::in_force::{InForce, RulesOf};
use super::machine::{DEFAULT_BREACH_WINDOWS, DEFAULT_RECOVER_WINDOWS};
use super::timeline::{Batch, Probe, Read, Speed, Step, Timeline};
use super::{Change, Class, Count, Possible, Rules, Work};

/// How long something that must happen may take, in microseconds.
pub const LEAST_BOUND_US: u64 = 2_000_000;
/// Looks within that time; fewer, and it was the harness that did not run.
const LEAST_LOOKS: u32 = 20;
/// Violations of one timeline that are told; the others follow from them.
const TOLD: usize = 6;

/// A change of mode, and when it can have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Which.
    pub change: Change,
    /// Not before.
    pub earliest_us: u64,
    /// Not after.
    pub latest_us: u64,
    /// What its event says.
    pub data: Value,
}

/// What a timeline comes to.
#[derive(Debug)]
pub struct Walk {
    /// What contradicts every sequence of modes that is possible.
    pub violations: Vec<String>,
    /// What did not come, and was not waited for long enough.
    pub undecided: Vec<String>,
    /// The changes of mode, in order.
    pub edges: Vec<Edge>,
    /// One letter a window (`B`reach, `H`ealthy, `?` either) and between them what happened: `>`
    /// entered, `<` exited, `x` shed probe refused, `o` served, `K` killed.
    pub story: String,
    /// Turns in batches that were certainly slow.
    pub slow_turns: u64,
    /// Turns in batches that were certainly fast.
    pub fast_turns: u64,
    /// Probes refused while not normal.
    pub refused: u64,
    /// Probes served while normal.
    pub served: u64,
    /// Windows whose class is certain and which the target calls something else.
    pub misread: Vec<String>,
    possible: Possible,
    /// What is in force, as the settings and their edits say.
    pub in_force: InForce,
    /// What a turn may take, by the config that was in force.
    pub threshold_ms: f64,
    self_probe: bool,
    /// What closes a window: its samples, when not 0, and its time.
    full: u64,
    window_us: u64,
    /// Turns of the last batch that are samples for certain.
    sampled: u64,
    /// Turns hang, and nothing else is under way: every sample is past its limit.
    hanging: bool,
    /// The class of the pending turns as one window, when they are one batch.
    alone: Option<Class>,
    pending: Pending,
    /// Windows and changes since the last settling.
    fresh: Fresh,
    /// Which work was answered rightly since the last change of mode, and wrong answers since.
    lag: Vec<(Work, Lag)>,
}

/// Turns that may be samples of the next window.
#[derive(Debug, Default, Clone, Copy)]
struct Pending {
    slow: u64,
    fast: u64,
    either: u64,
    /// Before this no such turn can have ended.
    earliest_us: u64,
    /// When the last of them was back.
    returned_us: u64,
}

impl Pending {
    fn all(self) -> u64 {
        self.slow + self.fast + self.either
    }
}

#[derive(Debug, Default)]
struct Fresh {
    windows: Vec<Vec<Class>>,
    letters: String,
    changes: Vec<Change>,
    /// Looks at the log since the last turn returned, and when the last of them was over.
    looks: u32,
    looked_us: u64,
}

#[derive(Debug, Default, Clone)]
struct Lag {
    right: bool,
    wrong: Option<Probe>,
}

impl Walk {
    /// Reads a timeline with these counts.
    pub fn read(line: &Timeline, rules: Rules) -> Walk {
        Walk::follow(line, rules, &|_| rules)
    }

    /// Reads a timeline with the counts that its own settings give, edits included. `rules` are
    /// those until it is started.
    pub fn follow(line: &Timeline, rules: Rules, rules_of: RulesOf) -> Walk {
        let mut walk = Walk {
            violations: Vec::new(),
            undecided: Vec::new(),
            edges: Vec::new(),
            story: String::new(),
            slow_turns: 0,
            fast_turns: 0,
            refused: 0,
            served: 0,
            misread: Vec::new(),
            possible: Possible::start(rules),
            in_force: InForce::default(),
            threshold_ms: f64::INFINITY,
            self_probe: true,
            full: 0,
            window_us: 0,
            sampled: 0,
            hanging: false,
            alone: None,
            pending: Pending::default(),
            fresh: Fresh::default(),
            lag: Vec::new(),
        };
        for step in &line.steps {
            walk.step(step, rules_of);
        }
        walk.settle();
        walk.end_lag();
        walk.violations.truncate(TOLD);
        walk
    }

    /// How often the mode changed so.
    pub fn count(&self, change: Change) -> u64 {
        self.edges
            .iter()
            .filter(|edge| edge.change == change)
            .count() as u64
    }

    /// After how many healthy windows in a row each exit came, where every window was certain.
    pub fn healthy_before_exits(&self) -> Vec<usize> {
        let windows = self.windows().replace('K', "");
        let parts: Vec<&str> = windows.split('<').collect();
        let (_, before) = parts.split_last().unwrap_or((&"", &[]));
        let runs = before
            .iter()
            .filter_map(|part| part.rsplit(['B', '>']).next());
        let certain = runs.filter(|run| !run.contains('?'));
        certain.map(str::len).collect()
    }

    /// How a batch stands to the threshold.
    pub fn speed(&self, batch: &Batch) -> Speed {
        batch.speed(self.threshold_ms)
    }

    /// Whether a window of exactly these turns was certainly breached.
    pub fn breached(&self, batch: &Batch) -> bool {
        self.in_force.class(batch) == Some(Class::Breach)
    }

    /// The story without the probes.
    pub fn windows(&self) -> String {
        self.story.replace(['x', 'o'], "")
    }

    fn step(&mut self, step: &Step, rules_of: RulesOf) {
        match step {
            Step::Started { slo, from_us, .. } => {
                self.pending.earliest_us = *from_us;
                self.in_force.started(slo, rules_of);
                self.threshold_ms = slo["thresholds"]["total"]["p95"].as_f64().unwrap_or(8000.0);
                self.full = slo["window_max_samples"].as_u64().unwrap_or(0);
                self.window_us = slo["window_ms"].as_u64().unwrap_or(10_000) * 1000;
                self.self_probe = slo["self_probe"].as_bool().unwrap_or(true);
            }
            Step::Killed { .. } => {
                self.settle();
                self.end_lag();
                // The samples of the open window were in memory only.
                self.pending = Pending::default();
                self.story.push('K');
            }
            Step::Batch(batch) => {
                self.settle();
                self.end_lag();
                self.batch(batch);
            }
            Step::Read(read) => self.events(read),
            Step::Probe(probe) => {
                self.settle();
                self.probe(probe);
            }
            Step::Hanging(hanging) => {
                self.settle();
                self.hanging = self.pending.all() == 0;
                self.pending.earliest_us = hanging.invoked_us;
                self.pending.returned_us = hanging.held_us;
            }
            Step::Edit(edit) => {
                self.settle();
                self.in_force.edited(edit, rules_of);
            }
            Step::Effective(look) => self.in_force.looked(look),
            Step::Status(_) => {}
        }
    }

    fn batch(&mut self, batch: &Batch) {
        self.in_force.batch();
        let rules = self.in_force.rules();
        if !rules.is_empty() {
            self.possible.under(rules);
        }
        let certain = self.in_force.certain();
        self.threshold_ms = self.in_force.threshold_ms().unwrap_or(self.threshold_ms);
        self.hanging = false;
        let free = self.pending.all() == 0;
        self.alone = free.then(|| self.in_force.class(batch)).flatten();
        let turns = batch.turns.len() as u64;
        self.sampled = if batch.all_sampled() { turns } else { 0 };
        let speed = if certain {
            self.speed(batch)
        } else {
            Speed::Either
        };
        match speed {
            Speed::Slow => {
                self.slow_turns += turns;
                self.pending.slow += turns;
            }
            Speed::Fast => {
                self.fast_turns += turns;
                self.pending.fast += turns;
            }
            Speed::Either => self.pending.either += turns,
        }
        // A batch that is one window closes it with its last turn, any other perhaps with its first.
        self.pending.earliest_us = if self.pending.all() == turns {
            batch.released_us()
        } else {
            batch.invoked_us
        };
        self.pending.returned_us = batch.returned_us;
    }

    fn events(&mut self, read: &Read) {
        let windows = read
            .events
            .iter()
            .filter(|event| event.kind == "slo.window");
        let sampled: u64 = windows.map(|event| samples(&event.data)).sum();
        self.fresh.looks += read.reads;
        self.fresh.looked_us = read.returned_us;
        let alone = sampled == self.pending.all() && self.fresh.windows.is_empty();
        for event in &read.events {
            match event.kind.as_str() {
                "slo.window" => self.window(&event.data),
                "slo.degrade.entered" => self.change(Change::Entered, &event.data, read),
                "slo.degrade.exited" => self.change(Change::Exited, &event.data, read),
                _ => {}
            }
        }
        if alone && sampled > 0 {
            self.pending = Pending {
                returned_us: self.pending.returned_us,
                ..Pending::default()
            };
        } else if sampled > 0 {
            self.left_over(sampled);
        }
    }

    /// Which of the pending turns a window took is not known, only how many are left.
    fn left_over(&mut self, sampled: u64) {
        let left = self.pending.all().saturating_sub(sampled);
        let kinds = [self.pending.slow, self.pending.fast, self.pending.either];
        let (mut slow, mut fast, mut either) = (0, 0, 0);
        match kinds.map(|count| count > 0) {
            [true, false, false] => slow = left,
            [false, true, false] => fast = left,
            _ => either = left,
        }
        self.pending = Pending {
            slow,
            fast,
            either,
            ..self.pending
        };
    }

    fn window(&mut self, data: &Value) {
        let own = match data["class"].as_str() {
            Some("breach") => vec![Class::Breach],
            Some("healthy") => vec![Class::Healthy],
            Some("neutral") => vec![Class::Neutral],
            _ => vec![Class::Breach, Class::Healthy],
        };
        self.overfull(data);
        let (classes, letter) = if let Some(class) = self.certain(samples(data)) {
            if own != [class] {
                self.misread.push(format!(
                    "window {} after {:?}: got class {}, expected {class:?}",
                    data["index"],
                    brief(&self.story),
                    data["class"],
                ));
            }
            (vec![class], if class == Class::Breach { 'B' } else { 'H' })
        } else if self.pending.all() == 0 && !self.self_probe {
            // Nobody can have filled it.
            (vec![Class::Neutral], 'N')
        } else {
            let letter = if self.pending.all() == 0 { 'p' } else { '?' };
            (own, letter)
        };
        self.fresh.windows.push(classes);
        self.fresh.letters.push(letter);
    }

    /// In normal mode nobody but clients fills a window: one with more samples than there were
    /// turns is misread.
    fn overfull(&mut self, data: &Value) {
        let fresh = &self.fresh;
        let first = fresh.windows.is_empty() && fresh.changes.is_empty();
        let (got, all) = (samples(data), self.pending.all());
        if first && !self.hanging && self.possible.surely_serves() && got > all {
            let index = &data["index"];
            self.misread.push(format!(
                "window {index}: got {got} samples, expected at most {all}"
            ));
        }
    }

    /// What a window of so many samples certainly is.
    fn certain(&self, samples: u64) -> Option<Class> {
        let Pending {
            slow, fast, either, ..
        } = self.pending;
        let all = self.pending.all();
        if self.hanging {
            return Some(Class::Breach);
        }
        if samples == all && self.fresh.windows.is_empty() && self.alone.is_some() {
            return self.alone;
        }
        match (samples <= all && either == 0, slow > 0, fast > 0) {
            (true, true, false) => Some(Class::Breach),
            (true, false, true) => Some(Class::Healthy),
            _ => None,
        }
    }

    fn change(&mut self, change: Change, data: &Value, read: &Read) {
        self.edges.push(Edge {
            change,
            earliest_us: self.pending.earliest_us,
            latest_us: read.returned_us,
            data: data.clone(),
        });
        self.fresh.changes.push(change);
        self.fresh
            .letters
            .push(if change == Change::Entered { '>' } else { '<' });
        self.lag.clear();
    }

    /// Turns that fill a window by their number and are none in the log, for as long as it can
    /// ask for, are misread as no samples.
    fn unfilled(&mut self) {
        let waited_us = self
            .fresh
            .looked_us
            .saturating_sub(self.pending.returned_us);
        let by_count = self.window_us / 10 > waited_us && self.full > 0;
        let surely = waited_us >= LEAST_BOUND_US && self.fresh.looks >= LEAST_LOOKS;
        let none = self.fresh.windows.is_empty() && self.sampled >= self.full;
        if by_count && none && surely {
            let (sampled, full, waited_ms) = (self.sampled, self.full, waited_us / 1000);
            self.misread.push(format!(
                "after {:?}: got no window of {sampled} turns in {waited_ms} ms, expected one of each \
                 {full}",
                brief(&self.story)
            ));
        }
    }

    /// What is in the log now is all there will be of the turns before: holds it against the
    /// specification.
    fn settle(&mut self) {
        self.unfilled();
        self.sampled = 0;
        let fresh = std::mem::take(&mut self.fresh);
        let before = brief(&self.story);
        self.story.push_str(&fresh.letters);
        let Err(unexplained) = self.possible.take(&fresh.windows, &fresh.changes) else {
            return;
        };
        let expected = unexplained.expected.iter().map(|changes| names(changes));
        let expected = expected.collect::<Vec<_>>().join(" or ");
        let got = names(&fresh.changes);
        let text = format!(
            "after windows {before:?} came {:?}: got {got}, expected {expected}",
            fresh.letters
        );
        let waited_us = fresh.looked_us.saturating_sub(self.pending.returned_us);
        // What is missing may still come; what should not be there is there.
        let missing = unexplained
            .expected
            .iter()
            .any(|changes| changes.starts_with(&fresh.changes));
        if missing && (waited_us < LEAST_BOUND_US || fresh.looks < LEAST_LOOKS) {
            let waited_ms = waited_us / 1000;
            self.undecided.push(format!(
                "{text}; watched for {waited_ms} ms, {} looks",
                fresh.looks
            ));
        } else {
            self.violations.push(text);
        }
    }

    fn probe(&mut self, probe: &Probe) {
        let name = probe.work.name();
        if probe.work == Work::MemoryWriteNormal {
            if !probe.served() {
                self.violations
                    .push(format!("{name}: got {}, expected 201", answer(probe)));
            }
            return;
        }
        let (shed, expected) = self.expected();
        let right = match shed {
            Some(true) => probe.shed(),
            Some(false) => probe.served(),
            None => probe.shed() || probe.served(),
        };
        self.story.push(if probe.served() { 'o' } else { 'x' });
        let story = brief(&self.story);
        let at = self.lag.iter().position(|(work, _)| *work == probe.work);
        let at = at.unwrap_or_else(|| {
            self.lag.push((probe.work, Lag::default()));
            self.lag.len() - 1
        });
        let lag = &mut self.lag[at].1;
        match (right, lag.right) {
            (true, _) => {
                *lag = Lag {
                    right: true,
                    wrong: None,
                };
                if probe.served() {
                    self.served += 1
                } else {
                    self.refused += 1
                }
            }
            // Since the mode changed no answer was right yet: it may lag, until the probing ends.
            (false, false) => lag.wrong = Some(probe.clone()),
            (false, true) => {
                let got = answer(probe);
                self.violations.push(format!(
                    "{name} at {story:?}: got {got}, expected {expected}"
                ));
            }
        }
    }

    /// The probing is over: an answer that was still wrong stays wrong.
    fn end_lag(&mut self) {
        let expected = self.expected().1;
        let story = brief(&self.story);
        for (work, lag) in &mut self.lag {
            if let Some(probe) = lag.wrong.take() {
                let (name, got) = (work.name(), answer(&probe));
                self.violations.push(format!(
                    "{name} at {story:?}: got {got} to the last, expected {expected}"
                ));
            }
        }
    }

    /// Whether a probe is shed here, if that is known, and how a right answer is called.
    fn expected(&self) -> (Option<bool>, &'static str) {
        if self.possible.surely_sheds() {
            (Some(true), "503 SHED with Retry-After")
        } else if self.possible.surely_serves() {
            (Some(false), "201")
        } else {
            (None, "201 or 503 SHED")
        }
    }
}

fn names(changes: &[Change]) -> String {
    match changes {
        [] => "no change".to_owned(),
        _ => changes
            .iter()
            .map(|change| change.event())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn samples(data: &Value) -> u64 {
    data["samples"].as_u64().unwrap_or(0)
}

fn answer(probe: &Probe) -> String {
    match probe.status {
        0 => "no answer".to_owned(),
        status if probe.code.is_empty() => status.to_string(),
        status => format!("{status} {}", probe.code),
    }
}

/// A story for a message: five of the same letter stand for more.
fn brief(story: &str) -> String {
    let mut letters: Vec<char> = Vec::new();
    let mut left_out = 0;
    for letter in story.chars() {
        let run = letters.iter().rev().take_while(|last| **last == letter);
        if run.count() >= 5 {
            left_out += 1;
        } else {
            letters.push(letter);
        }
    }
    let shown: String = letters.into_iter().collect();
    match left_out {
        0 => shown,
        _ => format!("{shown} ({left_out} letters left out)"),
    }
}

/// What the config says, or the defaults of the contract where it is silent.
pub fn counts(slo: &Value) -> (u32, u32) {
    let number = |key: &str, default: u32| {
        slo[key]
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    };
    (
        number("breach_windows", DEFAULT_BREACH_WINDOWS),
        number("recover_windows", DEFAULT_RECOVER_WINDOWS),
    )
}

/// The same as exact rules.
pub fn exact(slo: &Value) -> Rules {
    let (breach, recover) = counts(slo);
    Rules {
        breach: Count::At(breach),
        recover: Count::At(recover),
    }
}
