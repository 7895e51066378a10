//! Users and their keys: made, given another key, revoked. The identities are in a database of
//! their own, so each of these is an operation between two transactions of memory-engine's.
//!
//! The secret key is in no database: an answer is stored with the key's hash in its place, and the
//! key is put in on the way out.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::book::{Change, Key};
use crate::reference::digest::sha256;
use crate::reference::ids;
use crate::reference::mutation::{Decision, Done, Refused, begin, finish};
use crate::reference::operations::{NewOperation, Operation, Resumer};
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;
use crate::reference::web::{Body, Call, Field, Most, Refusal, Reply, Role, Row, Shape, handler};

const SERVICE: &str = "memory-engine";
/// The kind of the operations.
const CHANGE: &str = "user.change";
/// The longest life of a key, ten years.
const LONGEST_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1000;
/// What stands for a key in a stored answer: this and the key's hash.
const HASHED: &str = "sha256:";

/// The routes.
pub fn routes() -> Vec<Row> {
    let one = "user/{id}";
    let row = |line, (action, resource), run| {
        Row::mutation(SERVICE, line, "v4.6", (action, resource), run)
    };
    vec![
        row(
            ("POST", "/v1/users"),
            ("user.create", "user"),
            handler(|svc, call| change(svc, call, create)),
        )
        .about("Makes a user and a key, which is told here and nowhere else.")
        .takes(&[
            Field::id("display_name"),
            Field::word("role", ROLES),
            EXPIRES_IN,
        ])
        .gives(
            201,
            &[
                ACTOR,
                NAME,
                Field::word("role", ROLES),
                KEY_ID,
                KEY,
                EXPIRES,
            ],
        )
        .refuses(&[409]),
        row(
            ("POST", "/v1/users/{id}/rotate-key"),
            ("user.rotate_key", one),
            handler(|svc, call| change(svc, call, rotate)),
        )
        .about("Gives a user another key; those before it are good until the rotation window ends.")
        .takes(&[EXPIRES_IN])
        .gives(
            200,
            &[
                ACTOR,
                KEY_ID,
                KEY,
                Field::text("old_keys_expire_at"),
                EXPIRES,
            ],
        )
        .refuses(&[404, 409]),
        row(
            ("DELETE", "/v1/users/{id}"),
            ("user.revoke", one),
            handler(|svc, call| change(svc, call, revoke)),
        )
        .about("Revokes a user and every key of theirs, at once.")
        .gives(200, &[ACTOR, Field::word("state", &["revoked"])])
        .refuses(&[404, 409]),
    ]
}

const ROLES: &[&str] = &["operator", "observer"];
const ACTOR: Field = Field::text("actor_id");
const NAME: Field = Field::text("display_name");
const KEY_ID: Field = Field::text("key_id");
const KEY: Field = Field::text("api_key").or_null();
const EXPIRES: Field = Field::text("expires_at").or_null();
const EXPIRES_IN: Field =
    Field::new("expires_in_ms", Shape::Integer(1, Most::Number(LONGEST_MS))).optional();

/// What resumes interrupted changes.
pub fn resumers() -> Vec<Resumer> {
    let resume = |svc: Arc<Service>, operation: Operation| {
        Box::pin(async move { resume(&svc, &operation).await })
            as futures_util::future::BoxFuture<_>
    };
    vec![Resumer {
        service: SERVICE,
        kind: CHANGE,
        resume: Arc::new(resume),
    }]
}

/// A change that is decided: what it takes to make it and to answer.
#[derive(Clone, Serialize, Deserialize)]
struct Planned {
    change: Change,
    actor_id: String,
    action: String,
    status: u16,
    body: Value,
}

type Plan = fn(&Service, &Call, Timestamp) -> Result<Planned, Refusal>;

async fn change(svc: Arc<Service>, call: Call, plan: Plan) -> Reply {
    let (service, request) = (svc.clone(), call.clone());
    let begun = begin(&svc, &call, move |tx| decide(&service, &request, plan, tx));
    let reply = match begun.await {
        Err(reply) => reply,
        Ok(begun) => {
            let (id, planned) = (begun.operation_id, begun.value);
            let made = svc.shared.identity.change(&id, &planned.change, svc.now());
            let made = made.await;
            settle(&svc, &id, &call.correlation_id, planned, made).await
        }
    };
    reveal(&svc, reply)
}

fn decide(
    svc: &Service,
    call: &Call,
    plan: Plan,
    tx: &mut Tx<'_>,
) -> Result<Decision<Planned>, Refused> {
    if svc.shared.identity.posture() != "required" {
        let message = "there are no users while authentication is off";
        return Err(Refusal::conflict("AUTH_DISABLED", message).into());
    }
    let planned = plan(svc, call, tx.now())?;
    let detail = serde_json::to_value(&planned).map_err(StoreError::from)?;
    Ok(Decision {
        operation: NewOperation {
            id: ids::make("op_"),
            kind: CHANGE,
            decision_id: None,
            fence_token: None,
            detail,
        },
        origin: None,
        action: None,
        resource: Some(format!("user/{}", planned.actor_id)),
        value: planned,
    })
}

fn create(svc: &Service, call: &Call, now: Timestamp) -> Result<Planned, Refusal> {
    let fields = call.fields()?;
    let longest = svc.config().limits.id_chars;
    let display_name = fields.text("display_name", longest)?.to_owned();
    let role = fields.text("role", longest)?;
    let Some(role) = Role::named(role) else {
        return Err(Refusal::schema("role: expected operator or observer"));
    };
    let (key, mut body) = new_key(svc, call, now)?;
    let (actor_id, role) = (ids::make("usr_"), role.word().to_owned());
    body["actor_id"] = actor_id.clone().into();
    body["display_name"] = display_name.clone().into();
    body["role"] = role.clone().into();
    Ok(Planned {
        actor_id: actor_id.clone(),
        change: Change::Create {
            actor_id,
            display_name,
            role,
            key,
        },
        action: "user.created".to_owned(),
        status: 201,
        body,
    })
}

