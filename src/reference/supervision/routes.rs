//! The routes of supervision.

use std::sync::Arc;

use serde_json::{Value, json};

use super::machine::Health;
use super::state;
use super::table::{Row as Supervised, SUPERVISOR};
use crate::reference::mutation::{Done, Refused, commit};
use crate::reference::service::Service;
use crate::reference::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};
use crate::reference::wiring::SERVICES;

/// The routes.
pub fn routes() -> Vec<Row> {
    let post = |path, action, resource, run| {
        Row::mutation(SUPERVISOR, ("POST", path), "v4.4", (action, resource), run)
    };
    vec![
        Row::get(
            SUPERVISOR,
            "/v1/supervision/dependency-graph",
            "v4.4",
            handler(graph),
        )
        .about("Who is supervised, in which tier, and what it calls.")
        .gives(200, GRAPH),
        Row::get(SUPERVISOR, "/health/all", "v4.4", handler(health))
            .about("How every service is, and how far its restart is.")
            .gives(200, HEALTH),
        post(
            "/v1/supervision/maintenance-mode",
            "supervision.maintenance",
            "supervision",
            handler(maintenance),
        )
        .about("Begins or ends maintenance: nothing is restarted by itself meanwhile.")
        .takes(&[Field::flag("enabled"), REASON])
        .gives(200, &[Field::flag("maintenance_mode")]),
        post(
            "/v1/supervision/restart/{service}",
            "supervision.restart",
            "service/{service}",
            handler(restart),
        )
        .about("Asks for a restart: done at once where the service is supervised, else with the next start.")
        .takes(&[REASON])
        .gives(202, &[Field::text("service"), Field::word("state", &["pending"])])
        .refuses(&[404, 409]),
    ]
}

const REASON: Field = Field::new("reason", Shape::Text(Longest::Input)).optional();

const GRAPH: &[Field] = &[
    Field::flag("supervising"),
    Field::list(
        "services",
        &[
            Field::text("service"),
            Field::count("tier"),
            Field::flag("optional"),
            Field::flag("supervised"),
            Field::list("depends_on", &[Field::text("service")]),
            Field::text("health_path"),
            Field::text("url").or_null(),
        ],
    ),
];

const HEALTH: &[Field] = &[
    Field::word("overall", &["healthy", "degraded"]),
    Field::flag("supervising"),
    Field::flag("maintenance_mode"),
    Field::word("budget_store", &["ok", "unreadable"]),
    Field::list(
        "services",
        &[
            Field::text("service"),
            Field::count("tier"),
            Field::flag("optional"),
            Field::word(
                "state",
                &["starting", "healthy", "degraded", "unreachable", "absent"],
            ),
            Field::count("pid").or_null(),
            Field::text("url").or_null(),
            Field::count("consecutive_failures"),
            Field::count("consecutive_successes"),
            Field::word(
                "restart",
                &[
                    "armed",
                    "waiting",
                    "starting",
                    "exhausted",
                    "refused",
                    "none",
                ],
            ),
            Field::count("restarts_in_window"),
        ],
    ),
];

/// The rows of what there is, in the order in which they start.
fn rows(svc: &Service) -> Vec<Supervised> {
    let table = svc.parts.supervision.table.iter();
    let mut rows: Vec<_> = table
        .filter(|row| SERVICES.contains(&row.service))
        .cloned()
        .collect();
    rows.sort_by_key(|row| row.tier);
    rows
}

/// Where a service of this process, or one that it supervises, is found.
fn url(svc: &Service, row: &Supervised) -> Option<String> {
    match svc
        .shared
        .supervision()
        .and_then(|all| all.find(row.service))
    {
        Some(watched) => Some(watched.shown().url),
        None => hosted(svc, row).then(|| svc.peer(row.service)),
    }
}

/// Whether this very process hosts it.
fn hosted(svc: &Service, row: &Supervised) -> bool {
    svc.shared.hosted.contains(&row.service)
}

async fn graph(svc: Arc<Service>, call: Call) -> Reply {
    let shown = rows(&svc).into_iter().map(|row| {
        let supervised = svc
            .shared
            .supervision()
            .and_then(|all| all.find(row.service));
        json!({
            "service": row.service,
            "tier": row.tier,
            "optional": row.optional,
            "supervised": supervised.is_some(),
            "depends_on": row.depends_on.iter().map(|name| json!({"service": name})).collect::<Vec<_>>(),
            "health_path": row.health_path,
            "url": url(&svc, &row),
        })
    });
    let body = json!({
        "supervising": svc.shared.supervision().is_some(),
        "services": shown.collect::<Vec<_>>(),
    });
    Reply::ok(&call.correlation_id, body)
}

