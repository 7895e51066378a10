//! A target on paper, right or wrong in one way, that leaves the timelines for the judges' tests.
//! It has a machine of its own, so that a slip in the specification shows as a difference.

use serde_json::{Value, json};

use crate::base::json::{merge, sha256_hex};
use crate::chaos::degrade::lane::slo_by_count;
use crate::chaos::degrade::timeline::{
    Batch, Edit, Effective, Event, Hanging, Probe, Read, Status, Step, Timeline, Turn, Work,
};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Nothing.
    None,
    /// The first healthy window ends degrade mode.
    LeavesAfterOne,
    /// A breach while recovering leaves the healthy count as it was.
    CountNotReset,
    /// One healthy window too many is asked for.
    LeavesLate,
    /// The counters are in memory only.
    CountsLostOnKill,
    /// The mode is in memory only.
    ModeLostOnKill,
    /// A window without samples counts as a healthy one.
    NeutralCounts,
    /// Windows without traffic stay empty.
    NoProbes,
    /// A breach while recovering is announced as an entry.
    SecondEntered,
    /// Frames are never shed.
    FramesServed,
    /// The status route has one answer.
    StatusStatic,
    /// The time in degrade is what it was at the entry.
    TimeFrozen,
    /// The history forgets nothing.
    HistoryUnbounded,
    /// The history has the newest first.
    HistoryReversed,
    /// Clear to recover is told while degraded too.
    AlwaysClear,
    /// The v1 twin has another history.
    TwinDiffers,
    /// The status route asks for no credentials.
    StatusOpen,
    /// What is shed is not counted.
    ShedUncounted,
    /// Turns are no samples.
    NotFed,
    /// Only a person ends degrade mode.
    ManualReset,
    /// One breached window degrades.
    EntersAtOnce,
    /// Turns are shed too.
    TurnsShed,
    /// Breached windows add up over healthy ones.
    Cumulative,
    /// One breached window too many is asked for.
    EntersLate,
    /// The mean is taken for the 95th percentile.
    MeanForP95,
    /// The 99th percentile is not looked at.
    P99Ignored,
    /// A window with too few samples is judged by them.
    FewCount,
    /// A window with too few samples ends a row of breached ones.
    FewReset,
    /// Turns that hang are no samples.
    HangUnseen,
    /// Turns that failed are no samples.
    FailuresUncounted,
    /// Each breached window while degraded is announced as an entry.
    EnteredPerWindow,
    /// The entry is not announced.
    EnteredSilently,
    /// The percentiles of the entry are of some other window.
    MetricsWrong,
    /// The entry says nothing of why.
    ReasonMissing,
    /// Frames are refused before anything is wrong.
    ShedsBefore,
    /// Memory writes are shed whatever their priority.
    WritesShed,
    /// Edits wait for a restart.
    NeedsRestart,
    /// An edit begins the count of breached windows anew.
    CountReset,
    /// An invalid file takes all limits to nothing.
    ZeroesLimits,
    /// Each write of an invalid file is an event, the same content again too.
    RejectsTwice,
    /// An invalid file is ignored without a word.
    RejectsSilently,
    /// An event for an invalid file that does not say what is wrong.
    RejectsVaguely,
    /// A file is read while it is being written.
    ReadsAtOnce,
    /// An edit is taken by a new process.
    Restarts,
}

/// The target, and the timeline that it leaves.
pub(super) struct Paper {
    pub(super) line: Timeline,
    flaw: Flaw,
    slo: Value,
    now_us: u64,
    seq: u64,
    index: u64,
    unread: Vec<Event>,
    open: Vec<u64>,
    degraded: bool,
    healthy: u64,
    breaches: u64,
    entered_us: u64,
    history: Vec<Value>,
    /// The breached windows in a row, oldest first.
    streak: Vec<Value>,
    pub(super) shed: [u64; 2],
    /// What the next window has.
    next_slo: Value,
    told: Vec<String>,
    pid: u32,
    first_status: Option<Value>,
}

