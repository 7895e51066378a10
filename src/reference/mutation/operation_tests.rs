use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::reference::operations::{NewOperation, Resumer};
use crate::reference::web::{Call, Reply, Row, handler};
use crate::reference::wiring::SERVICES;
use crate::reference::{Options, Parts, Running, start};

/// A route that decides, and carries out unless it is told to leave: then it is as if the process
/// had been killed between the two transactions.
fn route(leave: Arc<AtomicBool>) -> Row {
    let run = handler(move |svc, call: Call| {
        let leave = leave.clone();
        async move {
            let operation = NewOperation {
                id: crate::reference::ids::make("op_"),
                kind: "test",
                decision_id: Some("cnf_1".to_owned()),
                fence_token: Some(7),
                detail: json!({"tool_name": "file.write"}),
            };
            let begun = begin(&svc, &call, move |tx| {
                tx.counter("decisions")?;
                let (action, resource) = (Some("test.decide".to_owned()), None);
                Ok(Decision {
                    operation,
                    origin: None,
                    action,
                    resource,
                    value: (),
                })
            });
            let begun = match begun.await {
                Ok(begun) => begun,
                Err(reply) => return reply,
            };
            if leave.load(Ordering::Relaxed) {
                return Reply::json(500, json!({}));
            }
            if call.body["unavailable"] == true {
                return finish(&svc, &begun.operation_id, &call.correlation_id, |_, _| {
                    Ok(Done::new(503, json!({"ok": false})).failed())
                })
                .await;
            }
            conclude(svc, &begun.operation_id, &call.correlation_id).await
        }
    });
    let line = ("POST", "/test");
    Row::mutation("api-gateway", line, "v4.7", ("test.run", "test"), run)
}

async fn conclude(svc: Arc<crate::reference::service::Service>, id: &str, about: &str) -> Reply {
    finish(&svc, id, about, |tx, operation| {
        let conclusions = tx.counter("conclusions")?;
        let body = json!({"operation_id": operation.id, "conclusions": conclusions});
        Ok(Done::new(200, body).action("test.finish"))
    })
    .await
}

struct World {
    running: Running,
    http: reqwest::Client,
}

impl World {
    async fn start(dir: &Path, leave: &Arc<AtomicBool>) -> Self {
        let ports: Value = SERVICES
            .iter()
            .map(|name| (*name, json!({"port": 0})))
            .collect();
        let config = json!({"services": ports, "auth": {"enabled": false}});
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let resume = Resumer {
            service: "api-gateway",
            kind: "test",
            resume: Arc::new(|svc, operation| {
                Box::pin(async move {
                    conclude(svc, &operation.id, &operation.origin.correlation_id).await;
                })
            }),
        };
        let mut parts = Parts::default();
        parts.routes.push(route(leave.clone()));
        parts.resumers.push(resume);
        let options = Options::new(dir.join("data"), dir.join("config.json"));
        let running = start(options, parts).await.unwrap();
        Self {
            running,
            http: reqwest::Client::new(),
        }
    }

    async fn run(&self, body: Value) -> (u16, bool, Value) {
        let base = self.running.listening["services"]["api-gateway"]
            .as_str()
            .unwrap();
        let request = self
            .http
            .post(format!("{base}/test"))
            .header("x-idempotency-key", "k-1");
        let answer = request.json(&body).send().await.unwrap();
        let replayed = answer.headers().contains_key("idempotency-replayed");
        (
            answer.status().as_u16(),
            replayed,
            answer.json().await.unwrap(),
        )
    }
}

