//! What the API refuses, in the original's words and with its status codes.

use std::io;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::chaos::link::ToxicError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was told cannot be read or meant.
    #[error("bad request body: {0}")]
    Body(String),
    /// A field has to be there.
    #[error("missing required field: {0}")]
    Missing(String),
    /// No proxy of this name.
    #[error("proxy not found")]
    NoProxy,
    /// A proxy of this name.
    #[error("proxy already exists")]
    ProxyExists,
    /// Neither of the two streams.
    #[error("stream was invalid, can be either upstream or downstream")]
    Stream,
    /// None of the types.
    #[error("invalid toxic type")]
    Type,
    /// A toxic of this name on this proxy.
    #[error("toxic already exists")]
    ToxicExists,
    /// No toxic of this name on this proxy.
    #[error("toxic not found")]
    NoToxic,
    /// The same name twice in what populates.
    #[error("duplicate proxy name \"{0}\"")]
    Duplicate(String),
    /// The place cannot be listened at.
    #[error("listen tcp {listen}: {why}")]
    Listen {
        /// As it was told.
        listen: String,
        /// What the system says.
        why: io::Error,
    },
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::Missing(_) | Self::Stream | Self::Type => StatusCode::BAD_REQUEST,
            Self::NoProxy | Self::NoToxic => StatusCode::NOT_FOUND,
            Self::ProxyExists | Self::ToxicExists => StatusCode::CONFLICT,
            Self::Duplicate(_) | Self::Listen { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<ToxicError> for Refusal {
    fn from(error: ToxicError) -> Self {
        match error {
            ToxicError::Exists(_) => Self::ToxicExists,
            ToxicError::NotFound(_) => Self::NoToxic,
            ToxicError::UnknownType(_) => Self::Type,
            ToxicError::Other(_) | ToxicError::Wrong(_) => Self::Body(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    /// JSON that says it is plain text, as the original's does.
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({"error": self.to_string(), "status": status.as_u16()});
        plain(status, format!("{body}\n"))
    }
}

/// An error as Go's server words one.
pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text.into()).into_response()
}
