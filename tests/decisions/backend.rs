//! Stand-ins for the model and the tool backend: they note every call, and can be held or broken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

const ARRIVAL: Duration = Duration::from_secs(20);

/// One call as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) correlation_id: String,
    pub(crate) causal_parent: String,
    pub(crate) body: Value,
}

#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) url: String,
    state: Arc<Inner>,
}

struct Inner {
    seen: Mutex<Vec<Seen>>,
    arrived: watch::Sender<usize>,
    held: watch::Sender<bool>,
    status: watch::Sender<u16>,
    answer: fn(&Value) -> Value,
}

impl Backend {
    async fn start(path: &str, answer: fn(&Value) -> Value) -> Self {
        let state = Arc::new(Inner {
            seen: Mutex::default(),
            arrived: watch::Sender::new(0),
            held: watch::Sender::new(false),
            status: watch::Sender::new(200),
            answer,
        });
        let app = Router::new()
            .route(path, post(take))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, state }
    }

    /// A model: an input that is a JSON array is answered as the tool calls that it wants.
    pub(crate) async fn models() -> Self {
        Self::start("/chat", |request| {
            let input = request["input_text"].as_str().unwrap();
            match serde_json::from_str::<Vec<Value>>(input) {
                Ok(calls) => json!({"text": "I will.", "tool_calls": calls}),
                Err(_) => json!({"text": format!("you said {input}"), "tool_calls": []}),
            }
        })
        .await
    }

    /// A tool backend: everything works but the path `none`.
    pub(crate) async fn tools() -> Self {
        Self::start("/run", |request| match request["args"]["path"].as_str() {
            Some("none") => {
                json!({"ok": false, "error": {"code": "TOOL_FAILED", "message": "exit code 1"}})
            }
            _ => json!({"ok": true, "result": {"bytes": 5}}),
        })
        .await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// From now on calls are noted and not answered, until released.
    pub(crate) fn hold(&self) {
        self.state.held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// From now on calls are answered with this status.
    pub(crate) fn status(&self, status: u16) {
        self.state.status.send_replace(status);
    }

    /// Until so many calls have arrived, ever.
    pub(crate) async fn arrived(&self, calls: usize) {
        let mut arrived = self.state.arrived.subscribe();
        let enough = arrived.wait_for(|arrived| *arrived >= calls);
        tokio::time::timeout(ARRIVAL, enough)
            .await
            .expect("the calls arrive")
            .unwrap();
    }
}

async fn take(
    State(state): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let sent = |name: &str| Some(headers.get(name)?.to_str().unwrap().to_owned());
    let header = |name: &str| sent(name).expect(name);
    let count = {
        let mut seen = state.seen.lock().unwrap();
        seen.push(Seen {
            key: header("idempotency-key"),
            correlation_id: header("x-correlation-id"),
            // A chat of a person has no decision behind it.
            causal_parent: sent("x-causal-parent").unwrap_or_default(),
            body: body.clone(),
        });
        seen.len()
    };
    state.arrived.send_replace(count);
    let mut held = state.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    let status = StatusCode::from_u16(*state.status.borrow()).unwrap();
    (status, Json((state.answer)(&body)))
}
