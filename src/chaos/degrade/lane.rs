//! What a drive starts from: a target of its own, with a model of its own, windows that close by
//! count, and a place where latency comes from.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::cycle::Cycle;
use super::timeline::{Step, Timeline};
use crate::base::json::merge;
use crate::chaos::link::Link;
use crate::doubles::Double;
use crate::target::{Incident, Launcher, Setup};

/// Turns in a window: `window_max_samples` and `min_samples` of every config here.
pub const WINDOW_TURNS: usize = 5;
/// What a turn may take, in milliseconds: many times what one takes, so that a busy machine makes
/// no quick turn uncertain.
pub const THRESHOLD_MS: u64 = 500;
/// A window that never closes by time within a drive.
pub const LONG_WINDOW_MS: u64 = 600_000;
/// The least time in which something that must happen may happen.
pub const LEAST_BOUND: Duration = Duration::from_secs(2);
/// How many times its own measure the product may take for it.
pub const PATIENCE: usize = 10;
/// Sessions that turns are spread over: turns of one session may be served one after the other.
pub(super) const SESSIONS: usize = 15;

/// Failures in a row that no drive brings about.
const NO_BREAKER: u64 = 1_000_000;

/// The thresholds by which a turn may take so long.
pub(super) fn thresholds(threshold_ms: u64) -> Value {
    json!({"total": {"p95": threshold_ms, "p99": threshold_ms}})
}

/// The `slo` key that every drive begins with: windows by count, one batch each.
pub fn slo_by_count() -> Value {
    json!({
        "window_ms": LONG_WINDOW_MS,
        "window_max_samples": WINDOW_TURNS,
        "min_samples": WINDOW_TURNS,
        "thresholds": thresholds(THRESHOLD_MS),
    })
}

/// Where the latency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection {
    /// The model's double answers late.
    Double,
    /// A link between target and double delays the bytes.
    Wire,
}

/// What a drive starts from.
pub struct Lane {
    /// Starts the target.
    pub launcher: Launcher,
    /// What it is started with; `backends.models.url` and `breaker.failures` are set by the lane.
    pub setup: Setup,
    /// The model of this target alone.
    pub models: Double,
    /// Where latency comes from.
    pub injection: Injection,
}

impl Lane {
    /// Starts the target and opens sessions in it.
    ///
    /// # Errors
    /// When there is nothing to drive.
    pub async fn open(mut self, line: &mut Timeline) -> anyhow::Result<Cycle<'_>> {
        let link = match self.injection {
            Injection::Double => None,
            Injection::Wire => {
                let seed = self.setup.seed.child("link");
                Some(Link::open(address(&self.models)?, seed).await?)
            }
        };
        let url = match &link {
            None => self.models.url(),
            Some(link) => link.url(),
        };
        // A turn that fails late is to be late: what a breaker lets fail at once is no breach.
        let patch = json!({
            "backends": {"models": {"url": url}},
            "breaker": {"failures": NO_BREAKER},
        });
        merge(&mut self.setup.config, &patch);
        let (clock, incidents) = (self.setup.clock, self.setup.incidents.clone());
        let (from_us, slo) = (clock.now_us(), self.setup.config["slo"].clone());
        let threshold_ms = slo["thresholds"]["total"]["p95"].as_u64();
        let threshold_ms = threshold_ms.unwrap_or(THRESHOLD_MS);
        let instance = match self.launcher.start(self.setup).await {
            Ok(instance) => instance,
            Err(error) => {
                if error.by_target() {
                    let (at_us, why) = (clock.now_us(), error.to_string());
                    incidents.push(Incident::DidNotStart { at_us, why });
                }
                return Err(error.into());
            }
        };
        line.push(Step::Started {
            from_us,
            ready_us: clock.now_us(),
            slo,
        });
        let mut cycle = Cycle::over(line, instance, self.models, link, clock, threshold_ms);
        cycle.open_sessions().await?;
        Ok(cycle)
    }
}

fn address(models: &Double) -> anyhow::Result<SocketAddr> {
    let url = models.url();
    url.trim_start_matches("http://")
        .parse()
        .with_context(|| format!("{url} is no address"))
}
