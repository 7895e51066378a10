//! The call of our own: an empty chat with the model backend, over the link that turns use.
//!
//! It has no effect and no decision behind it, so it carries neither a key nor a causal parent.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::feed::Probe;
use crate::base::ids::random_id;

/// Calls `POST {url}/chat` as `fixtures/contract/doubles.json` shows it.
pub struct ModelProbe {
    http: reqwest::Client,
    url: String,
    timeout: Duration,
}

impl ModelProbe {
    /// A probe of the model backend at this base URL, with the bound that turns have too.
    pub fn new(http: reqwest::Client, url: &str, timeout: Duration) -> Self {
        let url = format!("{}/chat", url.trim_end_matches('/'));
        Self { http, url, timeout }
    }
}

impl Probe for ModelProbe {
    fn call(&self) -> BoxFuture<'static, Result<(), String>> {
        let mut rng = rand::rng();
        let body = json!({
            "turn_id": random_id("probe_", &mut rng),
            "session_id": null,
            "input_text": "",
        });
        let request = self
            .http
            .post(&self.url)
            .timeout(self.timeout)
            .header("x-probe", "true")
            .header("x-correlation-id", random_id("req_", &mut rng))
            .json(&body);
        Box::pin(async move {
            let answer = request
                .send()
                .await
                .and_then(reqwest::Response::error_for_status);
            // The last byte belongs to the call: a backend that stalls in its body is slow.
            let body = async { answer?.bytes().await }.await;
            body.map(drop).map_err(|error| error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::Value;

    use super::*;

    type Seen = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

    async fn backend(status: StatusCode) -> (String, Seen) {
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let chat = move |headers: HeaderMap, Json(body): Json<Value>| async move {
            log.lock().unwrap().push((headers, body));
            (status, Json(json!({"text": "", "tool_calls": []})))
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/chat", post(chat));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (url, seen)
    }

    fn probe(url: &str) -> ModelProbe {
        ModelProbe::new(reqwest::Client::new(), url, Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_probe_is_the_call_of_the_contract() {
        let (url, seen) = backend(StatusCode::OK).await;
        probe(&url).call().await.unwrap();
        let doubles = include_str!("../../../fixtures/contract/doubles.json");
        let doubles: Value = serde_json::from_str(doubles).unwrap();
        let sample = &doubles["models"]["probe"];
        let (headers, body) = seen.lock().unwrap().remove(0);
        assert_eq!(
            headers["x-probe"],
            sample["headers"]["x-probe"].as_str().unwrap()
        );
        assert!(headers.contains_key("x-correlation-id"));
        for header in ["idempotency-key", "x-causal-parent"] {
            assert!(!headers.contains_key(header), "{header}");
        }
        let mut wanted = sample["request"].clone();
        assert!(body["turn_id"].as_str().unwrap().starts_with("probe_"));
        wanted["turn_id"] = body["turn_id"].clone();
        assert_eq!(body, wanted);
    }

    #[tokio::test]
    async fn a_refusal_and_a_closed_port_are_errors() {
        let (url, _) = backend(StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(probe(&url).call().await.is_err());
        assert!(probe("http://127.0.0.1:1").call().await.is_err());
    }
}
