//! `GET /v3/events`: every state change, numbered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One page of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// In the order of `seq`.
    pub events: Vec<Event>,
    /// The last number of the page, or the one asked for when the page is empty.
    pub last_seq: u64,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// `slo.degrade.entered`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub ts: String,
    /// Of the request that caused it, or its own.
    pub correlation_id: String,
    /// By type.
    pub data: Value,
}

/// `data` of `slo.window`, and a member of `windows` of `slo.degrade.entered`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedWindow {
    /// Windows are numbered.
    pub index: u64,
    /// `breach`, `healthy`, `neutral`.
    pub class: String,
    /// Samples in it.
    pub samples: u64,
    /// By stage, in milliseconds.
    pub p95: std::collections::BTreeMap<String, f64>,
    /// By stage, in milliseconds.
    pub p99: std::collections::BTreeMap<String, f64>,
}
