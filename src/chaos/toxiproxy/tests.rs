//! Every route and every refusal, asked over HTTP, against what the original is documented to answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Proxies, VERSION, serve};
use crate::base::Seed;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("within the deadline")
}

pub(super) struct Api {
    pub(super) url: String,
    pub(super) client: Client,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) id: Option<String>,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::seeded(7).await
    }

    pub(super) async fn seeded(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxies = Arc::new(Proxies::new(Seed(seed)));
        tokio::spawn(serve(listener, proxies, std::future::pending()));
        let client = Client::new();
        Self { url, client }
    }

    pub(super) async fn raw(&self, method: &str, path: &str, body: &str) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{path}", self.url);
        let request = self.client.request(method, url).body(body.to_owned());
        let answer = soon(request.send()).await.unwrap();
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        Answer {
            status: answer.status().as_u16(),
            kind: header("content-type").unwrap_or_default(),
            id: header("x-toxiproxy-request-id"),
            text: soon(answer.text()).await.unwrap(),
        }
    }

    /// Asks for what has to be there.
    #[track_caller]
    pub(super) fn ok(&self, method: &str, path: &str, body: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.raw(method, path, &body.to_string()).await;
            assert!(
                answer.status < 300,
                "{place}: {} {}",
                answer.status,
                answer.text
            );
            serde_json::from_str(&answer.text).unwrap_or(Value::Null)
        }
    }

    /// A proxy to this upstream on a free port; where it listens.
    pub(super) async fn proxy(&self, name: &str, upstream: &str) -> String {
        let told = json!({"name": name, "listen": "127.0.0.1:0", "upstream": upstream});
        let said = self.ok("POST", "/proxies", told).await;
        said["listen"].as_str().unwrap().to_owned()
    }
}

/// Answers what it is sent, byte for byte; where.
pub(super) async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

/// What comes back of these bytes, or how the connection ended instead.
pub(super) async fn through(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    soon(stream.write_all(bytes)).await?;
    let mut back = vec![0; bytes.len()];
    soon(stream.read_exact(&mut back)).await?;
    Ok(back)
}

const TOXIC: &str = r#"{"type": "latency", "attributes": {"latency": 1, "jitter": 0}}"#;

