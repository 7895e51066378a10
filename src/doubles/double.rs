//! A double: an HTTP server of the harness on a port of its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::behaviour::{Behaviour, Point};
use super::ledger::{Call, Effect, Ledger, redact};
use super::server::{Door, Scissors};
use super::speech::{self, Hearing};
use crate::base::Clock;
use crate::base::json::sha256_hex;

/// The longest request body a double reads.
const BODY_LIMIT_BYTES: usize = 16 << 20;
/// Where a backend says that it is there.
const HEALTH: &str = "/healthz";

/// Which backend it stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST /chat`.
    Models,
    /// `POST /run`.
    Tools,
    /// `POST /store` of a memory engine.
    Memory,
    /// `GET /healthz` of this service of the stack, and nothing else.
    Health(&'static str),
    /// `POST /transcribe`: pieces of PCM, and the text of the tones in them so far.
    Asr,
    /// `POST /synthesize`: a text as tones, in chunks.
    Tts,
    /// `POST /embed`.
    Embeddings,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Models => "/chat",
            Self::Tools => "/run",
            Self::Memory => "/store",
            Self::Health(_) => HEALTH,
            Self::Embeddings => "/embed",
            Self::Asr => "/transcribe",
            Self::Tts => "/synthesize",
        }
    }

    /// What asks whether it is there and wants nothing else.
    fn is_probe(self, path: &str) -> bool {
        matches!(self, Self::Asr | Self::Tts) && path == HEALTH
    }

    /// A request's body as scripts and the ledger see it.
    fn request(self, headers: &BTreeMap<String, String>, bytes: &[u8]) -> Value {
        match self {
            Self::Asr => speech::piece(headers, bytes),
            _ => serde_json::from_slice(bytes).unwrap_or(Value::Null),
        }
    }

    /// An answer as it is written.
    fn write(self, answer: &Value) -> (&'static str, Vec<Bytes>) {
        match self {
            Self::Tts => ("audio/l16;rate=16000;channels=1", speech::chunks(answer)),
            _ => json_bytes(answer),
        }
    }

    /// The answer without a script. It depends on the request, so that another input gets
    /// another answer.
    fn answer(self, request: &Value) -> Value {
        match self {
            Self::Models => {
                let heard = request["input_text"].as_str().unwrap_or_default();
                json!({"text": format!("You said: {heard}"), "tool_calls": []})
            }
            Self::Tools => {
                let bytes = request["args"]["text"].as_str().unwrap_or_default().len();
                json!({"ok": true, "result": {"bytes": bytes}})
            }
            Self::Memory => {
                let mut id = sha256_hex(request.to_string().as_bytes());
                id.truncate(12);
                let kind = &request["type"];
                json!({"ok": true, "id": format!("mem_{id}"), "type": kind, "priority": "normal"})
            }
            // What was said before belongs to it: see `Inner::commit`.
            Self::Asr => Hearing::default().hear(request),
            Self::Tts => json!({"text": request["text"]}),
            Self::Health(service) => json!({
                "ok": true, "service": service, "version": "4.7.0",
                "contract_version": "v4.6.0",
            }),
            Self::Embeddings => {
                let texts = request["texts"].as_array().map_or(&[][..], Vec::as_slice);
                let vector = |text: &Value| {
                    let digest = sha256_hex(text.to_string().as_bytes());
                    digest.bytes().map(f64::from).collect::<Vec<_>>()
                };
                let vectors: Vec<_> = texts.iter().map(vector).collect();
                json!({"vectors": vectors})
            }
        }
    }
}

impl Kind {
    /// A probe asks for nothing and gets nothing to act on, whatever the script.
    fn answer_to_probe(self) -> Value {
        match self {
            Self::Models => json!({"text": "", "tool_calls": []}),
            Self::Tools | Self::Memory | Self::Asr | Self::Tts => json!({"ok": true, "result": {}}),
            Self::Health(_) => self.answer(&Value::Null),
            Self::Embeddings => json!({"vectors": []}),
        }
    }
}

type Script = Arc<dyn Fn(&Value) -> Value + Send + Sync>;
/// From the body of a call to its treatment.
type Treatment = Arc<dyn Fn(&Value) -> Behaviour + Send + Sync>;

/// Fewer calls than awaited were held at the deadline.
#[derive(Debug, thiserror::Error)]
#[error("{got} calls held within {} ms, expected {expected}", waited.as_millis())]
pub struct HeldTooFew {
    /// How many were.
    pub got: usize,
    /// How many should be.
    pub expected: usize,
    /// The bound.
    pub waited: Duration,
}

/// A stand-in that lives as long as this value (clones share it).
#[derive(Clone)]
pub struct Double {
    inner: Arc<Inner>,
    _server: Arc<Server>,
}

