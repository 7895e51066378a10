//! The machine inside a running process: fed over HTTP, seen over HTTP, restarted on the same
//! directory. A route of the test makes operations; how long they took is what the test says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::join_all;
use serde_json::json;

use super::super::window::Sample;
use super::*;
use crate::reference::{Options, Parts, Running, start};

struct Process {
    running: Running,
    http: reqwest::Client,
    took_ms: Arc<AtomicU64>,
}

impl Process {
    async fn start(dir: &Path, slo: Value) -> Self {
        Self::with_models(dir, slo, "http://127.0.0.1:1").await
    }

    async fn with_models(dir: &Path, slo: Value, models: &str) -> Self {
        let ports: BTreeMap<_, _> = crate::reference::wiring::SERVICES
            .iter()
            .map(|name| (*name, json!({"port": 0})))
            .collect();
        let config = json!({
            "services": ports,
            "auth": {"enabled": false},
            "rate_limit": {"enabled": false},
            "backends": {"models": {"url": models}},
            "slo": slo,
        });
        let file = dir.join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let took_ms = Arc::new(AtomicU64::new(0));
        let took = Arc::clone(&took_ms);
        let mut parts = Parts {
            slo_samples: Arc::new(move |sample: Sample| {
                let total = Some(Duration::from_millis(took.load(Ordering::Relaxed)));
                Some(Sample { total, ..sample })
            }),
            ..Parts::default()
        };
        let operate = handler(|svc: Arc<Service>, call: Call| async move {
            svc.slo().unwrap().begin().end().await;
            Reply::ok(&call.correlation_id, json!({}))
        });
        parts
            .routes
            .push(Row::get("api-gateway", "/operate", "v4.7", operate));
        let running = start(Options::new(dir.join("data"), file), parts)
            .await
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            running,
            http,
            took_ms,
        }
    }

    /// Replaces the `slo` key of the file, and waits until it is in force.
    async fn edit(&self, dir: &Path, slo: &Value) {
        let file = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["slo"] = slo.clone();
        std::fs::write(&file, config.to_string()).unwrap();
        let thresholds = |config: &Value| config["thresholds"].clone();
        let in_force = async {
            loop {
                let shown = &self.get("/status").await["config"]["slo"];
                if thresholds(shown) == thresholds(slo)
                    && shown["breach_windows"] == slo["breach_windows"]
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), in_force)
            .await
            .unwrap();
    }

    fn url(&self, service: &str, path: &str) -> String {
        format!(
            "{}{path}",
            self.running.listening["services"][service]
                .as_str()
                .unwrap()
        )
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self
            .http
            .get(self.url("api-gateway", path))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    async fn post(&self, service: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(self.url(service, path)).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A whole window of concurrent operations.
    async fn window(&self, took_ms: u64) {
        self.took_ms.store(took_ms, Ordering::Relaxed);
        join_all((0..5).map(|_| self.get("/operate"))).await;
    }

    /// Types of the SLO's own events, in order.
    async fn events(&self) -> Vec<String> {
        let events = self.get("/v3/events").await;
        let kinds = events["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| &event["type"]);
        let kinds = kinds.map(|kind| kind.as_str().unwrap().to_owned());
        kinds.filter(|kind| kind.starts_with("slo.")).collect()
    }

    async fn frame(&self) -> (u16, Value) {
        let frame = json!({"session_id": "ses_0123456789ab", "data": "AAAA"});
        self.post("vision-capture", "/v1/vision/frames", frame)
            .await
    }

    async fn memory(&self, priority: &str) -> u16 {
        let memory = json!({"type": "fact", "content": "tea at four", "priority": priority});
        self.post("memory-engine", "/store", memory).await.0
    }
}

fn by_count() -> Value {
    json!({
        "window_ms": 600_000, "window_max_samples": 5, "min_samples": 5,
        "breach_windows": 2, "recover_windows": 3,
        "thresholds": {"total": {"p95": 250, "p99": 400}},
    })
}

#[tokio::test]
async fn a_degradation_outlives_a_restart_and_ends_by_healthy_windows() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), by_count()).await;
    assert_eq!(
        (process.frame().await.0, process.memory("low").await),
        (201, 201)
    );
    process.window(300).await;
    assert_eq!(
        process.events().await,
        ["slo.window"],
        "written before the last answer left"
    );
    process.window(300).await;
    let entered = ["slo.window", "slo.window", "slo.degrade.entered"];
    assert_eq!(process.events().await, entered);
    let (status, body) = process.frame().await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("SHED")));
    assert_eq!(
        (process.memory("low").await, process.memory("normal").await),
        (503, 201)
    );
    process.window(10).await;
    process.window(10).await;
    let before = process.get("/v3/slo/status").await;
    process.running.stop().await;

    let process = Process::start(dir.path(), by_count()).await;
    let after = process.get("/v1/slo/status").await;
    for key in [
        "current_mode",
        "breach_history",
        "degrade_reason",
        "consecutive_healthy",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(
        (&after["current_mode"], &after["consecutive_healthy"]),
        (&json!("recovering"), &json!(2))
    );
    assert_eq!(after["clear_to_recover"], true);
    assert_eq!(after["breach_history"].as_array().unwrap().len(), 2);
    assert!(after["time_in_degrade"].as_f64() > before["time_in_degrade"].as_f64());
    assert!(after["window"]["index"].as_u64() >= before["window"]["index"].as_u64());
    assert_eq!(
        process.frame().await.0,
        503,
        "shed from the first request on"
    );
    process.window(10).await;
    let events = process.events().await;
    assert_eq!(
        events[events.len() - 2..],
        ["slo.window", "slo.degrade.exited"]
    );
    assert_eq!(
        (process.frame().await.0, process.memory("low").await),
        (201, 201)
    );
    let status = process.get("/v3/slo/status").await;
    assert_eq!(
        (&status["current_mode"], &status["time_in_degrade"]),
        (&json!("normal"), &json!(0.0))
    );
    process.running.stop().await;
}

