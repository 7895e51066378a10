//! One request about a task and what came of it, and its translation into the words of the
//! specification.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::chaos::linear::Operation;
use crate::chaos::models::task::{self, metadata_text};
use crate::chaos::specs::task::{Call, Input, Output};
use crate::target::{Ask, Exchange};

/// The service that keeps tasks.
pub(super) const SERVICE: &str = "eva-os";
/// What of an answer is kept: the rest says when, and nothing here asks for that.
const TOLD: [&str; 4] = ["task_id", "version", "name", "metadata"];

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// `POST /tasks` with an id.
    Create,
    /// `PATCH /tasks/{id}`.
    Update,
    /// `DELETE /tasks/{id}`.
    Delete,
    /// `GET /tasks/{id}`.
    Read,
    /// `GET /tasks`, of which only the row of this task is kept.
    List,
}

impl Verb {
    /// As a history has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::List => "list",
        }
    }

    /// Whether it would change something.
    #[must_use]
    pub fn mutates(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete)
    }

    /// The status and code of every answer that the contract has for it.
    fn answers(self) -> &'static [(u16, &'static str)] {
        match self {
            Self::Create => &[(201, ""), (409, "TASK_EXISTS"), (409, "TASK_GONE")],
            Self::Update => &[
                (200, ""),
                (409, "VERSION_CONFLICT"),
                (404, "TASK_NOT_FOUND"),
            ],
            Self::Delete | Self::Read => &[(200, ""), (404, "TASK_NOT_FOUND")],
            Self::List => &[(200, "")],
        }
    }
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// What is wanted.
    pub verb: Verb,
    /// The version, of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The name, of a create and of most updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The metadata, of some creates and updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

impl Wanted {
    /// A request with nothing but its path.
    #[must_use]
    pub fn bare(verb: Verb) -> Self {
        Self {
            verb,
            version: None,
            name: None,
            metadata: None,
        }
    }

    /// The request.
    #[must_use]
    pub fn ask(&self, id: &str) -> Ask {
        let one = format!("/tasks/{id}");
        match self.verb {
            Verb::Create => Ask::post(SERVICE, "/tasks", self.body(json!({"task_id": id}))),
            Verb::Update => Ask {
                body: Some(self.body(json!({"version": self.version}))),
                ..Ask::new(SERVICE, "PATCH", &one)
            },
            Verb::Delete => Ask::delete(SERVICE, &one),
            Verb::Read => Ask::get(SERVICE, &one),
            Verb::List => Ask::get(SERVICE, "/tasks"),
        }
    }

    fn body(&self, mut body: Value) -> Value {
        if let Some(name) = &self.name {
            body["name"] = name.as_str().into();
        }
        if let Some(metadata) = &self.metadata {
            body["metadata"] = metadata.clone();
        }
        body
    }

    fn call(&self) -> Call {
        let metadata = self.metadata.as_ref().map(metadata_text);
        match self.verb {
            Verb::Create => Call::Create {
                name: self.name.clone().unwrap_or_default(),
                metadata: metadata.unwrap_or_else(|| metadata_text(&json!({}))),
            },
            Verb::Update => Call::Update {
                version: self.version.unwrap_or_default(),
                name: self.name.clone(),
                metadata,
            },
            Verb::Delete => Call::Delete,
            Verb::Read | Verb::List => Call::Read,
        }
    }
}

/// A request and what was said to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asked: a racer has one request under way at a time.
    pub racer: usize,
    /// What was sent.
    pub wanted: Wanted,
    /// Just before it was sent.
    pub invoked_us: u64,
    /// When the answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// Its status; 0 without an answer.
    pub status: u16,
    /// `error.code`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What it tells of a task: its own, or the one in the details of a refusal.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub told: Value,
}

impl Asked {
    /// The row of an exchange about the task of this id.
    #[must_use]
    pub fn new(racer: usize, wanted: Wanted, id: &str, exchange: &Exchange) -> Self {
        let answer = exchange.answered();
        let details = &answer["error"]["details"];
        let told = match (exchange.ok(), wanted.verb) {
            (true, Verb::List) => row_of(answer, id),
            (true, _) => answer,
            (false, _) if details["current"].is_object() => &details["current"],
            (false, _) => details,
        };
        Self {
            racer,
            wanted,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange.code().to_owned(),
            told: excerpt(told),
        }
    }

    /// What the specification calls this answer; none for one that the contract does not have.
    #[must_use]
    pub fn output(&self, id: &str) -> Option<Output> {
        let answer = (self.status, &*self.code);
        task::output(self.wanted.verb.word(), answer, &self.told, id)
    }

    /// What of this answer is not as the contract has it, if anything is.
    #[must_use]
    pub fn flaw(&self, id: &str) -> Option<String> {
        if self.returned_us.is_none() || self.output(id).is_some() {
            return None;
        }
        let expected = self.wanted.verb.answers();
        if expected.contains(&(self.status, &*self.code)) {
            let told = &self.told;
            return Some(format!("{self}: tells {told}, expected the task {id}"));
        }
        let words = |(status, code): &(u16, &str)| format!("{status} {code}").trim_end().to_owned();
        let expected: Vec<String> = expected.iter().map(words).collect();
        Some(format!("{self}, expected {}", expected.join(" or ")))
    }

    /// When it was under way, if it was answered: only then it surely reached the target.
    #[must_use]
    pub fn interval(&self) -> Option<(u64, u64)> {
        Some((self.invoked_us, self.returned_us?))
    }

