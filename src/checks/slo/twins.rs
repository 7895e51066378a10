//! A target on paper, right or wrong in one way, that leaves the timelines for the judges' tests.
//! It has a machine of its own, so that a slip in the specification shows as a difference.

use serde_json::{Value, json};

use crate::base::json::merge;
use crate::chaos::degrade::lane::slo_by_count;
use crate::chaos::degrade::timeline::{
    Batch, Event, Probe, Read, Status, Step, Timeline, Turn, Work,
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
    shed: [u64; 2],
    first_status: Option<Value>,
}

impl Paper {
    pub(super) fn start(flaw: Flaw, slo: Value) -> Paper {
        let mut config = slo_by_count();
        merge(&mut config, &slo);
        let mut paper = Paper {
            line: Timeline::default(),
            flaw,
            slo: config,
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
        let invoked_us = self.now_us;
        let returned_us = invoked_us + took_ms * 1000;
        let status = if self.flaw == Flaw::TurnsShed && self.degraded {
            503
        } else {
            200
        };
        let call = (invoked_us + 1000, returned_us - 1000);
        self.now_us = returned_us;
        for _ in 0..turns {
            if self.flaw != Flaw::NotFed {
                self.open.push(took_ms);
            }
            if self.open.len() == 5 {
                let slowest = self.open.drain(..).max().unwrap_or(0);
                self.window(slowest as f64);
            }
        }
        let turn = Turn {
            invoked_us,
            returned_us: Some(returned_us),
            status,
            code: String::new(),
        };
        self.line.push(Step::Batch(Batch {
            invoked_us,
            returned_us,
            turns: vec![turn; turns],
            model_calls: vec![call; turns],
            wire_delay_ms: 0,
        }));
        self
    }

    /// Windows that time closes, without traffic.
    pub(super) fn idle(&mut self, windows: u64) -> &mut Paper {
        for _ in 0..windows {
            self.now_us += self.count("window_ms", 10_000) * 1000;
            let probes = self.slo["self_probe"].as_bool().unwrap_or(true);
            if self.degraded && probes && self.flaw != Flaw::NoProbes {
                self.window(8.0);
            } else if self.flaw == Flaw::NeutralCounts {
                self.window(0.0);
            } else {
                self.index += 1;
            }
            self.read();
        }
        self
    }

    fn window(&mut self, p95: f64) {
        self.index += 1;
        let breach = p95 > 500.0;
        let class = if breach { "breach" } else { "healthy" };
        let figures = json!({"total": p95, "model": p95});
        let window = json!({
            "index": self.index, "class": class, "samples": 5, "p95": figures, "p99": figures,
        });
        self.event("slo.window", window.clone());
        if breach {
            self.breached(window)
        } else {
            self.recovered()
        }
    }

    fn breached(&mut self, window: Value) {
        self.history.push(window.clone());
        self.breaches += 1;
        let again = self.degraded && self.healthy > 0 && self.flaw == Flaw::SecondEntered;
        if self.flaw != Flaw::CountNotReset {
            self.healthy = 0;
        }
        let needed = if self.flaw == Flaw::EntersAtOnce {
            1
        } else {
            self.count("breach_windows", 3)
        };
        if again || (!self.degraded && self.breaches >= needed) {
            if !self.degraded {
                (self.entered_us, self.healthy) = (self.now_us, 0);
            }
            self.degraded = true;
            let reason = "total p95 610 ms > 500 ms";
            self.event(
                "slo.degrade.entered",
                json!({"reason": reason, "windows": [window]}),
            );
        }
    }

    fn recovered(&mut self) {
        self.breaches = 0;
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
                Work::MemoryWriteNormal => true,
            };
            let shed = self.degraded && !spared;
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
