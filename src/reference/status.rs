//! `/healthz`, `/version` and `/status` of every service.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::breaker::Breaker;
use super::redact;
use super::service::{Restored, Service};
use super::web::{Call, Field, Refusal, Reply, Row, handler};

const WHO: &[Field] = &[
    Field::text("service"),
    Field::text("version"),
    Field::text("contract_version"),
];

const STATUS: &[Field] = &[
    Field::text("service"),
    Field::text("auth_posture"),
    Field::free("config"),
    Field::list(
        "restore",
        &[
            Field::text("stage"),
            Field::count("rows"),
            Field::number("begun_ms"),
            Field::number("duration_ms"),
        ],
    ),
    Field::object(
        "queues",
        &[
            Field::count("operations"),
            Field::count("stream"),
            Field::count("model"),
            Field::count("tool"),
        ],
    ),
    Field::list(
        "breakers",
        &[Field::text("dependency"), Field::text("state")],
    ),
    Field::object(
        "counters",
        &[
            Field::count("unauthenticated"),
            Field::count("rate_limited"),
            Field::count("shed"),
            Field::count("consent_blocks"),
        ],
    ),
];

/// What the services say they are.
pub(super) const VERSION: &str = "4.7.0";
/// The contract that they serve.
pub(super) const CONTRACT_VERSION: &str = "v4.6.0";

/// The three routes of each service.
pub fn routes(services: &[&'static str]) -> Vec<Row> {
    let rows = |service: &&'static str| {
        [
            Row::get(service, "/healthz", "v4.3", handler(healthz))
                .open()
                .about("Whether the service is ready.")
                .gives(200, &[&[Field::flag("ok")], WHO].concat()),
            Row::get(service, "/version", "v4.3", handler(version))
                .open()
                .about("Which release of which service this is.")
                .gives(200, WHO),
            Row::get(service, "/status", "v4.3", handler(status))
                .about("The config in force, what was restored at start, queues and counters.")
                .gives(200, STATUS),
        ]
    };
    services.iter().flat_map(rows).collect()
}

async fn healthz(svc: Arc<Service>, _call: Call) -> Reply {
    let (service, version) = (svc.name, VERSION);
    Reply::json(
        200,
        json!({
            "ok": true,
            "service": service,
            "version": version,
            "contract_version": CONTRACT_VERSION,
        }),
    )
}

async fn version(svc: Arc<Service>, _call: Call) -> Reply {
    let body = json!({
        "service": svc.name,
        "version": VERSION,
        "contract_version": CONTRACT_VERSION,
    });
    Reply::json(200, body)
}

async fn status(svc: Arc<Service>, call: Call) -> Reply {
    let pending = svc.store.read(|conn| {
        conn.prepare_cached("SELECT count(*) FROM operations WHERE state = 'pending'")?
            .query_row([], |row| row.get::<_, i64>(0))
    });
    let operations = match pending.await {
        Ok(operations) => operations,
        Err(error) => return Refusal::store(&error).reply(&call.correlation_id),
    };
    // The service token is in the key file, which leaves the credentials of URLs.
    let config = redact::value(serde_json::to_value(&*svc.config()).unwrap_or(Value::Null));
    let restored = svc.shared.restored.get().map_or(&[][..], Vec::as_slice);
    let breakers = svc.shared.breakers.all().iter().map(Breaker::shown);
    let breakers: Vec<_> = breakers.collect();
    let waiting = svc.shared.queues.depths();
    let body = json!({
        "service": svc.name,
        "auth_posture": svc.shared.identity.posture(),
        "config": config,
        "restore": restored.iter().map(Restored::value).collect::<Vec<_>>(),
        "queues": {
            "operations": operations,
            "stream": waiting["stream"],
            "model": waiting["model"],
            "tool": waiting["tool"],
        },
        "breakers": breakers,
        "counters": {
            "unauthenticated": svc.counters.unauthenticated.load(Relaxed),
            "rate_limited": svc.counters.rate_limited.load(Relaxed),
            "shed": svc.counters.shed.load(Relaxed),
            "consent_blocks": svc.counters.consent_blocks.load(Relaxed),
        },
    });
    Reply::ok(&call.correlation_id, body)
}
