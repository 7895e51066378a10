//! Supervision by eva-os: who is supervised, how everybody is.

use serde::{Deserialize, Serialize};

/// `GET /v1/supervision/dependency-graph`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// Whether services run as processes of eva-os.
    pub supervising: bool,
    /// In the order in which they start.
    pub services: Vec<Node>,
}

/// One service in the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The service.
    pub service: String,
    /// 1 is the control plane.
    pub tier: u64,
    /// Whether the stack is whole without it.
    pub optional: bool,
    /// Whether it runs as a process of eva-os.
    pub supervised: bool,
    /// What it calls.
    pub depends_on: Vec<Needed>,
    /// Where it is asked how it is.
    pub health_path: String,
    /// Where it is; none when nobody knows.
    pub url: Option<String>,
}

/// A service that another one calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Needed {
    /// The service.
    pub service: String,
}

/// `GET /health/all`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthAll {
    /// `healthy` or `degraded`.
    pub overall: String,
    /// Whether services run as processes of eva-os.
    pub supervising: bool,
    /// Whether nothing is restarted just now.
    pub maintenance_mode: bool,
    /// `ok` or `unreadable`.
    pub budget_store: String,
    /// In the order in which they start.
    pub services: Vec<ServiceHealth>,
}

/// How one service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// The service.
    pub service: String,
    /// 1 is the control plane.
    pub tier: u64,
    /// Whether the stack is whole without it.
    pub optional: bool,
    /// `starting`, `healthy`, `degraded`, `unreachable` or `absent`.
    pub state: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Where it is.
    pub url: Option<String>,
    /// Probes that failed in a row.
    pub consecutive_failures: u64,
    /// Probes that went well in a row.
    pub consecutive_successes: u64,
    /// `armed`, `waiting`, `starting`, `exhausted`, `refused` or `none`.
    pub restart: String,
    /// What is spent.
    pub restarts_in_window: u64,
}

impl HealthAll {
    /// How this service is.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<&ServiceHealth> {
        self.services.iter().find(|one| one.service == service)
    }
}

/// `POST /v1/supervision/maintenance-mode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Whether it is on now.
    pub maintenance_mode: bool,
}

/// `POST /v1/supervision/restart/{service}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestartAsked {
    /// The service.
    pub service: String,
    /// `pending`.
    pub state: String,
}