    /// What the checker is told. An answer without a word, and none at all, leave it open.
    #[must_use]
    pub fn operation(&self, id: &str) -> Operation<Input, Output> {
        Operation {
            input: Input {
                id: id.to_owned(),
                call: self.wanted.call(),
            },
            invoked: self.invoked_us,
            answered: self.returned_us.zip(self.output(id)),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted { verb, version, .. } = &self.wanted;
        write!(f, "{} by racer {}", verb.word(), self.racer)?;
        if let Some(version) = version {
            write!(f, " at version {version}")?;
        }
        match self.returned_us {
            None => f.write_str(" got no answer"),
            Some(_) => {
                let answer = format!("{} {}", self.status, self.code);
                write!(f, " got {}", answer.trim_end())?;
                match self.told["version"].as_u64() {
                    Some(version) => write!(f, " (version {version})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The fields of an object that are kept.
pub(super) fn excerpt(told: &Value) -> Value {
    let Value::Object(fields) = told else {
        return Value::Null;
    };
    let kept = TOLD.iter().filter_map(|name| {
        let value = fields.get(*name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    Value::Object(kept.collect::<Map<_, _>>())
}

/// The row of a list that is about this task; an empty object when the whole list has none.
fn row_of<'a>(list: &'a Value, id: &str) -> &'a Value {
    static NONE: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
    let Some(rows) = list["tasks"].as_array() else {
        return &Value::Null;
    };
    match rows.iter().find(|row| row["task_id"] == id) {
        Some(row) => row,
        // A page with a next one says nothing of what is not on it.
        None if list["next"].is_null() => &NONE,
        None => &Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::specs::task::Task;

    const ID: &str = "tsk_0a1b2c3d4e5f";

    /// The answer of a sample of the contract, as the row of what was asked.
    fn row(verb: Verb, sample: &str) -> Asked {
        let file = format!(
            "{}/fixtures/contract/samples/{sample}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let sample: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let exchange = json!({
            "service": SERVICE, "method": "POST", "path": "/", "correlation_id": "c",
            "headers": {}, "body": null, "invoked_us": 5, "returned_us": 9, "error": null,
            "answer": {
                "status": sample["answer"]["status"], "headers": {},
                "body": sample["answer"]["body"],
            },
        });
        let exchange = serde_json::from_value(exchange).unwrap();
        let asked = Asked::new(3, Wanted::bare(verb), ID, &exchange);
        let stored = serde_json::to_value(&asked).unwrap();
        assert_eq!(serde_json::from_value::<Asked>(stored).unwrap(), asked);
        asked
    }

    fn plants(version: u64, name: &str) -> Task {
        Task {
            version,
            name: name.into(),
            metadata: "{\"room\":\"kitchen\"}".into(),
        }
    }

    #[test]
    fn the_contracts_answers_have_words_in_the_specification() {
        let first = plants(1, "water the plants");
        let second = plants(2, "water all plants");
        for (verb, sample, output) in [
            (Verb::Create, "task-create", Output::Created(first.clone())),
            (Verb::Create, "task-exists", Output::Exists(first.clone())),
            (Verb::Create, "task-gone", Output::Gone { version: 3 }),
            (Verb::Update, "task-update", Output::Updated(second.clone())),
            (Verb::Update, "task-version-conflict", Output::Stale(second)),
            (Verb::Update, "task-unknown", Output::NotFound),
            (Verb::Delete, "task-delete", Output::Deleted { version: 3 }),
            (Verb::Delete, "task-unknown", Output::NotFound),
            (Verb::Read, "task-get", Output::Found(first.clone())),
            (Verb::Read, "task-unknown", Output::NotFound),
        ] {
            let asked = row(verb, sample);
            assert_eq!(asked.output(ID), Some(output), "{sample}");
            assert_eq!(asked.flaw(ID), None, "{sample}");
        }
        // A list that goes on elsewhere tells of its own rows alone.
        assert_eq!(
            row(Verb::List, "tasks-list").output(ID),
            Some(Output::Found(first))
        );
        assert_eq!(row(Verb::List, "tasks-list").output("tsk_1"), None);
    }

    #[test]
    fn an_answer_that_the_contract_does_not_have_is_a_flaw() {
        let wrong = row(Verb::Delete, "task-gone").flaw(ID).unwrap();
        let words = "delete by racer 3 got 409 TASK_GONE (version 3), \
                     expected 200 or 404 TASK_NOT_FOUND";
        assert_eq!(wrong, words);
        let another = row(Verb::Read, "task-get").flaw("tsk_1").unwrap();
        assert!(another.contains("expected the task tsk_1"), "{another}");
        let mut bare = row(Verb::Update, "task-version-conflict");
        bare.told = json!({});
        assert!(bare.flaw(ID).unwrap().contains("tells {}"));
        bare.returned_us = None;
        assert_eq!(bare.flaw(ID), None, "no answer says nothing wrong");
        assert_eq!(bare.operation(ID).answered, None);
    }

    #[test]
    fn requests_are_the_contracts() {
        let update = Wanted {
            verb: Verb::Update,
            version: Some(1),
            name: Some("water all plants".into()),
            metadata: None,
        };
        let file = include_str!("../../../fixtures/contract/samples/task-update.json");
        let sample: Value = serde_json::from_str(file).unwrap();
        let ask = update.ask(ID);
        assert_eq!(
            (&*ask.method, &*ask.path),
            ("PATCH", sample["path"].as_str().unwrap())
        );
        assert_eq!(ask.body.unwrap(), sample["request"]["body"]);
        let create = Wanted {
            verb: Verb::Create,
            version: None,
            name: Some("water the plants".into()),
            metadata: Some(json!({"room": "kitchen"})),
        };
        let file = include_str!("../../../fixtures/contract/samples/task-create.json");
        let sample: Value = serde_json::from_str(file).unwrap();
        assert_eq!(create.ask(ID).body.unwrap(), sample["request"]["body"]);
    }
}
