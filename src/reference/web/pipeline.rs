//! One request from the socket to the handler: the checks, in the contract's order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Query;
use axum::http::request::Parts as Head;
use serde_json::json;

use super::matching::{Matched, find};
use super::server::Front;
use super::socket::Opening;
use super::{Call, MinRole, Refusal, Reply, Role, Row, Twin, body, headers};
use crate::reference::identity::Denied;
use crate::reference::identity::door::Knock;
use crate::reference::mutation;
use crate::reference::service::Service;

/// Longer request lines are refused.
pub const TARGET_BYTES: usize = 8192;

/// What is known of a request before anybody is asked.
struct Intake<'a> {
    front: &'a Front,
    head: &'a Head,
    peer: SocketAddr,
    correlation_id: &'a str,
}

/// Answers a request. Never fails: what goes wrong is an answer too.
pub(super) async fn answer(
    front: &Front,
    peer: SocketAddr,
    (head, body): (Head, Body),
    (correlation_id, upgrades): (&str, bool),
) -> (Reply, Option<Opening>) {
    let intake = Intake {
        front,
        head: &head,
        peer,
        correlation_id,
    };
    let (row, service, mut call, by_twin) = match look_up(&intake).await {
        Ok(found) => found,
        Err(reply) => return (reply, None),
    };
    let migrate_to = (by_twin && row.twin == Twin::Deprecated).then(|| call.path.clone());
    let reply = match admit(&intake, &service, row, body, &mut call).await {
        Ok(()) if row.socket.is_some() && !upgrades => not_upgraded(correlation_id),
        Ok(()) => run(row, service.clone(), call.clone()).await,
        Err(refused) => refused,
    };
    let opens = row.socket.clone().filter(|_| reply.status == 101);
    let opening = opens.map(|handler| Opening {
        handler,
        service,
        call,
    });
    let reply = match migrate_to {
        Some(path) => reply
            .header("x-deprecated", "true")
            .header("x-migrate-to", path),
        None => reply,
    };
    (reply, opening)
}

/// From the request line to a row, or to the answer that there is none.
async fn look_up<'a>(intake: &Intake<'a>) -> Result<(&'a Row, Arc<Service>, Call, bool), Reply> {
    let (head, correlation_id) = (intake.head, intake.correlation_id);
    let refuse = |refusal: Refusal| Err(refusal.reply(correlation_id));
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > TARGET_BYTES || head.uri.path().contains('%') {
        return refuse(Refusal::malformed(
            "the request target is too long or escaped",
        ));
    }
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(&head.uri) else {
        return refuse(Refusal::malformed("the query is malformed"));
    };
    let matched = find(&intake.front.rows, head.method.as_str(), head.uri.path());
    let Some(service) = intake.front.service() else {
        return Err(starting(intake));
    };
    match matched {
        Matched::Route {
            row,
            path,
            params,
            by_twin,
        } => {
            let call = Call {
                endpoint: format!("{} {}", row.method, row.path),
                method: row.method,
                resource: resource(row, &params),
                path,
                params,
                query,
                action: row.action,
                ..Call::anonymous(correlation_id)
            };
            Ok((row, service, call, by_twin))
        }
        Matched::Method { allow, open } => Err(wrong_method(intake, &service, allow, open).await),
        Matched::Nothing => Err(nothing(intake, &service).await),
    }
}

fn not_upgraded(correlation_id: &str) -> Reply {
    let message = "this is a WebSocket: ask for an upgrade";
    Refusal::new(426, "UPGRADE_REQUIRED", message)
        .reply(correlation_id)
        .header("upgrade", "websocket")
}

/// Everything between the request line and the handler.
async fn admit(
    intake: &Intake<'_>,
    service: &Arc<Service>,
    row: &Row,
    body: Body,
    call: &mut Call,
) -> Result<(), Reply> {
    let refuse = |refusal: Refusal| refusal.reply(intake.correlation_id);
    if row.min_role == MinRole::None {
        return Ok(());
    }
    identify(intake, service, call).await?;
    let longest = service.config().limits.id_chars;
    if call.params.values().any(|value| value.len() > longest) {
        let message = format!("an id has at most {longest} characters");
        return Err(refuse(Refusal::new(400, "OUT_OF_RANGE", message)));
    }
    role(service, row, call).await?;
    limit(intake, service, &call.actor.id).map_err(refuse)?;
    if row.method == "GET" {
        return Ok(());
    }
    call.body = body::read(
        &intake.head.headers,
        body,
        service.config().limits.body_bytes,
    )
    .await
    .map_err(refuse)?;
    call.fence_header = headers::fence(&intake.head.headers).map_err(refuse)?;
    if row.mutating {
        call.key = headers::idempotency_key(&intake.head.headers).map_err(refuse)?;
    }
    Ok(())
}