async fn health(svc: Arc<Service>, call: Call) -> Reply {
    let maintained = match svc.store.read(state::is_maintained).await {
        Ok(maintained) => maintained,
        Err(error) => return Refusal::store(&error).reply(&call.correlation_id),
    };
    let all = svc.shared.supervision();
    let readable = match all {
        Some(all) => all.readable(),
        None => state::readable(&svc).await,
    };
    let rows = rows(&svc);
    let services: Vec<Value> = rows.iter().map(|row| of(&svc, row)).collect();
    // What is optional may be missing; what is there has to be well.
    let well = |(row, shown): (&Supervised, &Value)| {
        shown["state"] == "healthy" || row.optional && shown["state"] == "absent"
    };
    let well = readable && rows.iter().zip(&services).all(well);
    let body = json!({
        "overall": if well { "healthy" } else { "degraded" },
        "supervising": all.is_some(),
        "maintenance_mode": maintained,
        "budget_store": if readable { "ok" } else { "unreadable" },
        "services": services,
    });
    Reply::ok(&call.correlation_id, body)
}

/// One service. What this process hosts is as well as the process that answers.
fn of(svc: &Service, row: &Supervised) -> Value {
    let watched = svc
        .shared
        .supervision()
        .and_then(|all| all.find(row.service));
    let (state, pid, failures, successes, restart, spent) = match watched {
        Some(watched) => {
            let shown = watched.shown();
            let (state, restart) = (&shown.state, shown.state.restart.word());
            let counts = (state.failures, state.successes);
            (
                state.health.word(),
                shown.pid,
                counts.0,
                counts.1,
                restart,
                shown.spent,
            )
        }
        None if hosted(svc, row) => {
            let own = Some(std::process::id());
            (Health::Healthy.word(), own, 0, 0, "none", 0)
        }
        None => ("absent", None, 0, 0, "none", 0),
    };
    json!({
        "service": row.service,
        "tier": row.tier,
        "optional": row.optional,
        "state": state,
        "pid": pid,
        "url": url(svc, row),
        "consecutive_failures": failures,
        "consecutive_successes": successes,
        "restart": restart,
        "restarts_in_window": spent,
    })
}

async fn maintenance(svc: Arc<Service>, call: Call) -> Reply {
    let (config, request) = (svc.config(), call.clone());
    let reply = commit(&svc, &call, move |tx| {
        let fields = request.fields()?;
        let enabled = fields.optional_bool("enabled")?;
        let enabled = enabled.ok_or_else(|| Refusal::schema("enabled: missing"))?;
        let reason = fields.optional_text("reason", config.limits.input_chars)?;
        if state::maintain(tx, enabled, &request.actor, reason)? {
            let data = json!({"enabled": enabled, "actor_id": request.actor.id});
            tx.event("supervision.maintenance", &request.correlation_id, data)?;
        }
        Ok(Done::new(200, json!({"maintenance_mode": enabled})))
    })
    .await;
    // What is on disk counts: a repeated request is answered with what it led to once.
    if let Some(all) = svc.shared.supervision()
        && let Ok(enabled) = state::maintenance(&svc).await
    {
        all.maintain(enabled);
    }
    reply
}

async fn restart(svc: Arc<Service>, call: Call) -> Reply {
    let (service, request) = (svc.clone(), call.clone());
    let reply = commit(&svc, &call, move |tx| {
        let name = request.param("service");
        let fields = request.fields()?;
        let reason = fields.optional_text("reason", service.config().limits.input_chars)?;
        may_be_restarted(&service, name)?;
        state::request(tx, name, &request.actor)?;
        let data = json!({"service": name, "actor_id": request.actor.id, "reason": reason});
        tx.event(
            "supervision.restart.requested",
            &request.correlation_id,
            data,
        )?;
        let body = json!({"service": name, "state": "pending"});
        Ok(Done::new(202, body).on(format!("service/{name}")))
    })
    .await;
    // One that is met already is on disk no more.
    if let Some(all) = svc.shared.supervision()
        && state::is_requested(&svc, call.param("service")).await
    {
        all.ask(call.param("service"));
    }
    reply
}

/// Whether there is something to be restarted, now or with the next start.
fn may_be_restarted(svc: &Service, name: &str) -> Result<(), Refused> {
    let Some(row) = rows(svc).into_iter().find(|row| row.service == name) else {
        let message = format!("no service {name}");
        return Err(Refusal::not_found("SERVICE_NOT_FOUND", message).into());
    };
    let there = match svc.shared.supervision() {
        Some(all) => all.find(name).is_some(),
        None => hosted(svc, &row),
    };
    if name == SUPERVISOR || !there {
        let message = format!("{name} is not one that can be restarted here");
        return Err(Refusal::conflict("NOT_SUPERVISED", message).into());
    }
    Ok(())
}