/// The task that accepts connections; it ends with the last clone of the double.
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Inner {
    kind: Kind,
    clock: Clock,
    url: String,
    ledger: Mutex<Ledger>,
    hearing: Mutex<Hearing>,
    script: Mutex<Option<Script>>,
    behaviour: Mutex<Treatment>,
    /// Raised by each release; a held call goes on when it is past the one it saw.
    released: watch::Sender<u64>,
    /// How many calls are held now, or were answered under a hold at `Answered`.
    held: watch::Sender<usize>,
}

impl Inner {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn treat(&self, treatment: Treatment) {
        *self
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = treatment;
    }

    fn behaviour(&self, request: &Value) -> Behaviour {
        let treatment = self
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        treatment(request)
    }
}

impl Double {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start(kind: Kind, clock: Clock) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let inner = Arc::new(Inner {
            kind,
            clock,
            url: format!("http://{}", listener.local_addr()?),
            ledger: Mutex::default(),
            hearing: Mutex::default(),
            script: Mutex::new(None),
            behaviour: Mutex::new(Arc::new(|_| Behaviour::default())),
            released: watch::Sender::new(0),
            held: watch::Sender::new(0),
        });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        let app = app.into_make_service_with_connect_info::<Scissors>();
        let task = tokio::spawn(async move {
            // Only ends when it is aborted.
            let _ = axum::serve(Door { listener }, app).await;
        });
        Ok(Self {
            inner,
            _server: Arc::new(Server(task)),
        })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.inner.url.clone()
    }

    /// Every call so far, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.inner.ledger().calls.clone()
    }

    /// Those of them that are no probes.
    #[must_use]
    pub fn asked(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| !call.probe);
        calls
    }

    /// Every effect so far, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.inner.ledger().effects()
    }

    /// Treats calls that arrive from now on like this. Calls that are held stay held.
    pub fn behave(&self, behaviour: Behaviour) {
        self.inner.treat(Arc::new(move |_| behaviour));
    }

    /// Treats each call that arrives from now on as its body asks for.
    pub fn behave_by(&self, treatment: impl Fn(&Value) -> Behaviour + Send + Sync + 'static) {
        self.inner.treat(Arc::new(treatment));
    }

    /// Answers with what `script` makes of the request's body. The double answers 200 to it.
    pub fn script(&self, script: impl Fn(&Value) -> Value + Send + Sync + 'static) {
        *self
            .inner
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(script));
    }

    /// Waits until at least `n` calls are held at once. A call whose caller is gone is not held.
    ///
    /// # Errors
    /// [`HeldTooFew`] at the deadline.
    pub async fn held(&self, n: usize, deadline: Duration) -> Result<(), HeldTooFew> {
        let mut held = self.inner.held.subscribe();
        let reached = tokio::time::timeout(deadline, held.wait_for(|now| *now >= n)).await;
        if matches!(reached, Ok(Ok(_))) {
            return Ok(());
        }
        Err(HeldTooFew {
            got: *self.inner.held.borrow(),
            expected: n,
            waited: deadline,
        })
    }

    /// Lets every held call go on, and forgets those that were counted at `Answered`.
    pub fn release(&self) {
        self.inner.held.send_modify(|held| *held = 0);
        self.inner.released.send_modify(|count| *count += 1);
    }
}

/// Marks the call as abandoned unless it got its answer.
struct Visit {
    inner: Arc<Inner>,
    index: usize,
    done: bool,
}

impl Visit {
    fn answered(&mut self, behaviour: Behaviour) {
        self.done = true;
        let now_us = self.inner.clock.now_us();
        let mut ledger = self.inner.ledger();
        let call = &mut ledger.calls[self.index];
        (call.answered, call.answered_us) = (true, Some(now_us));
        drop(ledger);
        if behaviour.hold == Some(Point::Answered) {
            self.inner.held.send_modify(|held| *held += 1);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.done {
            self.inner.ledger().calls[self.index].abandoned = true;
        }
    }
}

/// Counts a held call while it is held: dropped with the call when its connection dies.
struct Hold<'a> {
    inner: &'a Inner,
    generation: u64,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // A release has set the count to 0 already.
        if *self.inner.released.borrow() == self.generation {
            self.inner
                .held
                .send_modify(|held| *held = held.saturating_sub(1));
        }
    }
}

impl Inner {
    async fn hold(&self) {
        let mut released = self.released.subscribe();
        let generation = *released.borrow_and_update();
        self.held.send_modify(|held| *held += 1);
        let _hold = Hold {
            inner: self,
            generation,
        };
        // An error means that the sender is gone, which it cannot be while we borrow it.
        let _ = released.changed().await;
    }

    fn commit(&self, index: usize) -> Value {
        let script = self
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now_us = self.clock.now_us();
        self.ledger().commit(index, now_us, |request| match script {
            Some(script) => script(request),
            None if self.kind == Kind::Asr => self.hearing().hear(request),
            None => self.kind.answer(request),
        })
    }
}

