//! A running reference, whoever asks it, and the samples of the contract that its answers are held
//! against.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sonia_gate::reference::wiring::SERVICES;
use sonia_gate::reference::{Options, Parts, Running, start};

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

/// The Ed25519 key of 32 times 7, written by another program.
const AUDIT_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----
";

pub(crate) struct World {
    dir: tempfile::TempDir,
    running: Option<Running>,
    http: reqwest::Client,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

#[derive(Clone, Copy)]
pub(crate) enum Who {
    Op1,
    Op2,
    Observer,
    Nobody,
}

impl World {
    pub(crate) async fn start(patch: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let operators: Vec<Value> = KEYS
            .iter()
            .map(|(actor_id, role, key)| json!({"actor_id": actor_id, "role": role, "key_sha256": key}))
            .collect();
        let keys = json!({"service_token": "svc_test", "operators": operators});
        std::fs::write(dir.path().join("keys.json"), keys.to_string()).unwrap();
        std::fs::write(dir.path().join("audit.pem"), AUDIT_KEY).unwrap();
        let port = |name: &&'static str| (*name, json!({"port": 0}));
        let ports: BTreeMap<_, _> = SERVICES.iter().map(port).collect();
        let mut config = json!({
            "services": ports,
            "auth": {"key_file": "keys.json"},
            "rate_limit": {"enabled": false},
        });
        sonia_gate::base::json::merge(&mut config, &patch);
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let mut world = Self {
            dir,
            running: None,
            http: reqwest::Client::new(),
        };
        world.boot().await;
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the process; the data directory stays.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub(crate) async fn boot(&mut self) {
        let options = Options::new(self.path().join("data"), self.path().join("config.json"));
        self.running = Some(start(options, Parts::default()).await.unwrap());
    }

    pub(crate) async fn reboot(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    pub(crate) async fn send(
        &self,
        who: Who,
        service: &str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let listening = &self.running.as_ref().unwrap().listening;
        let base = listening["services"][service].as_str().unwrap();
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{base}{path}"));
        request = match who {
            Who::Op1 => request.bearer_auth("key-op-1"),
            Who::Op2 => request.bearer_auth("key-op-2"),
            Who::Observer => request.bearer_auth("key-ob-1"),
            Who::Nobody => request,
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = match body {
            Some(Value::String(text)) => request
                .header("content-type", "application/json")
                .body(text.clone()),
            Some(value) => request.json(value),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let header =
            |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().iter().map(header).collect(),
            body: answer.json().await.unwrap(),
        }
    }
}

impl World {
    pub(crate) fn database(&self, service: &str) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.path().join(format!("data/{service}.db")));
        conn.unwrap()
    }

    pub(crate) fn count(&self, service: &str, what: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        self.database(service)
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    }

    pub(crate) async fn create(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(
            Who::Op1,
            GATEWAY,
            ("POST", "/v3/sessions"),
            headers,
            Some(body),
        )
        .await
    }

    pub(crate) async fn session(&self) -> String {
        let made = self.create(&[], &SESSION()).await;
        made.body["session_id"].as_str().unwrap().to_owned()
    }

    /// Sends what a sample sends, with ids put in, and compares what comes back with it.
    pub(crate) async fn like(&self, who: Who, name: &str, put: &[(&str, &str)]) -> Answer {
        let sample = sample(name);
        let mut path = sample["path"].as_str().unwrap().to_owned();
        for (from, to) in put {
            path = path.replace(from, to);
        }
        let sent = &sample["request"]["headers"];
        let headers: Vec<(&str, &str)> = sent
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let body = Some(&sample["request"]["body"]).filter(|body| !body.is_null());
        let service = sample["service"].as_str().unwrap();
        let line = (sample["method"].as_str().unwrap(), path.as_str());
        let answer = self.send(who, service, line, &headers, body).await;
        same(name, &answer, &sample["answer"]);
        answer
    }
}

pub(crate) const GATEWAY: &str = "api-gateway";

#[expect(non_snake_case, reason = "a constant that cannot be one")]
pub(crate) fn SESSION() -> Value {
    json!({"user_id": "u-1", "conversation_id": "c-1"})
}

pub(crate) fn sample(name: &str) -> Value {
    let file = format!(
        "{}/fixtures/contract/samples/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

pub(crate) fn same(name: &str, answer: &Answer, wanted: &Value) {
    assert_eq!(
        json!(answer.status),
        wanted["status"],
        "{name}: {}",
        answer.body
    );
    for header in wanted["headers"].as_object().unwrap().keys() {
        assert!(
            answer.headers.contains_key(header),
            "{name}: no header {header}"
        );
    }
    let mut shapes = (shape(&answer.body), shape(&wanted["body"]));
    if name == "status" {
        // The sample shows an excerpt of the config.
        shapes.0.retain(|path| !path.starts_with("/config/"));
        shapes.1.retain(|path| !path.starts_with("/config/"));
    }
    if name == "openapi" {
        // The sample shows an excerpt of the document.
        shapes.0.retain(|path| shapes.1.contains(path));
    }
    assert_eq!(shapes.0, shapes.1, "{name}: {}", answer.body);
    let code = |body: &Value| body["error"]["code"].clone();
    assert_eq!(code(&answer.body), code(&wanted["body"]), "{name}");
}

/// The paths of all keys; the elements of an array count as one.
fn shape(value: &Value) -> std::collections::BTreeSet<String> {
    let mut paths = std::collections::BTreeSet::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        // What the client chose is not the contract's.
        if ["/metadata", "/events/*/data"].contains(&path.as_str()) {
            continue;
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    paths.insert(format!("{path}/{key}"));
                    open.push((format!("{path}/{key}"), value));
                }
            }
            Value::Array(items) => {
                open.extend(items.iter().map(|item| (format!("{path}/*"), item)));
            }
            _ => {}
        }
    }
    paths
}
