//! What goes back: replies, and refusals in the contract's form.

use serde_json::{Value, json};

use crate::reference::audit::Break;
use crate::reference::store::StoreError;

/// The body of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A value.
    Json(Value),
    /// The text of a stored answer, byte for byte.
    Stored(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers beyond those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Json(body),
        }
    }

    /// A 200 with `ok` and the correlation id added.
    pub fn ok(correlation_id: &str, body: Value) -> Self {
        Self::json(200, with_ok(body, correlation_id))
    }

    /// A stored answer, as it was stored.
    pub fn stored(status: u16, text: String) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Stored(text),
        }
    }

    /// The stored answer of an earlier request.
    pub fn replayed(status: u16, text: String) -> Self {
        Self::stored(status, text).header("idempotency-replayed", "true")
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The body as a value.
    pub fn value(&self) -> Value {
        match &self.body {
            Body::Json(value) => value.clone(),
            Body::Stored(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        }
    }
}

/// Adds `ok: true` and the correlation id to an object that lacks them.
pub(in crate::reference) fn with_ok(mut body: Value, correlation_id: &str) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.entry("ok").or_insert(Value::Bool(true));
        fields
            .entry("correlation_id")
            .or_insert_with(|| correlation_id.into());
    }
    body
}

/// A request that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The status code, never 2xx.
    pub status: u16,
    /// `UPPER_SNAKE`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Whether the same request may be sent again as it is.
    pub retryable: bool,
    /// An object.
    pub details: Value,
    /// Seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal that no repetition changes.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self {
            status,
            code,
            message,
            retryable: false,
            details: json!({}),
            retry_after: None,
        }
    }

    /// 422: valid JSON that breaks the schema, `user_id: expected a string`.
    pub fn schema(message: impl Into<String>) -> Self {
        Self::new(422, "SCHEMA", message)
    }

    /// 400: malformed or out of range.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(400, "MALFORMED", message)
    }

    /// 404.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(404, code, message)
    }

    /// 409.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(409, code, message)
    }

    /// 503, worth a repetition after `seconds`.
    pub fn unavailable(code: &str, message: impl Into<String>, seconds: u64) -> Self {
        Self {
            retryable: true,
            retry_after: Some(seconds),
            ..Self::new(503, code, message)
        }
    }

    /// 503 for a store that cannot be written or read.
    pub fn store(error: &StoreError) -> Self {
        let message = format!("the store cannot be written: {error}");
        Self::unavailable("STORE_UNAVAILABLE", message, 1)
    }

    /// 503 for a mutation while the chain is broken.
    pub fn audit_broken(broken: &Break) -> Self {
        let message = format!(
            "chain {} is broken at seq {}; mutations are refused until the database is moved away",
            broken.chain, broken.seq
        );
        let refusal = Self::new(503, "AUDIT_BROKEN", message).details(details(broken));
        Self {
            retry_after: Some(60),
            ..refusal
        }
    }

    /// 503 for what has to be signed when there is nothing to sign with.
    pub fn no_signing_key() -> Self {
        let message = "nothing is signed: no audit.key_file is configured";
        Self {
            retry_after: Some(60),
            ..Self::new(503, "NO_SIGNING_KEY", message)
        }
    }

    /// 409 for a read of a broken chain.
    pub fn chain_broken(broken: &Break) -> Self {
        Self::conflict("CHAIN_BROKEN", broken.to_string()).details(details(broken))
    }

    /// With details.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The body of the answer.
    pub fn body(&self, correlation_id: &str) -> Value {
        json!({
            "ok": false,
            "error": {
                "code": self.code,
                "message": self.message,
                "retryable": self.retryable,
                "details": self.details,
            },
            "correlation_id": correlation_id,
        })
    }

    /// The answer.
    pub fn reply(&self, correlation_id: &str) -> Reply {
        let reply = Reply::json(self.status, self.body(correlation_id));
        match self.retry_after {
            Some(seconds) => reply.header("retry-after", seconds.to_string()),
            None => reply,
        }
    }
}

fn details(broken: &Break) -> Value {
    json!({"chain": broken.chain, "seq": broken.seq, "reason": broken.reason.word()})
}
