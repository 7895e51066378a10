//! The HTTP client of the harness: no retries, no redirects, every request with a bound, and the
//! times of every call. A refusal and a missing answer are both results, never errors.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;

use super::ask::{Answer, Ask, Exchange};
use super::keys::{Credential, Keys};
use super::listening::Listening;
use super::raw;
use super::socket::{NotOpen, Socket};
use crate::base::json::sha256_hex;
use crate::base::{Clock, Seed};

/// What all clients of one instance share. A restart writes the new addresses here.
pub(super) struct Line {
    pub(super) listening: RwLock<Arc<Listening>>,
    pub(super) keys: Keys,
    pub(super) clock: Clock,
    http: reqwest::Client,
    seed: Seed,
    sent: AtomicU64,
}

impl Line {
    pub(super) fn new(listening: Listening, keys: Keys, clock: Clock, seed: Seed) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .expect("a client without TLS and proxies has nothing that could fail");
        let listening = RwLock::new(Arc::new(listening));
        Self {
            listening,
            keys,
            clock,
            http,
            seed,
            sent: AtomicU64::new(0),
        }
    }

    pub(super) fn listening(&self) -> Arc<Listening> {
        Arc::clone(
            &self
                .listening
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn moved(&self, listening: Listening) {
        *self
            .listening
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(listening);
    }

    fn correlation_id(&self) -> String {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let digest = sha256_hex(format!("{}/{number}", self.seed).as_bytes());
        format!("cor_{}", &digest[..12])
    }
}

/// Talks to one instance under one credential. It resolves the service's address at each call,
/// because a restarted target has new ports.
#[derive(Clone)]
pub struct Client {
    line: Arc<Line>,
    credential: Credential,
}

impl Client {
    pub(super) fn new(line: Arc<Line>, credential: Credential) -> Self {
        Self { line, credential }
    }

    /// The same line under another credential.
    #[must_use]
    pub fn under(&self, credential: Credential) -> Self {
        Self {
            line: Arc::clone(&self.line),
            credential,
        }
    }

    /// Who asks.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Sends the request and waits for the whole answer, at most `ask.timeout`.
    pub async fn send(&self, ask: Ask) -> Exchange {
        self.exchange(ask, false).await
    }

    /// The same with the path as it stands, dots, doubled slashes and escapes included, on a
    /// connection of its own.
    pub async fn send_verbatim(&self, ask: Ask) -> Exchange {
        self.exchange(ask, true).await
    }

    /// Opens a WebSocket, at most `bound` long.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn open(
        &self,
        service: &str,
        path: &str,
        bound: Duration,
    ) -> Result<Socket, NotOpen> {
        let own = self.line.correlation_id();
        self.open_under(&own, service, path, bound).await
    }

    /// The same under a correlation id of the caller's.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn open_under(
        &self,
        correlation_id: &str,
        service: &str,
        path: &str,
        bound: Duration,
    ) -> Result<Socket, NotOpen> {
        let Some(base) = self.base(service) else {
            let why = format!("the target names no service {service}");
            return Err(NotOpen::Failed(why));
        };
        let url = format!("{}{path}", base.replacen("http", "ws", 1));
        let own = ("x-correlation-id".to_owned(), correlation_id.to_owned());
        let header = self.line.keys.header(&self.credential);
        let header = header.map(|(name, value)| (name.to_owned(), value));
        Socket::open(&url, std::iter::once(own).chain(header), bound).await
    }

    fn base(&self, service: &str) -> Option<String> {
        let listening = self.line.listening();
        let base = listening.services.get(service);
        base.map(|base| base.trim_end_matches('/').to_owned())
    }

    async fn exchange(&self, ask: Ask, verbatim: bool) -> Exchange {
        let correlation_id = ask
            .correlation_id
            .clone()
            .unwrap_or_else(|| self.line.correlation_id());
        let base = ask.at.clone().or_else(|| self.base(&ask.service));
        let (headers, redacted) = self.headers(&ask, &correlation_id);
        let mut exchange = Exchange {
            service: ask.service.clone(),
            method: ask.method.clone(),
            path: ask.path.clone(),
            correlation_id,
            headers: redacted,
            body: ask.body.clone(),
            invoked_us: self.line.clock.now_us(),
            returned_us: None,
            answer: None,
            error: None,
        };
        let answer = async {
            let base = base.ok_or(format!("the target names no service {}", ask.service))?;
            match verbatim {
                true => plainly(&base, &ask, headers).await,
                false => {
                    let url = format!("{base}{}", ask.path);
                    let answer = self.answer(&ask, &url, headers).await;
                    answer.map_err(|error| reasons(&error))
                }
            }
        };
        let late = || Err(format!("no answer within {} ms", ask.timeout.as_millis()));
        let outcome = tokio::time::timeout(ask.timeout, answer).await;
        match outcome.unwrap_or_else(|_| late()) {
            Ok(answer) => {
                exchange.returned_us = Some(self.line.clock.now_us());
                exchange.answer = Some(answer);
            }
            Err(error) => exchange.error = Some(error),
        }
        exchange
    }

    /// The headers to send, and the same without secrets.
    fn headers(
        &self,
        ask: &Ask,
        correlation_id: &str,
    ) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let mut headers = ask.headers.clone();
        headers
            .entry("x-correlation-id".to_owned())
            .or_insert_with(|| correlation_id.to_owned());
        let mut redacted = headers.clone();
        if let Some((name, value)) = self.line.keys.header(&self.credential) {
            headers.insert(name.to_owned(), value);
            redacted.insert(name.to_owned(), self.credential.label());
        }
        (headers, redacted)
    }

    async fn answer(
        &self,
        ask: &Ask,
        url: &str,
        headers: BTreeMap<String, String>,
    ) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(ask.method.as_bytes())
            .expect("a check names the method of its request");
        let mut request = self.line.http.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(text) = &ask.written {
            let request_of_json = request.header("content-type", "application/json");
            request = request_of_json.body(text.clone());
        } else if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let bytes = response.bytes().await?;
        Ok(Answer::read(status, headers, &bytes))
    }
}

/// On a connection of its own, and with nothing made tidy.
async fn plainly(
    base: &str,
    ask: &Ask,
    mut headers: BTreeMap<String, String>,
) -> Result<Answer, String> {
    let address = base.strip_prefix("http://").unwrap_or(base);
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| e.to_string())?;
    headers.insert("host".to_owned(), address.to_owned());
    let line = (ask.method.as_str(), ask.path.as_str());
    raw::exchange(stream, line, &headers, ask.body.as_ref()).await
}

/// The error and its causes in one line: `reqwest` alone says only `error sending request`.
fn reasons(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
