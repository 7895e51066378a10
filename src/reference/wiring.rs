//! What there is: services, routes, restore stages, resumers and background tasks, one list each.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::Connection;

use super::config::{self, Config};
use super::identity::users;
use super::operations::Resumer;
use super::service::Service;
use super::store::StoreError;
use super::time::Timestamp;
use super::web::Row;
use super::{
    actions, audit, breaker, confirmations, dead_letters, eva_os, events, latency, memory,
    model_router, openapi, openclaw, orchestrator, outbox, perception, privacy, prune, sessions,
    slo, status, stream, supervision, tasks, tool_service, trace, turns, vision, voice,
};

/// The services, in the order in which they are bound.
pub const SERVICES: &[&str] = &[
    "api-gateway",
    "model-router",
    "memory-engine",
    "pipecat",
    "openclaw",
    "eva-os",
    "vision-capture",
    "perception",
    "tool-service",
    "orchestrator",
];

/// The route table.
pub fn routes() -> Vec<Row> {
    [
        status::routes(SERVICES),
        openapi::routes(SERVICES),
        sessions::routes(),
        stream::routes(),
        voice::routes(),
        events::routes(),
        breaker::routes(),
        slo::routes(),
        audit::routes(),
        trace::routes(),
        memory::routes(),
        users::routes(),
        vision::routes(),
        privacy::routes(),
        perception::routes(),
        turns::routes(),
        latency::routes(),
        confirmations::routes(),
        actions::routes(),
        dead_letters::routes(),
        openclaw::routes(),
        eva_os::routes(),
        tasks::routes(),
        supervision::routes(),
        model_router::routes(),
        tool_service::routes(),
        orchestrator::routes(),
    ]
    .concat()
}

/// A stage of the restore: counts what of it is back.
pub struct Stage {
    /// Its name in the trace.
    pub name: &'static str,
    /// Whose database it looks into.
    pub service: &'static str,
    /// Counts.
    pub count: fn(&Connection, &Config, Timestamp) -> rusqlite::Result<i64>,
}

/// The stages, in their order; each is announced also when it restores nothing.
pub const STAGES: &[Stage] = &[
    Stage {
        name: "sessions",
        service: "api-gateway",
        count: sessions::count,
    },
    Stage {
        name: "confirmations",
        service: "api-gateway",
        count: confirmations::count,
    },
    Stage {
        name: "tasks",
        service: "eva-os",
        count: tasks::count,
    },
    Stage {
        name: "budgets",
        service: "eva-os",
        count: supervision::budgets::count,
    },
];

/// What is done with operations that were pending at start.
pub fn resumers() -> Vec<Resumer> {
    [
        turns::resumers(),
        confirmations::resumers(),
        actions::resumers(),
        dead_letters::resumers(),
        users::resumers(),
        openclaw::resumers(),
        eva_os::resumers(),
        orchestrator::resumers(),
        perception::resumers(),
    ]
    .concat()
}

/// What of a service has to be there before its first request, after its database is open.
pub type Open = fn(Arc<Service>) -> BoxFuture<'static, Result<(), StoreError>>;

/// `(service, what is opened)`.
pub const OPEN: &[(&str, Open)] = &[
    ("memory-engine", |svc| {
        Box::pin(async move { memory::restore(&svc).await })
    }),
    ("pipecat", |svc| {
        Box::pin(async move {
            (svc.parts.voice.prepare)(svc.clone()).await;
            Ok(())
        })
    }),
];

/// What is done once a process that stops has answered its last request.
pub const CLOSE: &[(&str, Task)] = &[("memory-engine", |svc| Box::pin(memory::close(svc)))];

/// Work that runs beside the requests of a service, until the process ends.
pub type Task = fn(Arc<Service>) -> BoxFuture<'static, ()>;

/// `(service, task)`; the empty name means every service.
pub const TASKS: &[(&str, Task)] = &[
    ("", |svc| Box::pin(prune::run(svc))),
    ("", |svc| Box::pin(audit::sign_periodically(svc))),
    ("api-gateway", |svc| Box::pin(config::follow::follow(svc))),
    ("api-gateway", |svc| Box::pin(outbox::run(svc))),
    ("memory-engine", |svc| Box::pin(memory::mend(svc))),
    ("pipecat", |svc| Box::pin(voice::discover(svc))),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::reference::web::Twin;

    #[test]
    fn the_routes_are_those_of_the_contract() {
        let text = include_str!("../../fixtures/contract/routes.json");
        let table: Value = serde_json::from_str(text).unwrap();
        let wanted: BTreeSet<String> = table["routes"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect();
        let row = |row: &Row| {
            let mut value = json!({
                "service": row.service,
                "method": row.method,
                "path": row.path,
                "since": row.since,
                "mutating": row.mutating,
                "min_role": row.min_role.word(),
            });
            match row.twin {
                Twin::None => {}
                Twin::Deprecated => value["twin"] = json!("deprecated"),
                Twin::Plain => value["twin"] = json!("plain"),
            }
            if row.socket.is_some() {
                value["websocket"] = json!(true);
            }
            value.to_string()
        };
        let served: BTreeSet<String> = routes().iter().map(row).collect();
        let differing: Vec<_> = served.symmetric_difference(&wanted).collect();
        assert!(differing.is_empty(), "{differing:#?}");
        assert_eq!(routes().len(), wanted.len());
    }
    #[test]
    fn every_mutation_is_called_what_the_contract_calls_it() {
        let text = include_str!("../../fixtures/contract/audit.json");
        let table: Value = serde_json::from_str(text).unwrap();
        let mutating: Vec<Row> = routes().into_iter().filter(|row| row.mutating).collect();
        let effects = table["effects"].as_array().unwrap();
        assert_eq!(mutating.len(), effects.len());
        for row in mutating {
            let of_row = |effect: &&Value| {
                effect["service"] == row.service
                    && effect["method"] == row.method
                    && effect["path"] == row.path
            };
            let effect = effects.iter().find(of_row).unwrap();
            let named = [&effect["action"], &effect["started"]].contains(&&json!(row.action));
            assert!(named, "{} {}: {}", row.service, row.path, row.action);
        }
    }
}
