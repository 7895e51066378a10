//! Tasks: mutations in versions, and a tombstone.
//!
//! | `f`      | `value` of the invocation                   | `value` of the `ok`                                |
//! |----------|---------------------------------------------|----------------------------------------------------|
//! | `create` | `{"id", "name", "metadata"?}`               | `{"status", "code"?, "task"}`                      |
//! | `update` | `{"id", "version", "name"?, "metadata"?}`   | likewise                                           |
//! | `delete`, `read`, `list` | `{"id"}`                    | likewise                                           |
//!
//! `task` is what the answer tells of this task, its own or the one in the details of a refusal:
//! `{"task_id", "version", "name", "metadata"}`, of a deletion `{"task_id", "version"}`, and `{}` of a
//! whole list without it. Other fields are not looked at.

use serde_json::{Value, json};

use super::{Model, OperationOf, answer, string, unknown_f};
use crate::base::json::canonical;
use crate::chaos::history::{Call, Malformed};
use crate::chaos::linear::Operation;
use crate::chaos::specs::task::{Call as Asked, Input, Output, Task as Told, Tasks};

/// Tasks by id.
#[derive(Debug, Default)]
pub struct Task;

const KNOWN: &str = "create, update, delete, read or list";
const SHAPE: &str = "an object with id, and what is wanted: name, metadata, version";

/// Metadata in one text form: equal if and only if the values are.
#[must_use]
pub fn metadata_text(metadata: &Value) -> String {
    String::from_utf8_lossy(&canonical(metadata)).into_owned()
}

/// A task as an object tells it; none when that is not the task of this id, whole.
#[must_use]
pub fn task(told: &Value, id: &str) -> Option<Told> {
    let metadata = told.get("metadata").filter(|value| value.is_object())?;
    Some(Told {
        version: told["version"].as_u64().filter(|_| told["task_id"] == id)?,
        name: told["name"].as_str()?.to_owned(),
        metadata: metadata_text(metadata),
    })
}

/// What the specification calls an answer to this verb; none for one that the contract does not have.
#[must_use]
pub fn output(verb: &str, (status, code): (u16, &str), told: &Value, id: &str) -> Option<Output> {
    let ours = || told["version"].as_u64().filter(|_| told["task_id"] == id);
    match (verb, status, code) {
        ("create", 201, "") => task(told, id).map(Output::Created),
        ("create", 409, "TASK_EXISTS") => task(told, id).map(Output::Exists),
        ("create", 409, "TASK_GONE") => ours().map(|version| Output::Gone { version }),
        ("update", 200, "") => task(told, id).map(Output::Updated),
        ("update", 409, "VERSION_CONFLICT") => task(told, id).map(Output::Stale),
        ("delete", 200, "") => ours().map(|version| Output::Deleted { version }),
        ("update" | "delete" | "read", 404, "TASK_NOT_FOUND") => Some(Output::NotFound),
        ("read", 200, "") => task(told, id).map(Output::Found),
        ("list", 200, "") if *told == json!({}) => Some(Output::NotFound),
        ("list", 200, "") => task(told, id).map(Output::Found),
        _ => None,
    }
}

fn asked(call: &Call) -> Result<Asked, Malformed> {
    let invoke = &call.invoke;
    let value = &invoke.event.value;
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    let metadata = value.get("metadata").filter(|value| !value.is_null());
    let metadata = metadata.map(metadata_text);
    Ok(match invoke.event.f.as_str() {
        "create" => Asked::Create {
            name: string(invoke, "name", SHAPE)?,
            metadata: metadata.unwrap_or_else(|| metadata_text(&json!({}))),
        },
        "update" => Asked::Update {
            version: value["version"]
                .as_u64()
                .ok_or_else(|| Malformed::new(invoke.line, format!("the value {value}"), SHAPE))?,
            name: text("name"),
            metadata,
        },
        "delete" => Asked::Delete,
        "read" | "list" => Asked::Read,
        _ => return Err(unknown_f(call, KNOWN)),
    })
}

impl Model for Task {
    type Spec = Tasks;

    fn take(&mut self, call: &Call, into: &mut Vec<OperationOf<Self>>) -> Result<(), Malformed> {
        let invoke = &call.invoke;
        let id = string(invoke, "id", SHAPE)?;
        let asked = asked(call)?;
        let mut answered = None;
        if let Some(end) = call.answer() {
            let told = &end.event.value["task"];
            let output = output(&invoke.event.f, answer(end)?, told, &id);
            answered = output.map(|output| (end.at, output));
        }
        into.push(Operation {
            input: Input { id, call: asked },
            invoked: invoke.at,
            answered,
        });
        Ok(())
    }

    fn spec(&self) -> Tasks {
        Tasks
    }

    fn words(&self, operation: &OperationOf<Self>) -> String {
        let asked = match &operation.input.call {
            Asked::Create { name, .. } => format!("create {name:?}"),
            Asked::Update { version, name, .. } => match name {
                Some(name) => format!("update {version} to {name:?}"),
                None => format!("update {version}"),
            },
            Asked::Delete => "delete".to_owned(),
            Asked::Read => "read".to_owned(),
            Asked::Stored => "stored".to_owned(),
        };
        let of = |task: &Told| format!("{} {:?}", task.version, task.name);
        let told = match operation.output() {
            None => "?".to_owned(),
            Some(Output::Created(task) | Output::Updated(task) | Output::Found(task)) => of(task),
            Some(Output::Deleted { version }) => version.to_string(),
            Some(Output::NotFound) => "not found".to_owned(),
            Some(Output::Exists(task)) => format!("exists as {}", of(task)),
            Some(Output::Gone { version }) => format!("gone since {version}"),
            Some(Output::Stale(task)) => format!("stale, it is {}", of(task)),
        };
        format!("{asked} → {told}")
    }
}