impl Paper {
    pub(super) fn start(flaw: Flaw, slo: Value) -> Paper {
        let mut config = slo_by_count();
        merge(&mut config, &slo);
        let mut paper = Paper {
            line: Timeline::default(),
            flaw,
            next_slo: config.clone(),
            slo: config,
            streak: Vec::new(),
            told: Vec::new(),
            pid: 4242,
            now_us: 1_000_000,
            seq: 0,
            index: 0,
            unread: Vec::new(),
            open: Vec::new(),
            degraded: false,
            healthy: 0,
            breaches: 0,
            entered_us: 0,
            history: Vec::new(),
            shed: [0, 0],
            first_status: None,
        };
        paper.started();
        paper
    }

    fn started(&mut self) {
        let (from_us, slo) = (self.now_us, self.slo.clone());
        self.now_us += 40_000;
        let ready_us = self.now_us;
        self.line.push(Step::Started {
            from_us,
            ready_us,
            slo,
        });
    }

    fn count(&self, key: &str, default: u64) -> u64 {
        self.slo[key].as_u64().unwrap_or(default)
    }

    pub(super) fn kill(&mut self, slo: Value) {
        self.line.push(Step::Killed { at_us: self.now_us });
        merge(&mut self.slo, &slo);
        self.next_slo = self.slo.clone();
        self.open.clear();
        match self.flaw {
            Flaw::CountsLostOnKill => (self.healthy, self.breaches) = (0, 0),
            Flaw::ModeLostOnKill => self.degraded = false,
            _ => {}
        }
        self.started();
    }

    /// `B` and `H` are batches of five turns, each followed by a read.
    pub(super) fn drive(&mut self, pattern: &str) -> &mut Paper {
        for letter in pattern.chars() {
            self.turns(5, if letter == 'B' { 610 } else { 12 });
            self.read();
        }
        self
    }

    pub(super) fn turns(&mut self, turns: usize, took_ms: u64) -> &mut Paper {
        let refused = self.flaw == Flaw::TurnsShed && self.degraded;
        let (status, code) = if refused { (503, "SHED") } else { (200, "") };
        self.batch(&vec![took_ms; turns], status, code)
    }

    /// A window of turns of which some are slow, and a read.
    pub(super) fn mixed(&mut self, slow: usize, slow_ms: u64, turns: usize) -> &mut Paper {
        let took = |turn| if turn < slow { slow_ms } else { 12 };
        let took: Vec<u64> = (0..turns).map(took).collect();
        self.batch(&took, 200, "").read()
    }

    /// A window of slow turns that fail in the end, and a read.
    pub(super) fn failing(&mut self, took_ms: u64) -> &mut Paper {
        self.batch(&[took_ms; 5], 503, "MODEL_UNAVAILABLE").read()
    }

    fn batch(&mut self, took_ms: &[u64], status: u16, code: &str) -> &mut Paper {
        let invoked_us = self.now_us;
        let end = |took_ms: u64| invoked_us + took_ms * 1000;
        self.now_us = end(took_ms.iter().copied().max().unwrap_or(0));
        let unfed = match self.flaw {
            Flaw::NotFed => true,
            Flaw::FailuresUncounted => status != 200,
            _ => false,
        };
        let full = self.count("window_max_samples", 5) as usize;
        for took_ms in took_ms.iter().filter(|_| !unfed) {
            self.open.push(*took_ms);
            if self.open.len() == full {
                let samples = std::mem::take(&mut self.open);
                self.window(samples);
            }
        }
        let turns = took_ms.iter().map(|took_ms| Turn {
            invoked_us,
            returned_us: Some(end(*took_ms)),
            status,
            code: code.to_owned(),
        });
        let calls = took_ms
            .iter()
            .map(|took| (invoked_us + 1000, end(*took) - 1000));
        self.line.push(Step::Batch(Batch {
            invoked_us,
            returned_us: self.now_us,
            turns: turns.collect(),
            model_calls: calls.collect(),
            wire_delay_ms: 0,
        }));
        self
    }

