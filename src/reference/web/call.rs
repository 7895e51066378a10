//! A request as a handler sees it: authenticated, its body parsed, its headers checked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fields, Refusal};
use crate::reference::audit::Origin;
use crate::reference::digest::canonical_sha256;
use crate::reference::ids;

/// What somebody may do. An unknown role is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Observer,
    /// Does everything.
    Operator,
}

impl Role {
    /// The role of that name.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "observer" => Some(Self::Observer),
            "operator" => Some(Self::Operator),
            _ => None,
        }
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Operator => "operator",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The person, or `_service`.
    pub id: String,
    /// The effective role, as it is called; it may be one that nobody knows.
    pub role: String,
    /// The service that acts for it.
    pub via: Option<String>,
}

impl Actor {
    /// `{"actor_id", "actor_role", "via"}`, as in `decided_by`.
    pub fn value(&self) -> Value {
        serde_json::json!({"actor_id": self.id, "actor_role": self.role, "via": self.via})
    }
}

/// 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub String);

/// A fence as it was sent.
pub type Fence = Option<i64>;

/// A request that passed the checks of `web`.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asks.
    pub actor: Actor,
    /// Whether it came with the service token.
    pub from_service: bool,
    /// The conversation.
    pub correlation_id: String,
    /// This request.
    pub request_id: String,
    /// `POST /v3/sessions`: method and canonical template, the same for twins.
    pub endpoint: String,
    /// The method.
    pub method: &'static str,
    /// The concrete canonical path.
    pub path: String,
    /// What the template's braces stand for.
    pub params: BTreeMap<String, String>,
    /// Decoded, in the order it came.
    pub query: Vec<(String, String)>,
    /// The parsed body, `{}` when there was none.
    pub body: Value,
    /// `X-Fence-Token`.
    pub fence_header: Fence,
    /// `X-Idempotency-Key`, or `Idempotency-Key`.
    pub key: Option<IdempotencyKey>,
    /// `X-Causal-Parent`, from a service.
    pub causal_parent: Option<String>,
    /// `X-Replay-Generation`, from a service; 0 for what is no replay.
    pub replay_generation: i64,
    /// What an audit entry calls this.
    pub action: &'static str,
    /// What an audit entry says it is done to.
    pub resource: String,
}

impl Call {
    /// A request of nobody yet, for nothing yet.
    pub fn anonymous(correlation_id: &str) -> Self {
        Self {
            actor: Actor {
                id: "anonymous".to_owned(),
                role: "none".to_owned(),
                via: None,
            },
            from_service: false,
            correlation_id: correlation_id.to_owned(),
            request_id: ids::make("req_"),
            endpoint: String::new(),
            method: "GET",
            path: String::new(),
            params: BTreeMap::new(),
            query: Vec::new(),
            body: Value::Object(serde_json::Map::new()),
            fence_header: None,
            key: None,
            causal_parent: None,
            replay_generation: 0,
            action: "",
            resource: String::new(),
        }
    }

    /// The value of a brace of the template; empty when the template has no such brace.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The first value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A query parameter as a number within bounds.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn query_number(
        &self,
        name: &str,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => {
                let (low, high) = (bounds.start(), bounds.end());
                let message = format!("{name}: expected a number from {low} to {high}");
                Err(Refusal::new(400, "OUT_OF_RANGE", message))
            }
        }
    }

    /// The body's fields.
    ///
    /// # Errors
    /// 422 when the body is not an object.
    pub fn fields(&self) -> Result<Fields<'_>, Refusal> {
        Fields::of(&self.body)
    }

    /// The fence, from the header or from `fence_token` in the body.
    ///
    /// # Errors
    /// 422 when the body's is not a whole number, or the two disagree.
    pub fn fence(&self) -> Result<Fence, Refusal> {
        let body = self.fields()?.optional_integer("fence_token")?;
        match (self.fence_header, body) {
            (Some(header), Some(body)) if header != body => Err(Refusal::schema(format!(
                "fence_token: {body} in the body, {header} in the header"
            ))),
            (header, body) => Ok(header.or(body)),
        }
    }

    /// Who and where from, for audit entries.
    pub fn origin(&self) -> Origin {
        Origin {
            actor_id: self.actor.id.clone(),
            actor_role: self.actor.role.clone(),
            via: self.actor.via.clone(),
            correlation_id: self.correlation_id.clone(),
            request_id: self.request_id.clone(),
            causal_parent: self.causal_parent.clone(),
            replay_generation: self.replay_generation,
            payload_sha256: canonical_sha256(&self.body),
        }
    }
}
