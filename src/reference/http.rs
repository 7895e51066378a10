//! The client of the services: plain HTTP to backends, and to the services of the stack whatever
//! their listeners speak.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use rustls::ClientConfig;

use super::breaker::{Breaker, Ticket, Went};
use super::web::tls;

/// A client that finds out by the URL what to speak.
#[derive(Clone)]
pub struct Http {
    plain: reqwest::Client,
    secure: Option<Arc<ClientConfig>>,
    breaker: Option<Breaker>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection was made: the callee has seen nothing.
    NotSent(String),
    /// Sent, and no answer: it may have happened.
    InDoubt(String),
}

impl From<reqwest::Client> for Http {
    fn from(plain: reqwest::Client) -> Self {
        Self {
            plain,
            secure: None,
            breaker: None,
        }
    }
}

/// For what is plain anyway.
impl Deref for Http {
    type Target = reqwest::Client;

    fn deref(&self) -> &reqwest::Client {
        &self.plain
    }
}

impl Http {
    /// One that can also talk TLS.
    pub fn new(plain: reqwest::Client, secure: Option<Arc<ClientConfig>>) -> Self {
        Self {
            plain,
            secure,
            breaker: None,
        }
    }

    /// One whose calls pass this breaker.
    pub fn behind(&self, breaker: Option<Breaker>) -> Self {
        Self {
            breaker,
            ..self.clone()
        }
    }

    /// Whether a call would not even be made now.
    pub fn refuses(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::refuses)
    }

    /// Sends a request and waits for its whole answer: the status and the body. A call that the
    /// breaker does not let through is one that was not sent.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<(u16, Bytes), Fault> {
        let ticket = self.ticket()?;
        let answer = self.call(request, timeout).await;
        over(ticket, answer.as_ref().map(|(status, _)| *status));
        answer
    }

    /// Sends a request and waits for the head of its answer: the status, and the body as it comes,
    /// for which nobody waits here. What the breaker is told is the head.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn begin(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<(u16, BoxStream<'static, Result<Bytes, String>>), Fault> {
        let ticket = self.ticket()?;
        let head = async { self.head(built(request)?).await };
        let late = |_| Err(Fault::InDoubt("no answer in time".to_owned()));
        let answer = tokio::time::timeout(timeout, head).await;
        let answer = answer.unwrap_or_else(late);
        over(
            ticket,
            answer.as_ref().map(|answer| answer.status().as_u16()),
        );
        let answer = answer?;
        let status = answer.status().as_u16();
        let body = answer.bytes_stream().map_err(|error| cause(&error));
        Ok((status, body.boxed()))
    }

    /// What the breaker is to be told of a call, where there is one.
    fn ticket(&self) -> Result<Option<Ticket>, Fault> {
        let ticket = self.breaker.as_ref().map(Breaker::ask).transpose();
        ticket.map_err(Fault::NotSent)
    }

    async fn call(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<(u16, Bytes), Fault> {
        let request = built(request.timeout(timeout))?;
        match &self.secure {
            Some(config) if request.url().scheme() == "https" => {
                let call = tls::call(config, whole(&request)?);
                let late = || Fault::InDoubt("no answer in time".to_owned());
                tokio::time::timeout(timeout, call)
                    .await
                    .unwrap_or_else(|_| Err(late()))
            }
            _ => self.plain(request).await,
        }
    }

    async fn plain(&self, request: reqwest::Request) -> Result<(u16, Bytes), Fault> {
        let answer = self.head(request).await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await;
        Ok((status, body.map_err(|error| Fault::InDoubt(cause(&error)))?))
    }

    async fn head(&self, request: reqwest::Request) -> Result<reqwest::Response, Fault> {
        self.plain.execute(request).await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                Fault::NotSent(cause(&error))
            } else {
                Fault::InDoubt(cause(&error))
            }
        })
    }
}

fn built(request: reqwest::RequestBuilder) -> Result<reqwest::Request, Fault> {
    let request = request.build();
    request.map_err(|error| Fault::NotSent(cause(&error)))
}

fn over(ticket: Option<Ticket>, answer: Result<u16, &Fault>) {
    if let Some(ticket) = ticket {
        ticket.over(went(answer));
    }
}

/// What an answer says of who gave it: a fault of its own is as good as none.
fn went(answer: Result<u16, &Fault>) -> Went {
    match answer {
        Ok(status @ 500..) => Went::Wrong(format!("status {status}")),
        Ok(_) => Went::Well,
        Err(Fault::NotSent(why) | Fault::InDoubt(why)) => Went::Wrong(why.clone()),
    }
}

/// The same request for the other client.
fn whole(request: &reqwest::Request) -> Result<Request<Body>, Fault> {
    let bytes = request.body().and_then(reqwest::Body::as_bytes);
    let body = Body::from(bytes.unwrap_or_default().to_vec());
    let mut built = Request::builder()
        .method(request.method())
        .uri(request.url().as_str())
        .body(body)
        .map_err(|error| Fault::NotSent(error.to_string()))?;
    *built.headers_mut() = request.headers().clone();
    Ok(built)
}

/// The innermost cause: what the operating system said, not which layer wrapped it.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}