async fn serve(
    State(inner): State<Arc<Inner>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request<Body>,
) -> Response<Body> {
    let path = request.uri().path();
    let known = path == inner.kind.path() || inner.kind.is_probe(path);
    let call = match read(&inner, request).await {
        Ok(call) => call,
        Err(status) => return plain(status, Body::empty()),
    };
    let probe = call.probe;
    let mut behaviour = inner.behaviour(&call.body);
    if probe {
        // Who waits for n held calls means calls of decisions. Slowness and failures it shares.
        behaviour.hold = None;
    }
    let index = inner.ledger().arrive(call);
    let mut visit = Visit {
        inner: Arc::clone(&inner),
        index,
        done: false,
    };
    if behaviour.hold == Some(Point::Arrived) {
        inner.hold().await;
    }
    if behaviour.delay_ms > 0 {
        tokio::time::sleep(behaviour.delay()).await;
    }
    let refusal = if known { behaviour.fail } else { Some(404) };
    if behaviour.cut == Some(Point::Arrived) {
        scissors.cut();
        return plain(StatusCode::OK, Body::empty());
    }
    if let Some(status) = refusal {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = json_bytes(&json!({"error": status.as_u16()}));
        return finish(visit, status, error, behaviour);
    }
    if probe {
        let nothing = json_bytes(&inner.kind.answer_to_probe());
        return finish(visit, StatusCode::OK, nothing, behaviour);
    }
    let answer = inner.commit(index);
    if behaviour.hold == Some(Point::Committed) {
        inner.hold().await;
    }
    if behaviour.cut == Some(Point::Committed) {
        scissors.cut();
        visit.done = true;
        return plain(StatusCode::OK, Body::empty());
    }
    finish(visit, StatusCode::OK, inner.kind.write(&answer), behaviour)
}

async fn read(inner: &Inner, request: Request<Body>) -> Result<Call, StatusCode> {
    let (head, body) = request.into_parts();
    let mut headers = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers.insert(name.as_str().to_owned(), redact(name.as_str(), &value));
    }
    let credential = head.headers.get(header::AUTHORIZATION);
    let credential = credential.map(|value| sha256_hex(value.as_bytes()));
    let limited = http_body_util::Limited::new(body, BODY_LIMIT_BYTES);
    let bytes = limited
        .collect()
        .await
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?
        .to_bytes();
    let marked = headers.get("x-probe").is_some_and(|value| value == "true");
    let probe = marked || inner.kind.is_probe(head.uri.path());
    let key = headers
        .get("idempotency-key")
        .map(|key| key.trim_matches('"').to_owned());
    Ok(Call {
        at_us: inner.clock.now_us(),
        path: head.uri.to_string(),
        body: inner.kind.request(&headers, &bytes),
        headers,
        credential,
        key,
        committed_us: None,
        answered: false,
        answered_us: None,
        abandoned: false,
        probe,
    })
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn json_bytes(value: &Value) -> (&'static str, Vec<Bytes>) {
    let bytes = serde_json::to_vec(value).expect("a JSON value can be written");
    ("application/json", vec![Bytes::from(bytes)])
}

/// An answer on its way, chunk by chunk.
struct Leaving {
    chunks: std::vec::IntoIter<Bytes>,
    sent: usize,
    visit: Visit,
    behaviour: Behaviour,
    broken: bool,
}

impl Leaving {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let Behaviour {
            chunk_delay_ms,
            stall_after,
            cut_after,
            ..
        } = self.behaviour;
        if self.broken {
            return None;
        }
        if stall_after == Some(self.sent) {
            self.visit.inner.hold().await;
        }
        if cut_after == Some(self.sent) {
            // What was handed over is written while nothing else is ready.
            tokio::task::yield_now().await;
            (self.broken, self.visit.done) = (true, true);
            return Some((Err(io::Error::other("cut by the double")), self));
        }
        let Some(chunk) = self.chunks.next() else {
            self.visit.answered(self.behaviour);
            return None;
        };
        if self.sent > 0 && chunk_delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(chunk_delay_ms)).await;
        }
        self.sent += 1;
        Some((Ok(chunk), self))
    }
}

/// The answer, in a body that notes when its last byte was taken. Its length is not announced:
/// the server asks for the end only after it has taken the chunk, and that is when the call
/// counts as answered.
fn finish(
    visit: Visit,
    status: StatusCode,
    (content_type, chunks): (&'static str, Vec<Bytes>),
    behaviour: Behaviour,
) -> Response<Body> {
    let leaving = Leaving {
        chunks: chunks.into_iter(),
        sent: 0,
        visit,
        behaviour,
        broken: false,
    };
    let mut response = plain(
        status,
        Body::from_stream(stream::unfold(leaving, Leaving::next)),
    );
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if behaviour.cut == Some(Point::Answered) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