#[tokio::test]
async fn each_route_answers_as_the_original_does() {
    let api = Api::start().await;
    let upstream = echo().await;
    let made = json!({"name": "p", "listen": "127.0.0.1:0", "upstream": upstream}).to_string();
    for (method, path, body, status) in [
        ("GET", "/proxies", "", 200),
        ("POST", "/proxies", made.as_str(), 201),
        ("GET", "/proxies/p", "", 200),
        ("POST", "/proxies/p", r#"{"enabled": false}"#, 200),
        ("PATCH", "/proxies/p", r#"{"enabled": true}"#, 200),
        ("GET", "/proxies/p/toxics", "", 200),
        ("POST", "/proxies/p/toxics", TOXIC, 200),
        ("GET", "/proxies/p/toxics/latency_downstream", "", 200),
        ("POST", "/proxies/p/toxics/latency_downstream", "{}", 200),
        ("PATCH", "/proxies/p/toxics/latency_downstream", "{}", 200),
        ("DELETE", "/proxies/p/toxics/latency_downstream", "", 204),
        ("POST", "/populate", "[]", 201),
        ("POST", "/reset", "", 204),
        ("GET", "/version", "", 200),
        ("GET", "/metrics", "", 200),
        ("GET", "/seed", "", 200),
        ("DELETE", "/proxies/p", "", 204),
        ("GET", "/nowhere", "", 404),
        ("DELETE", "/proxies", "", 405),
        ("GET", "/reset", "", 405),
    ] {
        let answer = api.raw(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert!(
            answer.id.is_some(),
            "{method} {path}: no X-Toxiproxy-Request-Id"
        );
        let expected = match (status, path) {
            (204 | 405, _) => "",
            (404, _) | (_, "/metrics") => "text/plain",
            _ => "application/json",
        };
        assert!(
            answer.kind.starts_with(expected),
            "{method} {path}: {}",
            answer.kind
        );
        assert_eq!(
            answer.text.is_empty(),
            expected.is_empty(),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn what_is_said_has_the_originals_shape() {
    let api = Api::start().await;
    let upstream = echo().await;
    let listen = api.proxy("p", &upstream).await;
    assert!(
        !listen.ends_with(":0"),
        "{listen}: the port is the real one"
    );
    let proxy = json!({
        "name": "p", "listen": listen, "upstream": upstream, "enabled": true, "toxics": []
    });
    assert_eq!(
        api.raw("GET", "/proxies", "").await.json(),
        json!({ "p": proxy })
    );
    assert_eq!(api.raw("GET", "/proxies/p", "").await.json(), proxy);
    let toxic = json!({
        "attributes": {"latency": 1, "jitter": 0},
        "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1
    });
    assert_eq!(
        api.raw("POST", "/proxies/p/toxics", TOXIC).await.json(),
        toxic
    );
    // Names in any case, nulls and what nobody knows; and only the first value counts.
    let odd = r#"{"Type": "timeout", "STREAM": "Upstream", "name": null, "toxicity": 0.5, "color": 1,
                  "attributes": {"Timeout": 9, "tiemout": 8}} and so on"#;
    let second = json!({
        "attributes": {"timeout": 9},
        "name": "timeout_upstream", "type": "timeout", "stream": "upstream", "toxicity": 0.5
    });
    assert_eq!(
        api.raw("POST", "/proxies/p/toxics", odd).await.json(),
        second
    );
    // Those of the upstream come first.
    let both = api.raw("GET", "/proxies/p/toxics", "").await.json();
    assert_eq!(both, json!([second, toxic]));
    let version = api.raw("GET", "/version", "").await.text;
    assert_eq!(version, format!("{{\"version\": \"{VERSION}\"}}\n"));
    assert_eq!(api.raw("GET", "/seed", "").await.json(), json!({"seed": 7}));
    assert_eq!(
        api.raw("POST", "/populate", "[]").await.json(),
        json!({"proxies": []})
    );
}

#[tokio::test]
async fn an_update_of_a_toxic_changes_attributes_and_toxicity_only() {
    let api = Api::start().await;
    api.proxy("p", &echo().await).await;
    api.ok(
        "POST",
        "/proxies/p/toxics",
        json!({
            "type": "latency", "name": "slow", "attributes": {"latency": 5, "jitter": 3}
        }),
    )
    .await;
    let change = json!({
        "attributes": {"latency": 8}, "toxicity": 0.25, "name": "x", "stream": "upstream", "type": "x"
    });
    let expected = json!({
        "attributes": {"latency": 8, "jitter": 3},
        "name": "slow", "type": "latency", "stream": "downstream", "toxicity": 0.25
    });
    assert_eq!(
        api.ok("POST", "/proxies/p/toxics/slow", change).await,
        expected
    );
    let shown = api.raw("GET", "/proxies/p/toxics/slow", "").await.json();
    assert_eq!(shown, expected);
}

/// Method, path, body; status and how the error begins. There is a proxy `p` with the toxic above.
const REFUSALS: &[(&str, &str, &str, u16, &str)] = &[
    ("POST", "/proxies", "", 400, "bad request body: EOF"),
    (
        "POST",
        "/proxies",
        "{",
        400,
        "bad request body: unexpected EOF",
    ),
    ("POST", "/proxies", "nonsense", 400, "bad request body: "),
    (
        "POST",
        "/proxies",
        r#"{"name": 5}"#,
        400,
        "bad request body: invalid type: integer `5`",
    ),
    (
        "POST",
        "/proxies",
        "{}",
        400,
        "missing required field: name",
    ),
    (
        "POST",
        "/proxies",
        r#"{"name": "q"}"#,
        400,
        "missing required field: upstream",
    ),
    ("GET", "/proxies/q", "", 404, "proxy not found"),
    ("PATCH", "/proxies/q", "{}", 404, "proxy not found"),
    ("PATCH", "/proxies/p", "", 400, "bad request body: EOF"),
    ("DELETE", "/proxies/q", "", 404, "proxy not found"),
    ("GET", "/proxies/q/toxics", "", 404, "proxy not found"),
    ("POST", "/proxies/q/toxics", TOXIC, 404, "proxy not found"),
    ("GET", "/proxies/q/toxics/t", "", 404, "proxy not found"),
    ("DELETE", "/proxies/q/toxics/t", "", 404, "proxy not found"),
    ("GET", "/proxies/p/toxics/t", "", 404, "toxic not found"),
    ("PATCH", "/proxies/p/toxics/t", "{}", 404, "toxic not found"),
    ("DELETE", "/proxies/p/toxics/t", "", 404, "toxic not found"),
    (
        "POST",
        "/proxies/p/toxics",
        "",
        400,
        "bad request body: EOF",
    ),
    (
        "POST",
        "/proxies/p/toxics",
        TOXIC,
        409,
        "toxic already exists",
    ),
    ("POST", "/proxies/p/toxics", "{}", 400, "invalid toxic type"),
    (
        "POST",
        "/proxies/p/toxics",
        r#"{"type": "latncy"}"#,
        400,
        "invalid toxic type",
    ),
    (
        "POST",
        "/proxies/p/toxics",
        r#"{"type": "latency", "stream": "sideways"}"#,
        400,
        "stream was invalid, can be either upstream or downstream",
    ),
    (
        "POST",
        "/proxies/p/toxics",
        r#"{"type": "bandwidth", "attributes": {"rate": "fast"}}"#,
        400,
        "bad request body: attributes of bandwidth: ",
    ),
    (
        "POST",
        "/proxies/p/toxics",
        r#"{"type": "timeout", "toxicity": 2}"#,
        400,
        "bad request body: toxicity is 2, expected 0 to 1",
    ),
    (
        "PATCH",
        "/proxies/p/toxics/latency_downstream",
        r#"{"attributes": {"latency": -1}}"#,
        400,
        "bad request body: attributes of latency: ",
    ),
    ("POST", "/populate", "{}", 400, "bad request body: "),
    (
        "POST",
        "/populate",
        "[{}]",
        400,
        "missing required field: name at proxy 1",
    ),
];

#[tokio::test]
async fn each_refusal_has_its_status_and_its_words() {
    let api = Api::start().await;
    let upstream = echo().await;
    let listen = api.proxy("p", &upstream).await;
    api.raw("POST", "/proxies/p/toxics", TOXIC).await;
    let again = format!(r#"{{"name": "p", "upstream": "{upstream}"}}"#);
    let taken = format!(r#"{{"name": "q", "listen": "{listen}", "upstream": "{upstream}"}}"#);
    let twice = format!("[{taken}, {taken}]");
    let of_now = [
        (
            "POST",
            "/proxies",
            again.as_str(),
            409,
            "proxy already exists",
        ),
        ("POST", "/proxies", &taken, 500, "listen tcp 127.0.0.1:"),
        (
            "POST",
            "/populate",
            &twice,
            500,
            "duplicate proxy name \"q\"",
        ),
    ];
    for (method, path, body, status, words) in REFUSALS.iter().copied().chain(of_now) {
        let answer = api.raw(method, path, body).await;
        let error = answer.json();
        assert_eq!(answer.status, status, "{method} {path} {body}: {error}");
        assert_eq!(error["status"], status, "{method} {path} {body}: {error}");
        let said = error["error"].as_str().unwrap();
        assert!(
            said.starts_with(words),
            "{method} {path} {body}: got {said}, expected {words}"
        );
    }
    let names: Vec<String> = match api.raw("GET", "/proxies", "").await.json() {
        Value::Object(proxies) => proxies.into_iter().map(|(name, _)| name).collect(),
        other => panic!("{other}"),
    };
    assert_eq!(names, ["p"], "what was refused is not there");
}

#[tokio::test]
async fn browsers_are_refused() {
    let api = Api::start().await;
    let request = api.client.get(format!("{}/version", api.url));
    let browser = request.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
    let answer = soon(browser.send()).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.headers().contains_key("x-toxiproxy-request-id"));
    assert_eq!(
        soon(answer.text()).await.unwrap(),
        "User agent not allowed\n"
    );
}
