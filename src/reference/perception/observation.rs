//! `POST /v1/perception/events`: what the model makes of an event, kept. An operation between two
//! transactions, like everything that calls a backend: interrupted ones are resumed, and asked for
//! consent again.

use std::sync::Arc;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::gate::{self, Known};
use super::{SERVICE, consent, outbound, session_of, told};
use crate::reference::ids;
use crate::reference::mutation::{self, Decision, Done, Refused};
use crate::reference::operations::{NewOperation, Operation, Resumer};
use crate::reference::outbound::Outbound;
use crate::reference::service::Service;
use crate::reference::turns::model;
use crate::reference::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};

const KIND: &str = "observation";
const PATH: &str = "/v1/perception/events";

/// The route.
pub(super) fn route() -> Row {
    let (line, names) = (("POST", PATH), ("perception.event", "observation"));
    Row::mutation(SERVICE, line, "v4.3", names, handler(observe))
        .about("Takes an event, and keeps what the model makes of it, of a session that consents.")
        .takes(&[
            Field::id("session_id"),
            Field::id("type"),
            Field::new("text", Shape::Text(Longest::Input)),
        ])
        .gives(
            201,
            &[
                Field::text("event_id"),
                Field::text("session_id"),
                Field::text("type"),
                Field::text("text"),
            ],
        )
        .refuses(&[403])
}

/// What resumes interrupted observations.
pub fn resumers() -> Vec<Resumer> {
    vec![Resumer {
        service: SERVICE,
        kind: KIND,
        resume: Arc::new(|svc, operation| Box::pin(resume(svc, operation))),
    }]
}

/// What an observation's operation keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Detail {
    event_id: String,
    session_id: String,
    kind: String,
    text: String,
}

async fn observe(svc: Arc<Service>, call: Call) -> Reply {
    let session = session_of(&call, svc.config().limits.id_chars).to_owned();
    let privacy = gate::privacy_of(&svc, &session).await;
    let (service, request) = (svc.clone(), call.clone());
    let begun = mutation::begin(&svc, &call, move |tx| {
        let limits = &service.config().limits;
        let fields = request.fields()?;
        let detail = Detail {
            event_id: ids::make("obs_"),
            kind: fields.text("type", limits.id_chars)?.to_owned(),
            text: fields.text("text", limits.input_chars)?.to_owned(),
            session_id: session,
        };
        let consent = consent::state(tx.sql(), &detail.session_id);
        let known = Known {
            endpoint: request.endpoint.clone(),
            consent: consent.map_err(|error| error.to_string()),
            privacy,
        };
        gate::pass(&service, &detail.session_id, &known)?;
        let operation = NewOperation {
            id: ids::make("op_"),
            kind: KIND,
            decision_id: None,
            fence_token: None,
            detail: json!(detail),
        };
        Ok::<_, Refused>(Decision {
            operation,
            origin: None,
            action: None,
            resource: Some(resource(&detail)),
            value: detail,
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => {
            let detail = begun.value;
            let mut asked = outbound(&svc, &call, &begun.operation_id, question(&detail));
            asked.causal_parent = begun.link.to_string();
            run(&svc, detail, asked, false).await
        }
    }
}

async fn resume(svc: Arc<Service>, operation: Operation) {
    let detail: Detail = match serde_json::from_value(operation.detail) {
        Ok(detail) => detail,
        Err(error) => {
            return tracing::error!(operation_id = operation.id, %error, "not an observation");
        }
    };
    let known = Known {
        endpoint: format!("POST {PATH}"),
        consent: super::read_consent(&svc, &detail.session_id).await,
        privacy: gate::privacy_of(&svc, &detail.session_id).await,
    };
    let correlation_id = operation.origin.correlation_id;
    if let Err(refusal) = gate::pass(&svc, &detail.session_id, &known) {
        fail(&svc, &operation.id, &correlation_id, &detail, refusal).await;
        return;
    }
    let about = Call::anonymous(&correlation_id);
    let mut asked = outbound(&svc, &about, &operation.id, question(&detail));
    asked.causal_parent = operation.link.unwrap_or_default();
    asked.replay_generation = operation.origin.replay_generation;
    run(&svc, detail, asked, true).await;
}

fn question(detail: &Detail) -> serde_json::Value {
    json!({
        "turn_id": detail.event_id, "session_id": detail.session_id, "input_text": detail.text,
    })
}

async fn run(svc: &Arc<Service>, detail: Detail, asked: Outbound, resumed: bool) -> Reply {
    let (id, correlation_id) = (&asked.operation_id, &asked.correlation_id);
    let text = match told(model::insist(svc, &asked, resumed).await) {
        Ok(text) => text,
        Err(refusal) => return fail(svc, id, correlation_id, &detail, refusal).await,
    };
    mutation::finish(svc, id, correlation_id, move |tx, _| {
        let Detail {
            event_id,
            session_id,
            kind,
            text: event,
        } = &detail;
        tx.sql()
            .prepare_cached(
                "INSERT INTO observations (id, session_id, type, event, inference, created_at_us) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                event_id,
                session_id,
                kind,
                event,
                text,
                tx.now().us()
            ])?;
        let body = json!({
            "event_id": event_id, "session_id": session_id, "type": kind, "text": text,
        });
        let done = Done::new(201, body).action("perception.infer");
        Ok(done.on(resource(&detail)))
    })
    .await
}

/// The end of an observation that is none.
async fn fail(
    svc: &Arc<Service>,
    operation_id: &str,
    correlation_id: &str,
    detail: &Detail,
    refusal: Refusal,
) -> Reply {
    let (status, body) = (refusal.status, refusal.body(correlation_id));
    let resource = resource(detail);
    let reply = mutation::finish(svc, operation_id, correlation_id, move |_, _| {
        let done = Done::new(status, body.clone()).failed();
        Ok(done.action("perception.infer").on(resource.clone()))
    });
    match refusal.retry_after {
        Some(seconds) => reply.await.header("retry-after", seconds.to_string()),
        None => reply.await,
    }
}

fn resource(detail: &Detail) -> String {
    format!("observation/{}", detail.event_id)
}
