//! How long what takes, as the gateway tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /v3/latency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// By stage: asr, memory_read, model, tool, memory_write, tts, total.
    pub stages: BTreeMap<String, Stage>,
}

/// One stage since the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How often it was passed.
    pub count: u64,
    /// Milliseconds: the smallest value with at least half of the samples at or below it; none
    /// without samples.
    pub p50: Option<f64>,
    /// The same with 95 %.
    pub p95: Option<f64>,
    /// The same with 99 %.
    pub p99: Option<f64>,
}
