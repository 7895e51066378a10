//! Consent, privacy and inference against their samples: a model that answers, one that fails, and a
//! consent that cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Answer, Who, World};

const PERCEPTION: &str = "perception";
const ANALYZE: (&str, &str) = ("POST", "/v1/perception/analyze");
const EVENTS: (&str, &str) = ("POST", "/v1/perception/events");

/// A model backend that counts.
#[derive(Default)]
struct Model {
    calls: AtomicU32,
    status: AtomicU16,
}

impl Model {
    async fn start() -> (Arc<Self>, String) {
        let model = Arc::new(Self::default());
        let inside = model.clone();
        let chat = move || {
            inside.calls.fetch_add(1, Ordering::SeqCst);
            let status = match inside.status.load(Ordering::SeqCst) {
                0 => 200,
                status => status,
            };
            let answer = json!({"text": "A cup of tea.", "tool_calls": []});
            async move { (StatusCode::from_u16(status).unwrap(), Json(answer)) }
        };
        let app = axum::Router::new().route("/chat", axum::routing::post(chat));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (model, url)
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn world() -> (World, Arc<Model>) {
    let (model, url) = Model::start().await;
    let world = World::start(json!({"backends": {"models": {"url": url}}})).await;
    (world, model)
}

async fn infer(world: &World, line: (&str, &str), session: &Value) -> Answer {
    let body = json!({"session_id": session, "data": "AAEC", "type": "motion", "text": "steps"});
    world
        .send(Who::Op1, PERCEPTION, line, &[], Some(&body))
        .await
}

async fn blocks(world: &World) -> Value {
    let line = ("GET", "/status");
    let status = world.send(Who::Op1, PERCEPTION, line, &[], None).await;
    status.body["counters"]["consent_blocks"].clone()
}

const SESSION: &str = "ses_6b1f0c7e21aa";

#[tokio::test]
async fn nothing_is_inferred_before_consent_and_privacy_and_nothing_after_them() {
    let (mut world, model) = world().await;
    world.like(Who::Observer, "perception-denied", &[]).await;
    world.like(Who::Op1, "consent-illegal", &[]).await;
    for step in ["consent-request", "consent-grant", "consent-activate"] {
        world.like(Who::Op1, step, &[]).await;
        world.like(Who::Observer, "perception-denied", &[]).await;
    }
    let trail = world.like(Who::Observer, "consent", &[]).await.body;
    assert_eq!(
        (
            trail["audit_trail"].as_array().unwrap().len(),
            &trail["state"]
        ),
        (3, &json!("ACTIVE"))
    );
    world.like(Who::Op1, "privacy-enable", &[]).await;
    world.like(Who::Observer, "privacy", &[]).await;
    world.like(Who::Observer, "perception-analyze", &[]).await;
    world.like(Who::Op1, "perception-event", &[]).await;
    assert_eq!(model.calls(), 2);
    model.status.store(500, Ordering::SeqCst);
    world.like(Who::Op1, "perception-model-down", &[]).await;
    model.status.store(200, Ordering::SeqCst);
    for session in [json!(""), json!(null), json!(7), json!("ses_other")] {
        assert_eq!(
            infer(&world, ANALYZE, &session).await.status,
            403,
            "{session}"
        );
        assert_eq!(
            infer(&world, EVENTS, &session).await.status,
            403,
            "{session}"
        );
    }
    assert_eq!(blocks(&world).await, 12);
    world.reboot().await;
    assert_eq!(infer(&world, ANALYZE, &json!(SESSION)).await.status, 200);
    world.like(Who::Op1, "privacy-disable", &[]).await;
    assert_eq!(infer(&world, ANALYZE, &json!(SESSION)).await.status, 403);
    world.like(Who::Op1, "privacy-enable", &[]).await;
    world.like(Who::Op1, "consent-revoke", &[]).await;
    for line in [ANALYZE, EVENTS] {
        assert_eq!(infer(&world, line, &json!(SESSION)).await.status, 403);
    }
    assert_eq!(model.calls(), 4);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_no() {
    let (world, model) = world().await;
    for step in [
        "consent-request",
        "consent-grant",
        "consent-activate",
        "privacy-enable",
    ] {
        world.like(Who::Op1, step, &[]).await;
    }
    for (service, table) in [(PERCEPTION, "consents"), ("vision-capture", "privacy")] {
        let database = world.database(service);
        let away = format!("ALTER TABLE {table} RENAME TO away");
        database.execute_batch(&away).unwrap();
        assert_eq!(infer(&world, ANALYZE, &json!(SESSION)).await.status, 403);
        assert_eq!(infer(&world, EVENTS, &json!(SESSION)).await.status, 403);
        let back = format!("ALTER TABLE away RENAME TO {table}");
        database.execute_batch(&back).unwrap();
    }
    assert_eq!(model.calls(), 0);
    assert_eq!(infer(&world, ANALYZE, &json!(SESSION)).await.status, 200);
}

#[tokio::test]
async fn a_frame_of_a_session_whose_privacy_was_switched_off_is_not_kept() {
    let world = World::start(json!({})).await;
    world.like(Who::Op1, "vision-frame", &[]).await;
    world.like(Who::Op1, "privacy-disable", &[]).await;
    assert_eq!(world.count("vision-capture", "frames"), 0);
    world.like(Who::Op1, "vision-frame-private", &[]).await;
    world.like(Who::Op1, "privacy-enable", &[]).await;
    world.like(Who::Op1, "vision-frame", &[]).await;
    world.like(Who::Op1, "privacy-disable-all", &[]).await;
    world.like(Who::Op1, "vision-frame-private", &[]).await;
    assert_eq!(world.count("vision-capture", "frames"), 0);
}