    /// Turns that never end, for as many windows of time.
    pub(super) fn hang(&mut self, turns: usize, windows: u64) -> &mut Paper {
        let invoked_us = self.now_us;
        self.now_us += 3000;
        self.line.push(Step::Hanging(Hanging {
            invoked_us,
            held: turns,
            held_us: self.now_us,
        }));
        for window in 1..=windows {
            let window_ms = self.count("window_ms", 10_000);
            self.now_us += window_ms * 1000;
            if self.flaw != Flaw::HangUnseen {
                self.window(vec![window * window_ms; turns]);
            }
            self.read();
        }
        self
    }

    /// Another valid content, which is looked for until it is in force.
    pub(super) fn edit(&mut self, name: &str, change: Value) -> &mut Paper {
        let mut given = self.next_slo.clone();
        merge(&mut given, &change);
        if self.flaw == Flaw::Restarts {
            self.pid += 1;
        }
        self.wrote(name, &given.to_string(), Some(given.clone()), "");
        match self.flaw {
            Flaw::NeedsRestart => self.now_us += 10_100_000,
            _ => self.next_slo = given,
        }
        if self.flaw == Flaw::CountReset {
            self.breaches = 0;
        }
        let invoked_us = self.now_us;
        self.now_us += 55_000;
        self.line.push(Step::Effective(Effective {
            invoked_us,
            returned_us: self.now_us,
            looks: 9,
            slo: self.next_slo.clone(),
            pid: Some(self.pid),
        }));
        self
    }

    /// A content that is not to be taken, and a read after it has stayed for so long.
    pub(super) fn spoil(&mut self, name: &str, names: &str, stays_ms: u64) -> &mut Paper {
        self.wrote(name, name, None, names);
        self.now_us += stays_ms * 1000;
        if self.flaw == Flaw::ZeroesLimits {
            merge(
                &mut self.next_slo,
                &json!({"thresholds": {"total": {"p95": 0, "p99": 0}}}),
            );
        }
        let known = self.told.contains(&name.to_owned());
        let told = stays_ms >= 50 || self.flaw == Flaw::ReadsAtOnce;
        if told && (!known || self.flaw == Flaw::RejectsTwice) && self.flaw != Flaw::RejectsSilently
        {
            self.told.push(name.to_owned());
            let names = if self.flaw == Flaw::RejectsVaguely {
                ""
            } else {
                names
            };
            let sha256 = sha256_hex(name.as_bytes());
            let data = json!({
                "path": format!("slo.{names}"), "message": "wrong", "sha256": sha256,
                "config_generation": 1,
            });
            self.event("slo.config.rejected", data);
        }
        self.read()
    }

    fn wrote(&mut self, name: &str, text: &str, slo: Option<Value>, names: &str) {
        let invoked_us = self.now_us;
        self.now_us += 1000;
        self.line.push(Step::Edit(Edit {
            name: name.to_owned(),
            invoked_us,
            returned_us: self.now_us,
            sha256: sha256_hex(text.as_bytes()),
            slo,
            names: names.to_owned(),
            pid: Some(self.pid),
        }));
    }

    /// Windows that time closes, without traffic.
    pub(super) fn idle(&mut self, windows: u64) -> &mut Paper {
        for _ in 0..windows {
            self.now_us += self.count("window_ms", 10_000) * 1000;
            let probes = self.slo["self_probe"].as_bool().unwrap_or(true);
            let few = std::mem::take(&mut self.open);
            if self.degraded && probes && self.flaw != Flaw::NoProbes {
                self.window(vec![8; 5]);
            } else if self.flaw == Flaw::NeutralCounts {
                self.window(vec![0; 5]);
            } else {
                self.index += 1;
                match self.flaw {
                    Flaw::FewReset => self.breaches = 0,
                    Flaw::FewCount if !few.is_empty() => self.breaches += 1,
                    _ => {}
                }
            }
            self.read();
        }
        self
    }

