//! The null targets: they claim every capability, do nothing, and must pass no gate.
//!
//! A gate that one of them passes is vacuous. `frozen` is the hardest of them: it gives, for ever,
//! the first answer that a real target gave to each service, method and concrete path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wire::{Ask, Reply, Rewrite};

/// The reserved names of the null targets.
pub const NAMES: &[&str] = &["empty", "liar", "echo", "refuse", "frozen"];

/// The services a null target claims to be: all ten of the contract.
const SERVICES: &[&str] = &[
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

/// What a null target says to everything, `None` when the name is not one of theirs or is
/// `frozen`, which needs a real target behind it.
#[must_use]
pub fn rewrite(name: &str) -> Option<Arc<dyn Rewrite>> {
    let fixed = match name {
        "empty" => Fixed::Status(StatusCode::NOT_FOUND),
        "liar" => Fixed::Ok,
        "echo" => Fixed::Echo,
        "refuse" => Fixed::Status(StatusCode::UNAUTHORIZED),
        _ => return None,
    };
    Some(Arc::new(fixed))
}

/// The listening line of a null target with no real one behind it; its services are addresses
/// that are never called, because the proxies in front answer everything.
#[must_use]
pub fn listening(data: &Path) -> Value {
    let services: BTreeMap<_, _> = SERVICES
        .iter()
        .map(|name| (*name, "http://127.0.0.1:9"))
        .collect();
    let databases: BTreeMap<_, PathBuf> = SERVICES
        .iter()
        .map(|name| (*name, data.join(format!("{name}.db"))))
        .collect();
    let chains: BTreeMap<_, Value> = SERVICES.iter().map(|name| (*name, Value::Null)).collect();
    json!({
        "event": "listening", "pid": std::process::id(), "services": services,
        "databases": databases, "index_files": [], "chains": chains, "commands": {},
    })
}

enum Fixed {
    Status(StatusCode),
    Ok,
    Echo,
}

impl Rewrite for Fixed {
    fn before(&self, ask: &Ask) -> Option<Reply> {
        Some(match self {
            Self::Status(status) => Reply::json(*status, &json!({ "ok": false })),
            Self::Ok => Reply::json(StatusCode::OK, &json!({ "ok": true })),
            Self::Echo => Reply {
                status: StatusCode::OK,
                headers: HeaderMap::from_iter([(
                    axum::http::header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                )]),
                body: ask.body.clone(),
            },
        })
    }
}

/// The first answer to each service, method and concrete path, kept over restarts in `file`.
pub struct Frozen {
    file: PathBuf,
    first: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    status: u16,
    content_type: String,
    body: String,
}

impl Frozen {
    /// Answers kept in `file`, which may not exist yet.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(file: PathBuf) -> Result<Self> {
        let first = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            file,
            first: Mutex::new(first),
        })
    }

    fn key(ask: &Ask) -> String {
        let path = ask.path.split('?').next().unwrap_or_default();
        format!("{} {} {path}", ask.service, ask.method)
    }
}

impl Rewrite for Frozen {
    fn repeats(&self) -> bool {
        true
    }

    fn before(&self, ask: &Ask) -> Option<Reply> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = first.get(&Self::key(ask))?;
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&kept.content_type) {
            headers.insert("content-type", value);
        }
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        Some(Reply {
            status,
            headers,
            body: Bytes::from(kept.body.clone()),
        })
    }

    fn after(&self, ask: &Ask, reply: Reply) -> Reply {
        let content_type = reply.headers.get("content-type");
        let kept = Kept {
            status: reply.status.as_u16(),
            content_type: content_type
                .and_then(|v| v.to_str().ok())
                .unwrap_or("")
                .to_owned(),
            body: String::from_utf8_lossy(&reply.body).into_owned(),
        };
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.entry(Self::key(ask)).or_insert(kept);
        // Losing the file would only make the null target forget, which a gate may then see.
        if let Ok(bytes) = serde_json::to_vec(&*first) {
            drop(std::fs::write(&self.file, bytes));
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Method;

    fn ask(method: Method, path: &str) -> Ask {
        let body = Bytes::from_static(b"{\"a\":1}");
        Ask {
            service: "api-gateway".into(),
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body,
        }
    }

    #[test]
    fn each_null_target_says_its_one_thing() {
        let say = |name: &str| {
            rewrite(name)
                .unwrap()
                .before(&ask(Method::POST, "/v3/turn"))
                .unwrap()
        };
        assert_eq!(say("empty").status, 404);
        assert_eq!(
            (say("liar").status.as_u16(), say("liar").value()),
            (200, json!({ "ok": true }))
        );
        assert_eq!(say("echo").value(), json!({ "a": 1 }));
        assert_eq!(say("refuse").status, 401);
        assert!(rewrite("frozen").is_none() && rewrite("honest").is_none());
    }

    #[test]
    fn frozen_keeps_the_first_answer_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("frozen.json");
        let frozen = Frozen::open(file.clone()).unwrap();
        let get = ask(Method::GET, "/v3/events?after=3");
        assert!(frozen.before(&get).is_none());
        frozen.after(&get, Reply::json(StatusCode::OK, &json!(1)));
        frozen.after(&get, Reply::json(StatusCode::OK, &json!(2)));
        let again = Frozen::open(file).unwrap();
        let other_query = ask(Method::GET, "/v3/events?after=9");
        assert_eq!(again.before(&other_query).unwrap().value(), json!(1));
        assert!(again.before(&ask(Method::POST, "/v3/events")).is_none());
    }
}