fn column<T: rusqlite::types::FromSql>(dir: &Path, sql: &str) -> Vec<T> {
    let conn = rusqlite::Connection::open(dir.join("data/api-gateway.db")).unwrap();
    let mut statement = conn.prepare(sql).unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn an_operation_is_decided_and_concluded_once_and_then_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), &Arc::default()).await;
    let (status, replayed, body) = world.run(json!({})).await;
    assert_eq!(
        (status, replayed, &body["conclusions"]),
        (200, false, &json!(1))
    );
    assert_eq!(world.run(json!({})).await, (200, true, body));
    let actions = "SELECT action FROM audit_log ORDER BY seq";
    assert_eq!(
        column::<String>(dir.path(), actions),
        ["test.decide", "test.finish"]
    );
    let parents = "SELECT coalesce(causal_parent, '-') FROM audit_log ORDER BY seq";
    let hash = column::<String>(dir.path(), "SELECT hash FROM audit_log WHERE seq = 0").remove(0);
    assert_eq!(
        column::<String>(dir.path(), parents),
        ["-", &format!("api-gateway/0/{hash}")]
    );
}

#[tokio::test]
async fn an_answer_that_may_change_frees_the_key_of_its_operation() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), &Arc::default()).await;
    let asked = json!({"unavailable": true});
    assert_eq!(world.run(asked.clone()).await.0, 503);
    assert_eq!(world.run(asked).await.0, 503);
    assert_eq!(world.run(json!({})).await.0, 200);
    let states = "SELECT state FROM operations ORDER BY created_at_us";
    assert_eq!(
        column::<String>(dir.path(), states),
        ["failed", "failed", "done"]
    );
}

#[tokio::test]
async fn an_operation_in_doubt_is_resumed_at_start_and_settles_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let leave = Arc::new(AtomicBool::new(true));
    let world = World::start(dir.path(), &leave).await;
    assert_eq!(world.run(json!({})).await.0, 500);
    let (status, _, body) = world.run(json!({})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (409, &json!("KEY_IN_PROGRESS"))
    );
    assert_eq!(
        world.run(json!({"other": 1})).await.2["error"]["code"],
        "KEY_REUSED"
    );
    let pending = column::<String>(
        dir.path(),
        "SELECT id FROM operations WHERE state = 'pending'",
    );
    assert_eq!(pending.len(), 1);
    world.running.stop().await;
    let world = World::start(dir.path(), &leave).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let (status, replayed, body) = loop {
        let answer = world.run(json!({})).await;
        if answer.0 != 409 {
            break answer;
        }
        assert!(Instant::now() < deadline, "the operation was not resumed");
    };
    assert_eq!((status, replayed), (200, true));
    assert_eq!(body["operation_id"], json!(pending[0]));
    assert_eq!(
        column::<i64>(dir.path(), "SELECT value FROM counters ORDER BY name"),
        [1, 1]
    );
}

#[tokio::test]
async fn a_key_in_progress_is_never_pruned_and_never_expires() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), &Arc::new(AtomicBool::new(true))).await;
    world.run(json!({})).await;
    let opening = crate::reference::store::Opening {
        path: dir.path().join("data/api-gateway.db"),
        service: "api-gateway".to_owned(),
        migrate: crate::reference::store::schema::up,
        after_migration: vec!["UPDATE idempotency_keys SET expires_at_ms = 1".to_owned()],
        busy_timeout: Duration::from_secs(2),
        start_deadline: Duration::from_secs(2),
        chain: Arc::new(crate::reference::audit::Sha256Chain),
        verify: Box::new(|_| Ok(None)),
        clock: Arc::new(crate::reference::time::SystemClock),
        group_end: Arc::new(crate::reference::store::CommitFirst),
    };
    let other = crate::reference::store::open(opening).await.unwrap().store;
    assert_eq!(other.write(|tx| DurableClaims.prune(tx)).await, Ok(0));
    let (status, _, body) = world.run(json!({})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (409, &json!("KEY_IN_PROGRESS"))
    );
    let settle = |tx: &mut crate::reference::store::Tx<'_>| {
        tx.sql().execute(
            "UPDATE idempotency_keys SET state = 'done', status = 200",
            [],
        )?;
        DurableClaims.prune(tx)
    };
    assert_eq!(other.write(settle).await, Ok(1));
}
