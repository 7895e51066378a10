//! A running reference that can be stopped as abruptly as a thread can be.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sonia_gate::reference::wiring::SERVICES;
use sonia_gate::reference::{Options, Parts, Running, start};
use tokio::runtime::Runtime;

use crate::backend::Backend;

/// SHA-256 of `key-op-1`, `key-op-2` and `key-ob-1`, computed by another program.
const KEYS: &[(&str, &str, &str)] = &[
    (
        "op-1",
        "operator",
        "6fe3444b9c96951c0fcd88b7230857cc90dadef039ce93c8b42e7eaf1dc097bf",
    ),
    (
        "op-2",
        "operator",
        "61b3923f948f045f23c3dfa8476ac4a49f972263243847e02aec03de488532af",
    ),
    (
        "ob-1",
        "observer",
        "f090586cc46cc82dafc63dcf9e1fe5027726cce1b1dc553c758624ce23ed4d5e",
    ),
];

pub(crate) const GATEWAY: &str = "api-gateway";
pub(crate) const EVA: &str = "eva-os";
pub(crate) const OPENCLAW: &str = "openclaw";

const SERVICE_TOKEN: &str = "svc_test";
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) models: Backend,
    pub(crate) tools: Backend,
    runtime: Option<Runtime>,
    running: Option<Running>,
    http: reqwest::Client,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn replayed(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }
}

/// A request that is not sent yet.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
    pub(crate) as_service: bool,
    pub(crate) actor: &'static str,
}

impl Ask {
    pub(crate) fn post(service: &'static str, path: impl Into<String>, body: Value) -> Self {
        let (method, path) = ("POST", path.into());
        let (headers, as_service, actor) = (Vec::new(), false, "op-1");
        Self {
            service,
            method,
            path,
            headers,
            body,
            as_service,
            actor,
        }
    }

    pub(crate) fn get(service: &'static str, path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            ..Self::post(service, path, Value::Null)
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("x-idempotency-key", key)
    }

    pub(crate) fn service(self) -> Self {
        Self {
            as_service: true,
            ..self
        }
    }

    pub(crate) fn actor(self, actor: &'static str) -> Self {
        Self { actor, ..self }
    }
}

impl World {
    pub(crate) async fn start(patch: Value) -> Self {
        Self::with(patch, Parts::default()).await
    }

