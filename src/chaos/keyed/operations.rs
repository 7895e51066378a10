//! One operation under one key as it is kept in evidence: what was asked, what was answered and
//! what the doubles saw of it. Nothing here says whether that was right.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::doubles::Call;
use crate::target::Exchange;

/// A keyed route of the contract that this gate drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `POST /v3/sessions`: the whole effect is in the database.
    Session,
    /// `POST /v3/turn`, one model call and as many safe tool calls as the operation has paths.
    Turn,
    /// `POST /v3/confirmations/{id}/approve`.
    Confirmation,
    /// `POST /v3/actions/{id}/approve`.
    Action,
    /// `POST /approve` of eva-os.
    Eva,
    /// `POST /execute` of openclaw with a safe tool.
    Execute,
}

impl Route {
    /// The service that holds the key.
    pub fn service(self) -> &'static str {
        match self {
            Self::Eva => "eva-os",
            Self::Execute => "openclaw",
            _ => "api-gateway",
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "POST /v3/sessions",
            Self::Turn => "POST /v3/turn",
            Self::Confirmation => "POST /v3/confirmations/{id}/approve",
            Self::Action => "POST /v3/actions/{id}/approve",
            Self::Eva => "POST /approve",
            Self::Execute => "POST /execute",
        }
    }

    /// The status of an execution that went well.
    pub fn success(self) -> u16 {
        if self == Self::Session { 201 } else { 200 }
    }

    /// The operation ids that a successful answer names, in the order of the tool calls; none
    /// where a tool call is not reported as executed.
    pub fn operation_ids(self, body: &Value) -> Vec<Option<String>> {
        let id = |of: &Value, done: &str| {
            (of["status"] == done)
                .then(|| of["operation_id"].as_str().map(str::to_owned))
                .flatten()
        };
        match self {
            Self::Session => Vec::new(),
            Self::Turn => match body["tool_calls"].as_array() {
                Some(calls) => calls.iter().map(|call| id(call, "executed")).collect(),
                None => Vec::new(),
            },
            Self::Execute => vec![id(body, "succeeded")],
            _ => vec![id(&body["execution"], "succeeded")],
        }
    }
}

/// What a request was, seen from its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The first with this key (in a run with an unwritable store: the refused one, too).
    First,
    /// The same request again.
    Repeat,
    /// Another request with the same key.
    Other,
}

/// One request and what came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// What it was.
    pub sort: Sort,
    /// Just before sending, on the clock of the run.
    pub invoked_us: u64,
    /// After the last byte of the answer; none without one.
    pub returned_us: Option<u64>,
    /// The status, 0 without an answer.
    pub status: u16,
    /// Whether `Idempotency-Replayed: true` came with it.
    pub replayed: bool,
    /// The `Retry-After` that came with it.
    pub retry_after: Option<String>,
    /// Which of [`Operation::bodies`] came back.
    pub body: Option<usize>,
    /// Why nothing did.
    pub error: Option<String>,
}

/// Everything asked under one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Where it went.
    pub route: Route,
    /// The idempotency key; a part of every path below and of a turn's text.
    pub key: String,
    /// The argument `path` of each tool call that is one effect of this operation.
    pub paths: Vec<String>,
    /// The requests, in the order in which they were answered.
    pub tries: Vec<Try>,
    /// The distinct bodies that came back.
    pub bodies: Vec<Value>,
}