    fn window(&mut self, mut took_ms: Vec<u64>) {
        self.index += 1;
        took_ms.sort_unstable();
        let at = |percent: usize| took_ms[(took_ms.len() * percent).div_ceil(100) - 1] as f64;
        let mean = took_ms.iter().sum::<u64>() as f64 / took_ms.len() as f64;
        let limit = |name: &str| {
            let limit = self.slo["thresholds"]["total"][name].as_f64();
            limit.unwrap_or(f64::INFINITY)
        };
        let judged = if self.flaw == Flaw::MeanForP95 {
            mean
        } else {
            at(95)
        };
        let late = at(99) > limit("p99") && self.flaw != Flaw::P99Ignored;
        let breach = judged > limit("p95") || late;
        let class = if breach { "breach" } else { "healthy" };
        let figures = |percent| json!({"total": at(percent), "model": at(percent)});
        let window = json!({
            "index": self.index, "class": class, "samples": took_ms.len(),
            "p95": figures(95), "p99": figures(99),
        });
        self.event("slo.window", window.clone());
        if breach {
            self.breached(window)
        } else {
            self.recovered()
        }
        self.slo = self.next_slo.clone();
    }

    fn breached(&mut self, window: Value) {
        self.history.push(window.clone());
        self.breaches += 1;
        let again = self.degraded
            && match self.flaw {
                Flaw::SecondEntered => self.healthy > 0,
                Flaw::EnteredPerWindow => true,
                _ => false,
            };
        if self.flaw != Flaw::CountNotReset {
            self.healthy = 0;
        }
        let specified = self.count("breach_windows", 3);
        let needed = match self.flaw {
            Flaw::EntersAtOnce => 1,
            Flaw::EntersLate => specified + 1,
            _ => specified,
        };
        self.streak.push(window);
        if again || (!self.degraded && self.breaches >= needed) {
            if !self.degraded {
                (self.entered_us, self.healthy) = (self.now_us, 0);
            }
            self.degraded = true;
            self.enter();
        }
    }

    fn enter(&mut self) {
        let mut data = json!({"reason": "total p95 610 ms > 500 ms", "windows": self.streak});
        match self.flaw {
            Flaw::EnteredSilently => return,
            Flaw::MetricsWrong => data["windows"][0]["p95"]["total"] = json!(4.0),
            Flaw::ReasonMissing => data["reason"] = json!(""),
            _ => {}
        }
        self.event("slo.degrade.entered", data);
    }

    fn recovered(&mut self) {
        if self.flaw != Flaw::Cumulative {
            self.breaches = 0;
        }
        self.streak.clear();
        self.healthy += 1;
        let specified = self.count("recover_windows", 5);
        let needed = match self.flaw {
            Flaw::LeavesAfterOne => 1,
            Flaw::LeavesLate => specified + 1,
            Flaw::ManualReset => u64::MAX,
            _ => specified,
        };
        if self.degraded && self.healthy >= needed {
            self.degraded = false;
            let time = self.time_in_degrade_s(true);
            self.event("slo.degrade.exited", json!({"time_in_degrade": time}));
        }
    }

    fn time_in_degrade_s(&self, degraded: bool) -> f64 {
        match (degraded, self.flaw) {
            (false, _) => 0.0,
            (true, Flaw::TimeFrozen) => 0.001,
            (true, _) => (self.now_us - self.entered_us) as f64 / 1e6,
        }
    }

    fn event(&mut self, kind: &str, data: Value) {
        self.seq += 1;
        self.unread.push(Event {
            seq: self.seq,
            kind: kind.to_owned(),
            data,
        });
    }

    /// One read; past the bound when nothing came.
    pub(super) fn read(&mut self) -> &mut Paper {
        let events = std::mem::take(&mut self.unread);
        self.looks(1, 2000, events);
        self
    }

    /// Reads for longer than anything may take.
    pub(super) fn wait(&mut self) -> &mut Paper {
        self.looks(300, 2_100_000, Vec::new());
        self
    }