fn rotate(svc: &Service, call: &Call, now: Timestamp) -> Result<Planned, Refusal> {
    // The schema before the state.
    let (key, mut body) = new_key(svc, call, now)?;
    let actor_id = existing(svc, call)?;
    let old_until = now.plus_ms(svc.config().auth.rotation_window_ms);
    body["actor_id"] = actor_id.clone().into();
    body["old_keys_expire_at"] = old_until.to_string().into();
    Ok(Planned {
        actor_id: actor_id.clone(),
        change: Change::Rotate {
            actor_id,
            key,
            old_until_us: old_until.us(),
        },
        action: "user.key_rotated".to_owned(),
        status: 200,
        body,
    })
}

fn revoke(svc: &Service, call: &Call, _: Timestamp) -> Result<Planned, Refusal> {
    let actor_id = existing(svc, call)?;
    Ok(Planned {
        actor_id: actor_id.clone(),
        body: json!({"actor_id": actor_id, "state": "revoked"}),
        change: Change::Revoke { actor_id },
        action: "user.revoked".to_owned(),
        status: 200,
    })
}

/// The user that the path names. Whether it is still there when the change is made, the change
/// says itself.
fn existing(svc: &Service, call: &Call) -> Result<String, Refusal> {
    let id = call.param("id");
    match svc.shared.identity.has(id) {
        Ok(true) => Ok(id.to_owned()),
        Ok(false) => Err(unknown(id)),
        Err(error) => Err(unavailable(&error.to_string())),
    }
}

/// A fresh key, and what an answer says of it; the body may say how long it lives.
fn new_key(svc: &Service, call: &Call, now: Timestamp) -> Result<(Key, Value), Refusal> {
    let expires_at = match call.fields()?.optional_integer("expires_in_ms")? {
        None => None,
        Some(ms @ 1..=LONGEST_MS) => Some(now.plus_ms(ms.unsigned_abs())),
        Some(_) => {
            let message = format!("expires_in_ms: expected 1 to {LONGEST_MS}");
            return Err(Refusal::schema(message));
        }
    };
    let key_id = ids::make("kid_");
    let sha256 = sha256(
        svc.shared
            .identity
            .api_key(&key_id)
            .unwrap_or_default()
            .as_bytes(),
    );
    let body = json!({
        "key_id": key_id,
        "api_key": format!("{HASHED}{sha256}"),
        "expires_at": expires_at.map(|at| at.to_string()),
    });
    let expires_at_us = expires_at.map(Timestamp::us);
    Ok((
        Key {
            sha256,
            expires_at_us,
        },
        body,
    ))
}

/// Stores what became of a change.
async fn settle(
    svc: &Arc<Service>,
    operation_id: &str,
    correlation_id: &str,
    planned: Planned,
    made: Result<bool, String>,
) -> Reply {
    let refused = match &made {
        Ok(true) => None,
        Ok(false) => Some(unknown(&planned.actor_id)),
        Err(message) => Some(unavailable(message)),
    };
    let correlation = correlation_id.to_owned();
    let reply = finish(svc, operation_id, correlation_id, move |_, _| {
        let done = match &refused {
            None => Done::new(planned.status, planned.body.clone()),
            Some(refusal) => Done::new(refusal.status, refusal.body(&correlation)).failed(),
        };
        Ok(done
            .action(&planned.action)
            .on(format!("user/{}", planned.actor_id)))
    });
    let reply = reply.await;
    match reply.status {
        503 => reply.header("retry-after", "1"),
        _ => reply,
    }
}

/// Makes an interrupted change, however long the file cannot be written.
async fn resume(svc: &Arc<Service>, operation: &Operation) {
    let planned: Planned = match serde_json::from_value(operation.detail.clone()) {
        Ok(planned) => planned,
        Err(error) => {
            tracing::error!(operation_id = operation.id, %error, "nobody knows what this was");
            return;
        }
    };
    let made = loop {
        let made = svc
            .shared
            .identity
            .change(&operation.id, &planned.change, svc.now());
        match made.await {
            Ok(made) => break made,
            Err(error) => {
                tracing::warn!(operation_id = operation.id, %error, "identities cannot be written");
                let retry_ms = svc.config().operations.retry_ms;
                tokio::time::sleep(Duration::from_millis(retry_ms)).await;
            }
        }
    };
    let correlation_id = operation.origin.correlation_id.clone();
    settle(svc, &operation.id, &correlation_id, planned, Ok(made)).await;
}

/// Puts the key in the place of its hash; nothing, when it is not the one that was told.
fn reveal(svc: &Service, mut reply: Reply) -> Reply {
    let mut body = reply.value();
    let Some(hash) = body["api_key"]
        .as_str()
        .and_then(|text| text.strip_prefix(HASHED))
    else {
        return reply;
    };
    let key = body["key_id"]
        .as_str()
        .and_then(|id| svc.shared.identity.api_key(id));
    let key = key.filter(|key| sha256(key.as_bytes()) == hash);
    body["api_key"] = key.map_or(Value::Null, Value::from);
    reply.body = Body::Json(body);
    reply
}

fn unknown(id: &str) -> Refusal {
    Refusal::not_found("USER_NOT_FOUND", format!("no user {id}"))
}

fn unavailable(message: &str) -> Refusal {
    tracing::warn!(message, "identities cannot be written");
    let text = "identities cannot be changed just now";
    Refusal::unavailable("IDENTITY_UNAVAILABLE", text, 1)
}
