//! The SLO state machine: `(state, closed window, settings) -> (state, events)`.
//!
//! Pure. It reads no clock, keeps nothing and decides nothing about samples: a window comes in
//! with its percentiles and its time of closing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::Closed;
use crate::reference::config::Slo as Settings;

/// The mode of the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything is served.
    #[default]
    Normal,
    /// Non-essential work is shed; the last counted window was breached.
    Degraded,
    /// Still shed; the last counted window was healthy and only healthy ones are missing.
    Recovering,
}

/// What a window says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A p95 or p99 exceeds its threshold.
    Breach,
    /// None does.
    Healthy,
}

/// A counted window, as the `slo.window` event shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of the window.
    pub index: u64,
    /// Breached or healthy.
    pub class: Class,
    /// Samples of `total`.
    pub samples: u64,
    /// 95th percentile by stage, milliseconds.
    pub p95: BTreeMap<String, f64>,
    /// 99th percentile by stage, milliseconds.
    pub p99: BTreeMap<String, f64>,
}

/// Why and since when the service is not normal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Degraded {
    /// Wall time of entry, microseconds since 1970.
    pub since_us: i64,
    /// What was exceeded in the window that led to the entry.
    pub reason: String,
}

/// All that the machine remembers between windows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The mode after the last counted window.
    pub mode: Mode,
    /// Breached windows since the last healthy one.
    pub consecutive_breach: u64,
    /// Healthy windows since the last breached one.
    pub consecutive_healthy: u64,
    /// Set exactly while the mode is not normal.
    pub degraded: Option<Degraded>,
    /// While normal: the newest of the consecutive breached windows, at most N.
    pub streak: Vec<Metrics>,
}

/// What happened at the close of a window, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A window was counted. `reason` says what was exceeded in a breached one.
    Window {
        /// Its metrics.
        metrics: Metrics,
        /// The limits exceeded; None when healthy.
        reason: Option<String>,
    },
    /// The service became degraded.
    Entered {
        /// What was exceeded in the last window.
        reason: String,
        /// The breached windows that led to it, oldest first.
        windows: Vec<Metrics>,
    },
    /// The service is normal again.
    Exited {
        /// Seconds since entry.
        time_in_degrade: f64,
    },
}

/// Counts one closed window. A neutral one (fewer than `min_samples`) changes nothing.
pub fn step(state: &State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
    if window.samples < settings.min_samples {
        return (state.clone(), Vec::new());
    }
    match exceeded(window, settings) {
        Some(reason) => breached(state.clone(), window, settings, reason),
        None => healthy(state.clone(), window, settings),
    }
}

/// Seconds since entry at a wall time; 0 while normal.
pub fn time_in_degrade(state: &State, now_us: i64) -> f64 {
    let since = |degraded: &Degraded| now_us.saturating_sub(degraded.since_us).max(0);
    state
        .degraded
        .as_ref()
        .map_or(0.0, |degraded| since(degraded) as f64 / 1e6)
}

fn breached(
    mut state: State,
    window: &Closed,
    settings: &Settings,
    reason: String,
) -> (State, Vec<Event>) {
    let metrics = metrics(window, Class::Breach);
    let counted = Event::Window {
        metrics: metrics.clone(),
        reason: Some(reason.clone()),
    };
    let mut events = vec![counted];
    state.consecutive_healthy = 0;
    state.consecutive_breach = state.consecutive_breach.saturating_add(1);
    if state.mode != Mode::Normal {
        // Recovery starts anew, but this is still the same degradation: no second `entered`.
        state.mode = Mode::Degraded;
        return (state, events);
    }
    state.streak.push(metrics);
    let surplus = (state.streak.len() as u64).saturating_sub(settings.breach_windows);
    state.streak.drain(..surplus as usize);
    if state.consecutive_breach >= settings.breach_windows {
        state.mode = Mode::Degraded;
        state.degraded = Some(Degraded {
            since_us: window.at_us,
            reason: reason.clone(),
        });
        events.push(Event::Entered {
            reason,
            windows: std::mem::take(&mut state.streak),
        });
    }
    (state, events)
}

fn healthy(mut state: State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
    let mut events = vec![Event::Window {
        metrics: metrics(window, Class::Healthy),
        reason: None,
    }];
    state.consecutive_breach = 0;
    state.consecutive_healthy = state.consecutive_healthy.saturating_add(1);
    state.streak.clear();
    if state.mode != Mode::Normal {
        state.mode = Mode::Recovering;
        if state.consecutive_healthy >= settings.recover_windows {
            let time_in_degrade = time_in_degrade(&state, window.at_us);
            events.push(Event::Exited { time_in_degrade });
            state.mode = Mode::Normal;
            state.degraded = None;
        }
    }
    (state, events)
}

/// Every limit that the window exceeds, or None.
fn exceeded(window: &Closed, settings: &Settings) -> Option<String> {
    let mut over = Vec::new();
    for (stage, seen) in &window.stages {
        let Some(threshold) = settings.thresholds.get(stage) else {
            continue;
        };
        for (name, got, limit) in [
            ("p95", seen.p95, threshold.p95),
            ("p99", seen.p99, threshold.p99),
        ] {
            if let Some(limit) = limit
                && got > limit.0
            {
                over.push(format!("{stage} {name} {got} ms > {} ms", limit.0));
            }
        }
    }
    (!over.is_empty()).then(|| over.join(", "))
}

fn metrics(window: &Closed, class: Class) -> Metrics {
    let stages = || window.stages.iter();
    Metrics {
        index: window.index,
        class,
        samples: window.samples,
        p95: stages()
            .map(|(stage, seen)| (stage.clone(), seen.p95))
            .collect(),
        p99: stages()
            .map(|(stage, seen)| (stage.clone(), seen.p99))
            .collect(),
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
