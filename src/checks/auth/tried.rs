//! A request that was tried under some credential, as small as evidence can have it: no body, which
//! could carry a key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::target::Exchange;

/// One request, when, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The service.
    pub service: String,
    /// Method and path.
    pub line: String,
    /// The correlation id.
    pub id: String,
    /// When it was sent, in microseconds on the clock of the run.
    pub invoked_us: u64,
    /// When the whole answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// The status; 0 without an answer.
    pub status: u16,
    /// `error.code` of a refusal, or why there is no answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
}

impl Tried {
    /// The short form of an exchange.
    #[must_use]
    pub fn new(exchange: &Exchange) -> Self {
        Self {
            service: exchange.service.clone(),
            line: format!("{} {}", exchange.method, exchange.path),
            id: exchange.correlation_id.clone(),
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange
                .error
                .clone()
                .unwrap_or_else(|| exchange.code().to_owned()),
        }
    }

    /// Whether it was acknowledged with a 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it was certainly answered before this moment.
    #[must_use]
    pub fn before(&self, us: u64) -> bool {
        self.returned_us.is_some_and(|returned| returned < us)
    }
}

/// `401 UNAUTHENTICATED to GET /status of eva-os (cor_1)`.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            line,
            id,
            status,
            code,
            ..
        } = self;
        match (status, code.as_str()) {
            (0, why) => write!(f, "no answer ({why})")?,
            (_, "") => write!(f, "{status}")?,
            (_, code) => write!(f, "{status} {code}")?,
        }
        write!(f, " to {line} of {service} ({id})")
    }
}