#[tokio::test]
async fn without_a_breach_a_restart_is_normal() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), by_count()).await;
    process.window(300).await;
    process.window(10).await;
    process.window(300).await;
    process.running.stop().await;
    let process = Process::start(dir.path(), by_count()).await;
    let status = process.get("/v3/slo/status").await;
    assert_eq!(
        (&status["current_mode"], &status["consecutive_breach"]),
        (&json!("normal"), &json!(1))
    );
    assert_eq!(process.frame().await.0, 201);
    // The breach before the restart is the first of two.
    process.window(300).await;
    assert_eq!(
        process.events().await.last().unwrap(),
        "slo.degrade.entered"
    );
    process.running.stop().await;
}

#[tokio::test]
async fn an_edit_takes_effect_with_the_next_window_and_the_count_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut slo = by_count();
    slo["breach_windows"] = json!(9);
    let process = Process::start(dir.path(), slo.clone()).await;
    process.window(200).await;
    let count = async || process.get("/v3/slo/status").await["consecutive_breach"].clone();
    slo["thresholds"] = json!({"total": {"p95": 100}});
    process.edit(dir.path(), &slo).await;
    process.window(200).await;
    assert_eq!(count().await, 0, "the open window had the old threshold");
    process.window(200).await;
    assert_eq!(count().await, 1);
    slo["breach_windows"] = json!(2);
    process.edit(dir.path(), &slo).await;
    process.window(200).await;
    assert_eq!(count().await, 2, "the open window had the old N");
    process.window(200).await;
    let status = process.get("/v3/slo/status").await;
    assert_eq!(status["current_mode"], "degraded", "{status}");
    assert_eq!(status["config_generation"], 3);
    slo["thresholds"] = json!({"total": {"p95": 300}});
    process.edit(dir.path(), &slo).await;
    process.window(200).await;
    process.window(200).await;
    let status = process.get("/v3/slo/status").await;
    assert_eq!(status["current_mode"], "recovering", "{status}");
    assert_eq!(status["config_generation"], 4);
    process.running.stop().await;
}

#[tokio::test]
async fn the_twins_are_equal_but_for_times() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), by_count()).await;
    process.window(300).await;
    let timeless = |mut body: Value| {
        body["time_in_degrade"].take();
        body["correlation_id"].take();
        body["window"]["age_ms"].take();
        body
    };
    let v3 = timeless(process.get("/v3/slo/status").await);
    assert_eq!(v3["ok"], true);
    assert_eq!(v3, timeless(process.get("/v1/slo/status").await));
    process.window(300).await;
    assert_ne!(v3, timeless(process.get("/v1/slo/status").await));
    process.running.stop().await;
}

/// A model backend that answers at once; counts turns and probes apart.
async fn models() -> (String, Arc<[AtomicU64; 2]>) {
    let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let counts = Arc::clone(&seen);
    let chat = move |headers: HeaderMap| async move {
        counts[usize::from(headers.contains_key("x-probe"))].fetch_add(1, Ordering::Relaxed);
        Json(json!({"text": "yes", "tool_calls": []}))
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/chat", post(chat));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (url, seen)
}

#[tokio::test]
async fn turns_degrade_and_probes_alone_recover() {
    let dir = tempfile::tempdir().unwrap();
    let (url, seen) = models().await;
    let process = Process::with_models(dir.path(), by_count(), &url).await;
    let session = json!({"user_id": "u-1", "conversation_id": "c-1"});
    let (status, session) = process.post("api-gateway", "/v3/sessions", session).await;
    assert_eq!(status, 201, "{session}");
    let turn = json!({"session_id": session["session_id"], "input_text": "hi"});
    process.took_ms.store(300, Ordering::Relaxed);
    for _ in 0..10 {
        let (status, answer) = process.post("api-gateway", "/v3/turn", turn.clone()).await;
        assert_eq!(status, 200, "{answer}");
    }
    let status = process.get("/v3/slo/status").await;
    assert_eq!(status["current_mode"], "degraded", "{status}");
    assert!(
        status["breach_history"][0]["p95"]["model"].is_f64(),
        "{status}"
    );
    assert_eq!(
        seen.each_ref().map(|count| count.load(Ordering::Relaxed)),
        [10, 0]
    );
    process.running.stop().await;

    let mut slo = by_count();
    slo["window_ms"] = json!(20);
    let process = Process::with_models(dir.path(), slo, &url).await;
    process.took_ms.store(10, Ordering::Relaxed);
    let recovered = async {
        while process.get("/v3/slo/status").await["current_mode"] != "normal" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered)
        .await
        .unwrap();
    assert_eq!(process.events().await.last().unwrap(), "slo.degrade.exited");
    let [turns, probes] = seen.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!((turns, probes), (10, 15), "three windows of five");
    process.running.stop().await;
}
