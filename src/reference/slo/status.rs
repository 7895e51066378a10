//! The answer of `GET /v3/slo/status` and its v1 twin, computed at each request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::feed::{Open, Slo};
use super::machine::{Class, Event, Mode, time_in_degrade};
use crate::reference::config::Slo as Settings;
use crate::reference::time::Timestamp;

/// One breached window in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// Number of the window.
    pub index: u64,
    /// Wall time of its close, microseconds since 1970.
    pub at_us: i64,
    /// The limits it exceeded.
    pub reason: String,
    /// Samples of `total`.
    pub samples: u64,
    /// 95th percentile by stage, milliseconds.
    pub p95: BTreeMap<String, f64>,
    /// 99th percentile by stage, milliseconds.
    pub p99: BTreeMap<String, f64>,
}

impl Breach {
    /// The entry that an event makes, when it is a breached window.
    pub fn of(event: &Event, at_us: i64) -> Option<Self> {
        match event {
            Event::Window { metrics, reason } if metrics.class == Class::Breach => Some(Self {
                index: metrics.index,
                at_us,
                reason: reason.clone().unwrap_or_default(),
                samples: metrics.samples,
                p95: metrics.p95.clone(),
                p99: metrics.p99.clone(),
            }),
            _ => None,
        }
    }

    fn shown(&self) -> Value {
        json!({
            "index": self.index,
            "ts": Timestamp(self.at_us).to_string(),
            "reason": self.reason,
            "samples": self.samples,
            "p95": self.p95,
            "p99": self.p99,
        })
    }
}

impl Slo {
    /// The body of the status answer, without `ok` and `correlation_id`.
    pub fn status(&self) -> Map<String, Value> {
        let now = self.feed.now();
        // One look at both: never the mode of one moment with the window of another.
        let open = self.feed.open();
        let applied = self.feed.applied(Clone::clone);
        let state = &applied.state;
        let shown = Shown::of(&open);
        let settings = shown.settings;
        let surplus = applied.history.len().saturating_sub(settings.history_limit);
        let history: Vec<Value> = applied
            .history
            .iter()
            .skip(surplus)
            .map(Breach::shown)
            .collect();
        let fields = [
            ("current_mode", json!(state.mode)),
            ("breach_history", Value::Array(history)),
            (
                "time_in_degrade",
                json!(time_in_degrade(state, (self.feed.wiring.wall_us)())),
            ),
            (
                "degrade_reason",
                json!(state.degraded.as_ref().map(|degraded| &degraded.reason)),
            ),
            ("clear_to_recover", json!(state.mode == Mode::Recovering)),
            ("consecutive_breach", json!(state.consecutive_breach)),
            ("consecutive_healthy", json!(state.consecutive_healthy)),
            ("breach_threshold", json!(settings.breach_windows)),
            ("recover_threshold", json!(settings.recover_windows)),
            (
                "window",
                json!({
                    "index": shown.index,
                    "samples": shown.samples,
                    "age_ms": now.saturating_sub(shown.opened).as_secs_f64() * 1e3,
                }),
            ),
            ("shed", self.feed.refusals.shown()),
            ("config_generation", json!(shown.generation)),
        ];
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// The window that the status shows: the first that is not counted yet. A full one is shown until
/// its commit is done, with the mode that was true before it.
struct Shown<'a> {
    index: u64,
    samples: u64,
    opened: Duration,
    settings: &'a Settings,
    generation: u64,
}

impl<'a> Shown<'a> {
    fn of(open: &'a Open) -> Self {
        match open.closed.front() {
            Some(waiting) => Self {
                index: waiting.window.index,
                samples: waiting.window.samples,
                opened: waiting.opened,
                settings: &waiting.settings,
                generation: waiting.generation,
            },
            None => Self {
                index: open.window.index,
                samples: open.window.samples(),
                opened: open.window.opened,
                settings: &open.window.settings,
                generation: open.window.generation,
            },
        }
    }
}
