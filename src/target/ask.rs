//! One request and what came of it, as it is kept in evidence.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The bound of a request that names no other. Past it the operation stays open.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The service's name, such as `api-gateway`.
    pub service: String,
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Where the service is, when that is not what the target's first line says.
    pub at: Option<String>,
    /// Headers beside those of the credential and the correlation id.
    pub headers: BTreeMap<String, String>,
    /// The body; none sends none.
    pub body: Option<Value>,
    /// How the body is written, when its spelling matters; without it as a library would.
    pub written: Option<String>,
    /// Until when an answer counts, from the sending.
    pub timeout: Duration,
    /// The correlation id; the client makes one up when there is none.
    pub correlation_id: Option<String>,
}

impl Ask {
    /// A request without a body.
    #[must_use]
    pub fn new(service: &str, method: &str, path: &str) -> Self {
        Self {
            service: service.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            at: None,
            headers: BTreeMap::new(),
            body: None,
            written: None,
            timeout: REQUEST_TIMEOUT,
            correlation_id: None,
        }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(service: &str, path: &str) -> Self {
        Self::new(service, "GET", path)
    }

    /// A `DELETE` without a body.
    #[must_use]
    pub fn delete(service: &str, path: &str) -> Self {
        Self::new(service, "DELETE", path)
    }

    /// A `POST` with a body.
    #[must_use]
    pub fn post(service: &str, path: &str, body: Value) -> Self {
        Self {
            body: Some(body),
            ..Self::new(service, "POST", path)
        }
    }

    /// With this header; the name is written in lower case.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// To this base URL: a service that was started again may have another.
    #[must_use]
    pub fn at(mut self, url: &str) -> Self {
        self.at = Some(url.to_owned());
        self
    }

    /// With this idempotency key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("x-idempotency-key", key)
    }

    /// With this fence token in the header.
    #[must_use]
    pub fn fence(self, token: i64) -> Self {
        self.header("x-fence-token", token.to_string())
    }

    /// With this correlation id.
    #[must_use]
    pub fn correlation(mut self, id: &str) -> Self {
        self.correlation_id = Some(id.to_owned());
        self
    }

    /// With its body written like this.
    #[must_use]
    pub fn written(mut self, text: String) -> Self {
        self.written = Some(text);
        self
    }

    /// With this bound.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// An answer, whatever it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers by lower-case name; of repeated ones the last.
    pub headers: BTreeMap<String, String>,
    /// The body; null when it is not JSON.
    pub body: Value,
    /// The body as it came, when it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl Answer {
    /// Of what came over the wire.
    #[must_use]
    pub(super) fn read(status: u16, headers: BTreeMap<String, String>, bytes: &[u8]) -> Self {
        let (body, raw) = match serde_json::from_slice(bytes) {
            Ok(body) => (body, None),
            Err(_) if bytes.is_empty() => (Value::Null, None),
            Err(_) => (
                Value::Null,
                Some(String::from_utf8_lossy(bytes).into_owned()),
            ),
        };
        Self {
            status,
            headers,
            body,
            raw,
        }
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `error.code` of a refusal, or the empty string.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A request with its times and what came back. Secrets are replaced by the credential's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The service's name.
    pub service: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The correlation id that was sent.
    pub correlation_id: String,
    /// The headers that were sent, tokens redacted.
    pub headers: BTreeMap<String, String>,
    /// The body that was sent.
    pub body: Option<Value>,
    /// Just before sending, on the clock of the run.
    pub invoked_us: u64,
    /// After the last byte of the answer; none when there is no answer.
    pub returned_us: Option<u64>,
    /// The answer.
    pub answer: Option<Answer>,
    /// Why there is none. The operation may have happened.
    pub error: Option<String>,
}

impl Exchange {
    /// The status, or 0 when there is no answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer.as_ref().map_or(0, |answer| answer.status)
    }

    /// Whether it was acknowledged with a 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::ok)
    }

    /// The answer's body, or null.
    #[must_use]
    pub fn answered(&self) -> &Value {
        self.answer
            .as_ref()
            .map_or(&Value::Null, |answer| &answer.body)
    }

    /// `error.code` of a refusal, or the empty string.
    #[must_use]
    pub fn code(&self) -> &str {
        self.answer.as_ref().map_or("", Answer::code)
    }

    /// `POST /v3/sessions of api-gateway (r-12): 409 FENCE_STALE`, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            service,
            method,
            path,
            correlation_id,
            ..
        } = self;
        let outcome = match (&self.answer, &self.error) {
            (Some(answer), _) if answer.code().is_empty() => answer.status.to_string(),
            (Some(answer), _) => format!("{} {}", answer.status, answer.code()),
            (None, Some(error)) => format!("no answer ({error})"),
            (None, None) => "no answer".to_owned(),
        };
        format!("{method} {path} of {service} ({correlation_id}): {outcome}")
    }
}