/// Fills in the actor.
async fn identify(
    intake: &Intake<'_>,
    service: &Arc<Service>,
    call: &mut Call,
) -> Result<(), Reply> {
    let refuse = |refusal: Refusal| refusal.reply(intake.correlation_id);
    let knock = Knock {
        service: service.name,
        method: intake.head.method.as_str(),
        path: intake.head.uri.path(),
        headers: &intake.head.headers,
        now: service.now(),
    };
    match service
        .parts
        .door
        .answer(&service.shared.identity, knock)
        .await
    {
        Ok(known) => {
            call.actor = known.actor;
            call.from_service = known.from_service;
            if call.from_service {
                call.causal_parent = headers::causal_parent(&intake.head.headers);
                call.replay_generation = headers::replay_generation(&intake.head.headers);
            }
            Ok(())
        }
        Err(Denied::Unauthenticated) => {
            service.counters.unauthenticated.fetch_add(1, Relaxed);
            limit(intake, service, &format!("peer {}", intake.peer.ip())).map_err(refuse)?;
            Err(refuse(Refusal::new(
                401,
                "UNAUTHENTICATED",
                "no valid credentials",
            )))
        }
        Err(Denied::Malformed(message)) => Err(refuse(Refusal::malformed(message))),
        Err(Denied::Unreadable(message)) => {
            tracing::warn!(%message, "identities cannot be read");
            let text = "identities cannot be read just now";
            Err(refuse(Refusal::unavailable(
                "IDENTITY_UNAVAILABLE",
                text,
                1,
            )))
        }
    }
}

/// Whether the actor's role is enough; a refusal gets its audit entry.
async fn role(service: &Arc<Service>, row: &Row, call: &Call) -> Result<(), Reply> {
    let role = Role::named(&call.actor.role);
    let enough = match row.min_role {
        MinRole::None => true,
        MinRole::Observer => role.is_some(),
        MinRole::Operator => role == Some(Role::Operator),
        MinRole::Service => call.from_service && role == Some(Role::Operator),
    };
    if enough {
        return Ok(());
    }
    let message = format!("role {} may not do this", call.actor.role);
    let refusal = Refusal::new(403, "FORBIDDEN", message)
        .details(json!({"role": call.actor.role, "needed": row.min_role.word()}));
    Err(mutation::refuse(service, call, refusal).await)
}

fn limit(intake: &Intake<'_>, service: &Arc<Service>, who: &str) -> Result<(), Refusal> {
    let limits = &service.config().rate_limit;
    if !limits.enabled {
        return Ok(());
    }
    let (rate, burst) = (limits.per_second, limits.burst);
    intake
        .front
        .limiter
        .take(who, rate, burst, Instant::now())
        .map_err(|seconds| {
            service.counters.rate_limited.fetch_add(1, Relaxed);
            let message = format!("more than {rate} requests a second");
            Refusal {
                status: 429,
                ..Refusal::unavailable("RATE_LIMITED", message, seconds)
            }
        })
}

/// A handler runs on a task of its own: a client that hangs up must not stop an operation half-way.
async fn run(row: &Row, service: Arc<Service>, call: Call) -> Reply {
    let correlation_id = call.correlation_id.clone();
    let handler = row.handler.clone();
    let task = tokio::spawn(async move { handler(service, call).await });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler panicked");
        Refusal::new(500, "INTERNAL", "this is a bug of the service").reply(&correlation_id)
    })
}

fn resource(row: &Row, params: &std::collections::BTreeMap<String, String>) -> String {
    let mut resource = row.resource.to_owned();
    for (name, value) in params {
        resource = resource.replace(&format!("{{{name}}}"), value);
    }
    resource
}

fn starting(intake: &Intake<'_>) -> Reply {
    if intake.head.uri.path() == "/healthz" {
        return Reply::json(503, json!({"ok": false, "state": "starting"}));
    }
    Refusal::unavailable("STARTING", "the service is starting", 1).reply(intake.correlation_id)
}

async fn wrong_method(
    intake: &Intake<'_>,
    service: &Arc<Service>,
    allow: String,
    open: bool,
) -> Reply {
    if !open && let Err(denied) = known(intake, service).await {
        return denied;
    }
    let message = format!("{} is not allowed here: {allow} is", intake.head.method);
    Refusal::new(405, "METHOD_NOT_ALLOWED", message)
        .reply(intake.correlation_id)
        .header("allow", allow)
}

async fn nothing(intake: &Intake<'_>, service: &Arc<Service>) -> Reply {
    match known(intake, service).await {
        Ok(()) => Refusal::not_found("ROUTE_NOT_FOUND", format!("no {}", intake.head.uri.path()))
            .reply(intake.correlation_id),
        Err(denied) => denied,
    }
}

/// What does not exist is told to those who may ask, under their rate limit.
async fn known(intake: &Intake<'_>, service: &Arc<Service>) -> Result<(), Reply> {
    let mut call = Call::anonymous(intake.correlation_id);
    identify(intake, service, &mut call).await?;
    limit(intake, service, &call.actor.id).map_err(|refusal| refusal.reply(intake.correlation_id))
}
