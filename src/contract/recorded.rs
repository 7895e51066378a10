//! Requests as a v4.6 client made them, each with the answer that it got: samples of the contract, in
//! an order in which each finds what it is about.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A request of a v4.6 client, and its answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    request: Request,
    /// What was answered.
    pub answer: Answer,
}

#[derive(Clone, Debug, Deserialize)]
struct Request {
    body: Value,
}

/// An answer as it was recorded.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Value,
}

/// The samples by name, in the order in which they are made again. Some are made twice: what they
/// made is used up in between.
macro_rules! recorded {
    ($($name:literal),+ $(,)?) => {
        &[$((
            $name,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/fixtures/contract/samples/",
                $name,
                ".json"
            )),
        )),+]
    };
}

const SAMPLES: &[(&str, &str)] = recorded![
    "healthz",
    "version",
    "status",
    "unauthenticated",
    "session-create",
    "session-get",
    "deprecated-twin",
    "schema",
    "turn",
    "confirmations-pending",
    "confirmation-approve",
    "turn",
    "confirmation-deny",
    "action-plan",
    "action-get",
    "actions-list",
    "gate-tool-call",
    "approvals",
    "eva-approve",
    "gate-tool-call",
    "eva-deny",
    "gate-tool-call-safe",
    "task-create",
    "task-get",
    "task-update",
    "task-delete",
    "task-unknown",
    "memory-store",
    "memory-recall",
    "vision-frame",
    "execute",
    "execute-unknown",
    "user-create",
    "user-rotate-key",
    "user-delete",
    "user-unknown-role",
    "user-unknown",
    "providers",
    "select",
    "chat",
    "session-unknown",
    "session-delete",
];

static RECORDED: LazyLock<Vec<(&'static str, Recorded)>> = LazyLock::new(|| {
    let read = |(name, text): &(&'static str, &str)| {
        let recorded = serde_json::from_str(text).expect("samples are tested to be readable");
        (*name, recorded)
    };
    SAMPLES.iter().map(read).collect()
});

/// Every recorded request by its name, in order.
#[must_use]
pub fn recorded() -> &'static [(&'static str, Recorded)] {
    &RECORDED
}

/// The recorded request of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Recorded> {
    let found = recorded().iter().find(|(other, _)| *other == name);
    found.map(|(_, recorded)| recorded)
}

/// What the ids of the recorded answers are today.
#[derive(Clone, Debug, Default)]
pub struct Today(BTreeMap<String, String>);

impl Today {
    /// Learns what the ids of a recorded answer are today.
    pub fn learn(&mut self, recorded: &Value, answer: &Value) {
        match (recorded, answer) {
            (Value::String(then), Value::String(now)) if is_id(then) => {
                self.0.insert(then.clone(), now.clone());
            }
            (Value::Array(then), Value::Array(now)) => {
                for (then, now) in then.iter().zip(now) {
                    self.learn(then, now);
                }
            }
            (Value::Object(then), Value::Object(now)) => {
                for (name, then) in then {
                    self.learn(then, now.get(name).unwrap_or(&Value::Null));
                }
            }
            _ => {}
        }
    }

    /// The path of a recorded request, today.
    #[must_use]
    pub fn path(&self, recorded: &Recorded) -> String {
        self.text(&recorded.path)
    }

    /// The body of a recorded request, today; a v4.6 client knew no fence.
    #[must_use]
    pub fn body(&self, recorded: &Recorded) -> Option<Value> {
        let mut body = recorded.request.body.clone();
        if let Value::Object(fields) = &mut body {
            fields.remove("fence_token");
        }
        (!body.is_null()).then(|| self.value(&body))
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let each = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.value(value)));
                Value::Object(each.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        let ids = self.0.iter();
        ids.fold(text.to_owned(), |text, (then, now)| text.replace(then, now))
    }
}

/// `ses_6b1f0c7e21aa`: three letters and twelve hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.split_once('_').is_some_and(|(kind, digits)| {
        kind.len() == 3 && digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The places where an answer lacks what a v4.6 client read there: a field that is missing, or is of
/// another type. More fields are no difference, and a recorded null says nothing.
#[must_use]
pub fn lacking(recorded: &Value, answer: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", recorded, answer, &mut found);
    found
}

fn compare(at: &str, recorded: &Value, answer: &Value, found: &mut Vec<String>) {
    match (recorded, answer) {
        (Value::Null, _) => {}
        (Value::Object(then), Value::Object(now)) => {
            for (name, then) in then {
                let at = format!("{at}/{name}");
                match now.get(name) {
                    Some(now) => compare(&at, then, now, found),
                    None => found.push(format!("{at} is missing")),
                }
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            if now.len() < then.len().min(1) {
                found.push(format!("{at} is empty"));
            }
            for (n, (then, now)) in then.iter().zip(now).enumerate() {
                compare(&format!("{at}/{n}"), then, now, found);
            }
        }
        (then, now) if kind(then) != kind(now) => {
            found.push(format!("{at} is {}, was {}", kind(now), kind(then)));
        }
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_recorded_request_is_read_and_none_knows_a_fence() {
        assert!(recorded().len() >= 40);
        for (name, one) in recorded() {
            let body = Today::default().body(one).unwrap_or_default();
            assert!(body.get("fence_token").is_none(), "{name}");
        }
        assert_eq!(named("session-create").unwrap().answer.status, 201);
        assert!(named("nobody").is_none());
    }

    #[test]
    fn ids_of_recorded_answers_are_those_of_today() {
        let mut today = Today::default();
        let create = &named("session-create").unwrap().answer.body;
        let id = create["session_id"].as_str().unwrap();
        today.learn(create, &json!({"session_id": "s-1"}));
        let get = named("session-get").unwrap();
        assert!(get.path.contains(id));
        assert_eq!(today.path(get), "/v3/sessions/s-1");
        let turn = today.body(named("turn").unwrap()).unwrap();
        assert_eq!(turn["session_id"], "s-1");
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_lacking_and_what_is_more_is_not() {
        let then = json!({"id": "a", "list": [{"n": 1}], "free": null});
        let same = json!({"id": "b", "list": [{"n": 2}, 7], "free": {"x": 1}, "more": true});
        assert_eq!(lacking(&then, &same), [""; 0]);
        for (now, expected) in [
            (json!({"free": 1, "list": [{"n": 1}]}), "/id is missing"),
            (
                json!({"free": 1, "id": 7, "list": [{"n": 1}]}),
                "/id is a number, was a text",
            ),
            (json!({"free": 1, "id": "a", "list": []}), "/list is empty"),
            (
                json!({"free": 1, "id": "a", "list": [{}]}),
                "/list/0/n is missing",
            ),
            (json!(null), " is null, was an object"),
        ] {
            assert_eq!(lacking(&then, &now), [expected]);
        }
    }
}
