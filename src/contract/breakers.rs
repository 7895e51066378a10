//! `GET /v3/breakers`: what stands before each dependency.

use serde::{Deserialize, Serialize};

/// All breakers of the gateway's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breakers {
    /// One a dependency.
    pub breakers: Vec<Breaker>,
}

/// One breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    /// `models`, `tools`, ... or a service.
    pub dependency: String,
    /// `closed`, `open`, `half_open`.
    pub state: String,
    /// Calls in a row that went wrong.
    pub failures: u64,
    /// Trials in a row that went well, while it is half open.
    pub successes: u64,
    /// How often it has changed since the start.
    pub transitions: u64,
    /// Until the next trial; 0 unless it is open.
    pub retry_after_ms: u64,
    /// What went wrong last; none when it is closed.
    pub reason: Option<String>,
}
