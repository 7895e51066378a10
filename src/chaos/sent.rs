//! A request and its answer, as small as evidence can have it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::target::{Ask, Client, Credential, Exchange};

/// One request, what came of it, and when. Headers are left out: a gate that judges them keeps
/// the [`Exchange`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The actor behind the credential, such as `op-1`; none when there was none.
    pub actor: Option<String>,
    /// The role of that actor.
    pub role: Option<String>,
    /// The correlation id.
    pub id: String,
    /// The body that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// When it was sent, in microseconds on the clock of the run.
    pub invoked_us: u64,
    /// When the whole answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// The status; 0 without an answer.
    pub status: u16,
    /// The body of the answer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Sent {
    /// The short form of an exchange under this credential.
    #[must_use]
    pub fn new(exchange: &Exchange, credential: &Credential) -> Self {
        let (actor, role) = credential.actor().unzip();
        Self {
            service: exchange.service.clone(),
            method: exchange.method.clone(),
            path: exchange.path.clone(),
            actor,
            role: role.map(str::to_owned),
            id: exchange.correlation_id.clone(),
            body: exchange.body.clone(),
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            answer: exchange.answered().clone(),
            error: exchange.error.clone(),
        }
    }

    /// Sends a request, and keeps the short form of what came of it.
    pub async fn by(client: &Client, ask: Ask) -> Self {
        Self::new(&client.send(ask).await, client.credential())
    }

    /// Whether it was acknowledged with a 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it got an answer at all. Without one it may have happened.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.returned_us.is_some()
    }

    /// `error.code` of a refusal, or the empty string.
    #[must_use]
    pub fn code(&self) -> &str {
        self.answer["error"]["code"].as_str().unwrap_or_default()
    }

    /// `POST /v3/sessions of api-gateway (cor_1): 409 FENCE_STALE`, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            service,
            method,
            path,
            id,
            status,
            ..
        } = self;
        let outcome = match (&self.error, self.code()) {
            (Some(error), _) => format!("no answer ({error})"),
            (None, "") => status.to_string(),
            (None, code) => format!("{status} {code}"),
        };
        format!("{method} {path} of {service} ({id}): {outcome}")
    }
}
