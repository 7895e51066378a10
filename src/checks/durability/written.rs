//! Turns whose memory the target is to write to the memory engine, and what a double of the engine
//! saw of each. Shared by the gates of the outbox; it judges nothing.

use std::net::SocketAddr;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::Sent;
use crate::doubles::Double;
use crate::target::{Ask, Client};

/// How often the target flushes its outbox here, in milliseconds.
pub(super) const FLUSH_MS: u64 = 40;

/// A turn, and every call that carried its text to the memory engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// What its text is told by.
    pub marker: String,
    /// The turn.
    pub turn: Sent,
    /// The calls, in order of arrival.
    pub calls: Vec<Call>,
    /// How many effects they had.
    pub effects: u64,
}

/// One call of the memory engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// When it arrived, on the clock of the run.
    pub at_us: u64,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
    /// Its body.
    pub body: Value,
    /// When it had its effect, if it had.
    pub committed_us: Option<u64>,
    /// When its answer was written, if it was.
    pub answered_us: Option<u64>,
}

impl Written {
    /// Takes a turn whose text carries this marker.
    pub(super) async fn turn(client: &Client, session: &str, marker: &str) -> Self {
        let body = json!({"session_id": session, "input_text": format!("remember {marker}")});
        Self {
            marker: marker.to_owned(),
            turn: Sent::by(client, Ask::post("api-gateway", "/v3/turn", body)).await,
            calls: Vec::new(),
            effects: 0,
        }
    }

    /// Whether a call or effect is about this turn.
    fn is_of(&self, body: &Value) -> bool {
        body["content"]
            .as_str()
            .is_some_and(|content| content.contains(&self.marker))
    }

    /// Looks through what the double saw so far.
    pub(super) fn look(&mut self, engine: &Double) {
        let all = engine.calls();
        let own = all.iter().filter(|call| self.is_of(&call.body));
        let own = own.map(|call| Call {
            at_us: call.at_us,
            key: call.key.clone(),
            body: call.body.clone(),
            committed_us: call.committed_us,
            answered_us: call.answered_us,
        });
        self.calls = own.collect();
        let effects = engine.effects();
        let own = effects.iter().filter(|effect| self.is_of(&effect.body));
        self.effects = own.count() as u64;
    }

    /// Whether a call of it had its effect and got its answer.
    #[must_use]
    pub fn delivered(&self) -> bool {
        self.calls
            .iter()
            .any(|call| call.committed_us.is_some() && call.answered_us.is_some())
    }
}

/// Where a double listens.
///
/// # Errors
/// When its URL is none.
pub(crate) fn address(double: &Double) -> anyhow::Result<SocketAddr> {
    let url = double.url();
    let address = url.strip_prefix("http://").unwrap_or(&url);
    address
        .parse()
        .with_context(|| format!("{url} is no address"))
}

/// The config of a target whose memory engine is at this URL.
pub(super) fn engine_at(url: &str) -> Value {
    json!({
        "services": {"memory-engine": {"url": url}},
        "outbox": {"flush_interval_ms": FLUSH_MS},
    })
}