    fn looks(&mut self, reads: u32, time_us: u64, events: Vec<Event>) {
        let invoked_us = self.now_us;
        self.now_us += time_us;
        let returned_us = self.now_us;
        self.line.push(Step::Read(Read {
            invoked_us,
            returned_us,
            reads,
            status: 200,
            events,
        }));
    }

    pub(super) fn probe(&mut self) -> &mut Paper {
        for work in [
            Work::VisionFrame,
            Work::MemoryWriteLow,
            Work::MemoryWriteNormal,
        ] {
            let invoked_us = self.now_us;
            self.now_us += 1500;
            let spared = match work {
                Work::VisionFrame => self.flaw == Flaw::FramesServed,
                Work::MemoryWriteLow => false,
                Work::MemoryWriteNormal => self.flaw != Flaw::WritesShed,
            };
            let early = self.flaw == Flaw::ShedsBefore && work == Work::VisionFrame;
            let shed = early || (self.degraded && !spared);
            if shed && self.flaw != Flaw::ShedUncounted {
                self.shed[usize::from(work == Work::MemoryWriteLow)] += 1;
            }
            self.line.push(Step::Probe(Probe {
                work,
                invoked_us,
                returned_us: Some(self.now_us),
                status: if shed { 503 } else { 201 },
                code: if shed { "SHED".into() } else { String::new() },
                retry_after: shed,
            }));
        }
        self
    }

    /// Both status routes.
    pub(super) fn look(&mut self) -> &mut Paper {
        for path in ["/v3/slo/status", "/v1/slo/status"] {
            let body = self.status_body(path);
            self.answer(path, true, 200, body);
        }
        self
    }

    /// Both status routes without credentials.
    pub(super) fn look_without(&mut self) -> &mut Paper {
        let status = if self.flaw == Flaw::StatusOpen {
            200
        } else {
            401
        };
        for path in ["/v3/slo/status", "/v1/slo/status"] {
            self.answer(path, false, status, Value::Null);
        }
        self
    }

    fn answer(&mut self, path: &str, credentials: bool, status: u16, body: Value) {
        let invoked_us = self.now_us;
        self.now_us += 1000;
        let returned_us = Some(self.now_us);
        let path = path.to_owned();
        self.line.push(Step::Status(Status {
            path,
            credentials,
            invoked_us,
            returned_us,
            status,
            body,
        }));
    }

    fn status_body(&mut self, path: &str) -> Value {
        let mode = match (self.degraded, self.healthy) {
            (false, _) => "normal",
            (true, 0) => "degraded",
            (true, _) => "recovering",
        };
        let limit = self.count("history_limit", 200) as usize;
        let mut history = self.history.clone();
        if self.flaw != Flaw::HistoryUnbounded {
            history.drain(..history.len().saturating_sub(limit));
        }
        if self.flaw == Flaw::HistoryReversed {
            history.reverse();
        }
        if self.flaw == Flaw::TwinDiffers && path.starts_with("/v1") {
            history.pop();
        }
        let clear = mode == "recovering" || (mode == "degraded" && self.flaw == Flaw::AlwaysClear);
        let reason = self.degraded.then_some("total p95 610 ms > 500 ms");
        let body = json!({
            "ok": true,
            "current_mode": mode,
            "breach_history": history,
            "time_in_degrade": self.time_in_degrade_s(self.degraded),
            "degrade_reason": reason,
            "clear_to_recover": clear,
            "consecutive_breach": self.breaches,
            "consecutive_healthy": self.healthy,
            "breach_threshold": self.count("breach_windows", 3),
            "recover_threshold": self.count("recover_windows", 5),
            "window": {"index": self.index + 1, "samples": self.open.len(), "age_ms": 0.5},
            "shed": {"vision_frame": self.shed[0], "memory_write_low": self.shed[1]},
            "config_generation": 1,
            "correlation_id": format!("req_{path}"),
        });
        let first = self
            .first_status
            .get_or_insert_with(|| body.clone())
            .clone();
        if self.flaw == Flaw::StatusStatic {
            first
        } else {
            body
        }
    }
}
