//! `GET /v3/slo/status` and its twin under `/v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The status of the SLO machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloStatus {
    /// `normal`, `degraded`, `recovering`.
    pub current_mode: String,
    /// Breached windows, newest last, bounded.
    pub breach_history: Vec<Breach>,
    /// Seconds since the entry; 0 when normal.
    pub time_in_degrade: f64,
    /// Why; none when normal.
    pub degrade_reason: Option<String>,
    /// Whether the next healthy window ends it.
    pub clear_to_recover: bool,
    /// Breached windows in a row.
    pub consecutive_breach: u64,
    /// Healthy windows in a row.
    pub consecutive_healthy: u64,
    /// N.
    pub breach_threshold: u64,
    /// M.
    pub recover_threshold: u64,
    /// The open window.
    pub window: OpenWindow,
    /// Refusals by kind of work.
    pub shed: BTreeMap<String, u64>,
    /// Raised by each accepted change of the config.
    pub config_generation: u64,
}

/// A breached window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// Its number.
    pub index: u64,
    /// When it closed, RFC 3339.
    pub ts: String,
    /// `total p95 322 ms > 250 ms`.
    pub reason: String,
    /// Samples in it.
    pub samples: u64,
    /// By stage, in milliseconds.
    pub p95: BTreeMap<String, f64>,
    /// By stage, in milliseconds.
    pub p99: BTreeMap<String, f64>,
}

/// The window that is being filled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// Its number.
    pub index: u64,
    /// Samples so far.
    pub samples: u64,
    /// Since it was opened.
    pub age_ms: f64,
}