    pub(crate) async fn with(patch: Value, parts: Parts) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (models, tools) = (Backend::models().await, Backend::tools().await);
        let operators: Vec<Value> = KEYS
            .iter()
            .map(|(actor_id, role, key)| {
                json!({"actor_id": actor_id, "role": role, "key_sha256": key})
            })
            .collect();
        let keys = json!({"service_token": SERVICE_TOKEN, "operators": operators});
        std::fs::write(dir.path().join("keys.json"), keys.to_string()).unwrap();
        let port = |name: &&'static str| (*name, json!({"port": 0}));
        let ports: BTreeMap<_, _> = SERVICES.iter().map(port).collect();
        let mut config = json!({
            "services": ports,
            "backends": {"models": {"url": models.url}, "tools": {"url": tools.url}},
            "auth": {"key_file": "keys.json"},
            "rate_limit": {"enabled": false},
            "tools": {"verify": {}},
            "operations": {"retry_ms": 5},
        });
        sonia_gate::base::json::merge(&mut config, &patch);
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut world = Self {
            dir,
            models,
            tools,
            runtime: None,
            running: None,
            http,
        };
        world.boot(parts).await;
        world
    }

    pub(crate) async fn boot(&mut self, parts: Parts) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let path = self.dir.path();
        let options = Options::new(path.join("data"), path.join("config.json"));
        let started = runtime.spawn(start(options, parts));
        self.running = Some(started.await.unwrap().unwrap());
        self.runtime = Some(runtime);
    }

    /// Everything that runs stops where it stands: what was not committed did not happen.
    pub(crate) fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.running = None;
    }

    pub(crate) async fn crash_and_boot(&mut self) {
        self.crash();
        self.boot(Parts::default()).await;
    }

    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        self.sender()(ask).await.expect("an answer")
    }

    /// Sends without borrowing the world, so that it can crash meanwhile.
    pub(crate) fn sender(
        &self,
    ) -> impl Fn(Ask) -> futures_util::future::BoxFuture<'static, Option<Answer>> + Send + Clone + 'static
    {
        let services = self.running.as_ref().unwrap().listening["services"].clone();
        let http = self.http.clone();
        move |ask: Ask| {
            let base = services[ask.service].as_str().unwrap();
            let mut request =
                http.request(ask.method.parse().unwrap(), format!("{base}{}", ask.path));
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            request = if ask.as_service {
                request
                    .header("x-service-token", SERVICE_TOKEN)
                    .header("x-on-behalf-of", format!("{};operator", ask.actor))
            } else {
                request.bearer_auth(format!("key-{}", ask.actor))
            };
            if ask.method != "GET" {
                request = request.json(&ask.body);
            }
            Box::pin(async move {
                let answer = request.send().await.ok()?;
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                let body = answer.json().await.ok()?;
                Some(Answer {
                    status,
                    headers,
                    body,
                })
            })
        }
    }

    pub(crate) async fn session(&self) -> String {
        let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
        let made = self.send(Ask::post(GATEWAY, "/v3/sessions", body)).await;
        made.body["session_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn turn(session: &str, input: impl ToString) -> Ask {
        let body = json!({"session_id": session, "input_text": input.to_string()});
        Ask::post(GATEWAY, "/v3/turn", body)
    }

    /// One statement on a database of the target, answered by one number.
    pub(crate) fn number(&self, service: &str, sql: &str) -> i64 {
        let path = self.dir.path().join(format!("data/{service}.db"));
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<Value> {
        let answer = self.send(Ask::get(GATEWAY, "/v3/events")).await;
        answer.body["events"].as_array().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Asks again until the answer is the expected one.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect(what)
}

/// The three kinds of decisions, and how each is asked for and taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Route {
    Confirmation,
    Action,
    Approval,
}

pub(crate) const ROUTES: [Route; 3] = [Route::Confirmation, Route::Action, Route::Approval];

/// A guarded call that waits for a person.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) route: Route,
    pub(crate) id: String,
    pub(crate) fence: i64,
}

impl Open {
    /// Approve, deny or reissue it, with a fence or without.
    pub(crate) fn ask(&self, verb: &str, fence: Option<i64>) -> Ask {
        let mut body = match fence {
            Some(fence) => json!({"fence_token": fence}),
            None => json!({}),
        };
        let id = &self.id;
        match self.route {
            Route::Confirmation => {
                Ask::post(GATEWAY, format!("/v3/confirmations/{id}/{verb}"), body)
            }
            Route::Action => Ask::post(GATEWAY, format!("/v3/actions/{id}/{verb}"), body),
            Route::Approval => {
                body["approval_id"] = json!(id);
                Ask::post(EVA, format!("/{verb}"), body)
            }
        }
    }
}

impl World {
    /// Has a guarded `file.write` of that path wait for a person.
    pub(crate) async fn open(&self, route: Route, session: &str, path: &str) -> Open {
        let args = json!({"path": path, "text": "hello"});
        let (id, fence) = match route {
            Route::Confirmation => {
                let calls = json!([{"tool_name": "file.write", "args": args}]);
                let turn = self.send(Self::turn(session, calls)).await;
                let call = turn.body["tool_calls"][0].clone();
                (call["confirmation_id"].clone(), call["fence_token"].clone())
            }
            Route::Action => {
                let body = json!({"intent": "file.write", "params": args, "session_id": session});
                let planned = self
                    .send(Ask::post(GATEWAY, "/v3/actions/plan", body))
                    .await;
                let action = planned.body["action"].clone();
                (action["action_id"].clone(), action["fence_token"].clone())
            }
            Route::Approval => {
                let body = json!({"tool_name": "file.write", "args": args});
                let gated = self
                    .send(Ask::post(EVA, "/gate-tool-call", body))
                    .await
                    .body;
                (gated["approval_id"].clone(), gated["fence_token"].clone())
            }
        };
        Open {
            route,
            id: id.as_str().expect("an id").to_owned(),
            fence: fence.as_i64().expect("a fence"),
        }
    }
}