impl Operation {
    /// Nothing asked yet.
    pub fn new(route: Route, key: &str, tool_calls: usize) -> Self {
        let paths = (1..=tool_calls)
            .map(|nth| format!("{key}/{nth}.txt"))
            .collect();
        Self {
            route,
            key: key.to_owned(),
            paths,
            tries: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Notes a request and its outcome.
    pub fn note(&mut self, sort: Sort, exchange: Exchange) {
        let mut entry = Try {
            sort,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            replayed: false,
            retry_after: None,
            body: None,
            error: exchange.error,
        };
        if let Some(answer) = exchange.answer {
            entry.replayed = answer
                .headers
                .get("idempotency-replayed")
                .is_some_and(|is| is == "true");
            entry.retry_after = answer.headers.get("retry-after").cloned();
            entry.body = Some(self.body_index(answer.body));
        }
        self.tries.push(entry);
    }

    /// Adds what was noted elsewhere about the same key.
    pub fn append(&mut self, more: Self) {
        for mut entry in more.tries {
            entry.body = entry
                .body
                .map(|index| self.body_index(more.bodies[index].clone()));
            self.tries.push(entry);
        }
    }

    fn body_index(&mut self, body: Value) -> usize {
        let known = self.bodies.iter().position(|one| *one == body);
        known.unwrap_or_else(|| {
            self.bodies.push(body);
            self.bodies.len() - 1
        })
    }

    /// The body of an answer, null without one.
    pub fn body(&self, of: &Try) -> &Value {
        of.body
            .and_then(|index| self.bodies.get(index))
            .unwrap_or(&Value::Null)
    }

    /// `error.code` of a refusal, or the empty string.
    pub fn code(&self, of: &Try) -> &str {
        self.body(of)["error"]["code"].as_str().unwrap_or_default()
    }

    /// `409 KEY_IN_PROGRESS`, `200 (replayed)`, `no answer (timed out)`: for messages.
    pub fn outcome(&self, of: &Try) -> String {
        if of.status == 0 {
            return format!("no answer ({})", of.error.as_deref().unwrap_or("no reason"));
        }
        let code = self.code(of);
        let replayed = if of.replayed { " (replayed)" } else { "" };
        let space = if code.is_empty() { "" } else { " " };
        format!("{}{space}{code}{replayed}", of.status)
    }

    /// Whether it is the answer of an execution that went well, new or stored.
    pub fn succeeded(&self, of: &Try) -> bool {
        let body = self.body(of);
        let ids = self.route.operation_ids(body);
        of.status == self.route.success()
            && body["ok"] == true
            && ids.len() == self.paths.len()
            && ids.iter().all(Option::is_some)
    }

    /// Whether it says that the first request still runs.
    pub fn in_progress(&self, of: &Try) -> bool {
        of.status == 409 && self.code(of) == "KEY_IN_PROGRESS"
    }

    /// `POST /v3/turn under crash0-r1-turn0`, for messages.
    pub fn line(&self) -> String {
        format!("{} under {}", self.route.name(), self.key)
    }
}

/// A call that a double got, without what no judge here needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When it arrived.
    pub at_us: u64,
    /// The `Idempotency-Key` it carried.
    pub key: Option<String>,
    /// Its body.
    pub body: Value,
    /// When it had its effect, or was found to have had it before.
    pub committed_us: Option<u64>,
    /// When the last byte of its answer was handed over.
    pub answered_us: Option<u64>,
}

impl From<Call> for Seen {
    fn from(call: Call) -> Self {
        let Call {
            at_us,
            key,
            body,
            committed_us,
            answered_us,
            ..
        } = call;
        Self {
            at_us,
            key,
            body,
            committed_us,
            answered_us,
        }
    }
}

/// What two doubles got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backends {
    /// The model's calls.
    pub models: Vec<Seen>,
    /// The tools' calls.
    pub tools: Vec<Seen>,
}

impl Backends {
    /// The calls to tools with this `path` among their arguments.
    pub fn tool(&self, path: &str) -> Vec<&Seen> {
        self.tools
            .iter()
            .filter(|call| call.body["args"]["path"] == path)
            .collect()
    }

    /// The calls to the model that this turn made: its text begins with a word and the key.
    pub fn model(&self, operation: &Operation) -> Vec<&Seen> {
        let ours = |call: &&Seen| {
            let text = call.body["input_text"].as_str().unwrap_or_default();
            text.split_whitespace().nth(1) == Some(operation.key.as_str())
        };
        self.models.iter().filter(ours).collect()
    }

    /// All calls of an operation, each list one intended effect.
    pub fn of(&self, operation: &Operation) -> Vec<Vec<&Seen>> {
        let mut lists: Vec<_> = operation.paths.iter().map(|path| self.tool(path)).collect();
        if operation.route == Route::Turn {
            lists.push(self.model(operation));
        }
        lists
    }
}

/// Distinct effects behind calls that should all be one: a double deduplicates by key, and a call
/// without a key is an effect of its own.
pub fn effects(calls: &[&Seen]) -> u64 {
    let mut keys = std::collections::BTreeSet::new();
    let mut count = 0;
    for call in calls.iter().filter(|call| call.committed_us.is_some()) {
        if call.key.as_ref().is_none_or(|key| keys.insert(key)) {
            count += 1;
        }
    }
    count
}
