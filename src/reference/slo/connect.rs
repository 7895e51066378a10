//! Where the machine meets the gateway: its database, its config, its parts and its route.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::feed::{Change, Ledger, Slo, Wiring};
use super::persistence::{load, save, shown};
use super::probe::ModelProbe;
use crate::base::ids::random_id;
use crate::reference::service::Service;
use crate::reference::store::{Store, StoreError};
use crate::reference::web::{Call, Field, Refusal, Reply, Row, Twin, handler};

/// The route.
pub fn routes() -> Vec<Row> {
    vec![
        Row::get("api-gateway", "/v3/slo/status", "v4.7", handler(status))
            .twin(Twin::Plain)
            .about("The mode, why it is in force, and how far it is from the next one.")
            .gives(200, STATUS),
    ]
}

const STATUS: &[Field] = &[
    Field::word("current_mode", &["normal", "degraded", "recovering"]),
    Field::list(
        "breach_history",
        &[
            Field::count("index"),
            Field::text("ts"),
            Field::text("reason"),
            Field::count("samples"),
            Field::free("p95"),
            Field::free("p99"),
        ],
    ),
    Field::number("time_in_degrade"),
    Field::text("degrade_reason").or_null(),
    Field::flag("clear_to_recover"),
    Field::count("consecutive_breach"),
    Field::count("consecutive_healthy"),
    Field::count("breach_threshold"),
    Field::count("recover_threshold"),
    Field::object(
        "window",
        &[
            Field::count("index"),
            Field::count("samples"),
            Field::number("age_ms"),
        ],
    ),
    Field::free("shed"),
    Field::count("config_generation"),
];

async fn status(svc: Arc<Service>, call: Call) -> Reply {
    match svc.slo() {
        Some(slo) => Reply::ok(&call.correlation_id, Value::Object(slo.status())),
        None => Refusal::unavailable("STARTING", "the SLO machine is not restored yet", 1)
            .reply(&call.correlation_id),
    }
}

/// The machine of a gateway, as its database remembers it.
///
/// # Errors
/// What the store says.
pub async fn restore(gateway: &Service) -> Result<Slo, StoreError> {
    let restored = gateway.store.read(load).await?;
    let live = Arc::clone(&gateway.shared.config);
    let models = &live.current().backends.models;
    let timeout = Duration::from_millis(models.timeout_ms);
    let probe = ModelProbe::new(reqwest::Client::clone(&gateway.http), &models.url, timeout);
    let (clock, started) = (Arc::clone(&gateway.parts.clock), Instant::now());
    let wiring = Wiring {
        current: Arc::new(move || {
            let (config, generation) = live.generation();
            (Arc::new(config.slo.clone()), generation)
        }),
        step: Arc::clone(&gateway.parts.slo_step),
        samples: Arc::clone(&gateway.parts.slo_samples),
        ledger: Arc::new(Database(gateway.store.clone())),
        probe: Arc::new(probe),
        wall_us: Arc::new(move || clock.now().us()),
        monotonic: Arc::new(move || started.elapsed()),
    };
    Ok(Slo::new(wiring, restored))
}

/// The gateway's database. The events of a change have one correlation id of their own.
struct Database(Store);

impl Ledger for Database {
    fn commit(&self, change: Change) -> BoxFuture<'static, Result<(), String>> {
        let store = self.0.clone();
        let correlation_id = random_id("slo_", &mut rand::rng());
        let write = async move {
            let job = store.write(move |tx| {
                if save(tx.sql(), &change)? {
                    for event in &change.events {
                        let (kind, data) = shown(event);
                        tx.event(kind, &correlation_id, data)?;
                    }
                }
                Ok(())
            });
            job.await.map_err(|error| error.to_string())
        };
        Box::pin(write)
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
