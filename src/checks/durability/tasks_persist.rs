//! Gate tasks-persist: the list of tasks after a KILL is exactly the list before it.
//!
//! Five tasks are created, one of them is changed and one deleted; the list and every single task
//! are read, the target is killed, and they are read again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// Tasks that are created.
const TASKS: usize = 5;
/// The one that is changed.
const CHANGED: usize = 1;
/// The one that is deleted.
const DELETED: usize = 3;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The tasks, as they were created.
    pub created: Vec<Sent>,
    /// The change of one.
    pub changed: Option<Sent>,
    /// The deletion of one.
    pub deleted: Option<Sent>,
    /// List and single tasks before the KILL.
    pub before: Option<Look>,
    /// The same after it.
    pub after: Option<Look>,
    /// `/status` of eva-os after it.
    pub status: Option<Sent>,
    /// KILLs between the looks.
    pub kills: u64,
}

/// All there is to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Look {
    /// The list.
    pub list: Sent,
    /// Every task that was ever created, one by one.
    pub each: Vec<Sent>,
}

impl Look {
    fn tasks(&self) -> Option<&Vec<Value>> {
        self.list.answer["tasks"]
            .as_array()
            .filter(|_| self.list.ok())
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let created: Vec<&Sent> = seen.created.iter().filter(|sent| sent.ok()).collect();
    let done = |sent: &Option<Sent>| u64::from(sent.as_ref().is_some_and(Sent::ok));
    let ids: BTreeSet<&str> = created
        .iter()
        .filter_map(|sent| sent.answer["task_id"].as_str())
        .collect();
    judgement.expect(ids.len() == created.len(), || {
        format!(
            "ids of created tasks: got {ids:?}, expected {}",
            created.len()
        )
    });
    judgement.exercised("created", ids.len() as u64);
    judgement.exercised("updated", done(&seen.changed));
    judgement.exercised("deleted", done(&seen.deleted));
    judgement.exercised("kills", seen.kills);
    let expected = expected(seen);
    for (look, when) in [(&seen.before, "before"), (&seen.after, "after")] {
        let Some((look, tasks)) = look.as_ref().and_then(|look| Some((look, look.tasks()?))) else {
            judgement.undecided(format!("the tasks {when} the KILL could not be listed"));
            continue;
        };
        compare(tasks, &expected, when, &mut judgement);
        compare_each(look, &expected, when, &mut judgement);
    }
    let stages = seen.status.as_ref().map(|sent| &sent.answer["restore"]);
    let stages = stages.and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<&Value> = stages
        .filter(|stage| stage["stage"] == "tasks")
        .map(|stage| &stage["rows"])
        .collect();
    judgement.expect(rows == [&json!(expected.len())], || {
        format!(
            "the restore of tasks: got rows {rows:?}, expected [{}]",
            expected.len()
        )
    });
    judgement.detail = format!(
        "{} of {} tasks came back as they were over {} KILL, {} changed and {} deleted before",
        expected.len(),
        created.len(),
        seen.kills,
        done(&seen.changed),
        done(&seen.deleted)
    );
    judgement
}

/// The tasks that should be there, as the last acknowledgement of each said.
fn expected(seen: &Evidence) -> Vec<Value> {
    let gone = seen.deleted.as_ref().filter(|sent| sent.ok());
    let gone = gone.map(|sent| &sent.answer["task_id"]);
    let newest = |sent: &Sent| {
        let id = &sent.answer["task_id"];
        let changed = seen.changed.as_ref().filter(|sent| sent.ok());
        let changed = changed.filter(|changed| changed.answer["task_id"] == *id);
        bare(&changed.unwrap_or(sent).answer)
    };
    let there = seen.created.iter().filter(|sent| sent.ok());
    there
        .map(newest)
        .filter(|task| Some(&task["task_id"]) != gone)
        .collect()
}

/// A task without what belongs to the answer around it.
fn bare(answer: &Value) -> Value {
    let mut task = answer.clone();
    if let Some(fields) = task.as_object_mut() {
        fields.remove("ok");
        fields.remove("correlation_id");
    }
    task
}

fn compare(got: &[Value], expected: &[Value], when: &str, judgement: &mut Judgement) {
    for task in expected.iter().filter(|task| !got.contains(task)) {
        let id = &task["task_id"];
        let other = got.iter().find(|other| other["task_id"] == *id);
        let other = other.map_or("no such task".to_owned(), Value::to_string);
        violation!(
            judgement,
            "listed {when} the KILL, {id}: got {other}, expected {task}"
        );
    }
    for task in got
        .iter()
        .filter(|task| !expected.iter().any(|one| one["task_id"] == task["task_id"]))
    {
        violation!(
            judgement,
            "listed {when} the KILL: got {task}, expected no such task"
        );
    }
    let order = |tasks: &[Value]| -> Vec<Value> {
        tasks.iter().map(|task| task["task_id"].clone()).collect()
    };
    judgement.expect(
        got.len() != expected.len() || order(got) == order(expected),
        || {
            format!(
                "the order {when} the KILL: got {:?}, expected {:?}",
                order(got),
                order(expected)
            )
        },
    );
}

fn compare_each(look: &Look, expected: &[Value], when: &str, judgement: &mut Judgement) {
    for sent in look.each.iter().filter(|sent| sent.answered()) {
        let id = sent.path.trim_start_matches("/tasks/");
        match expected.iter().find(|task| task["task_id"] == id) {
            Some(task) => judgement.expect(sent.ok() && bare(&sent.answer) == *task, || {
                format!(
                    "{when} the KILL {}: got {}, expected {task}",
                    sent.line(),
                    sent.answer
                )
            }),
            None => judgement.expect(sent.status == 404, || {
                format!(
                    "{when} the KILL {}: got {}, expected 404",
                    sent.line(),
                    sent.status
                )
            }),
        }
    }
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    for number in 0..TASKS {
        let body = json!({"name": format!("task {number}"), "metadata": {"number": number, "list": [null, "ü"]}});
        seen.created
            .push(send(&client, Ask::post("eva-os", "/tasks", body)).await);
    }
    let change = json!({"version": 1, "name": "changed", "metadata": {"changed": true}});
    let mut ask = Ask::post("eva-os", &path(&seen.created[CHANGED]), change);
    ask.method = "PATCH".to_owned();
    seen.changed = Some(send(&client, ask).await);
    let ask = Ask::delete("eva-os", &path(&seen.created[DELETED]));
    seen.deleted = Some(send(&client, ask).await);
    seen.before = Some(look(&client, &seen.created).await);
    instance.kill().await?;
    instance.start_again().await?;
    seen.kills += 1;
    seen.after = Some(look(&client, &seen.created).await);
    seen.status = Some(send(&client, Ask::get("eva-os", "/status")).await);
    Ok(())
}

async fn look(client: &Client, created: &[Sent]) -> Look {
    let list = send(client, Ask::get("eva-os", "/tasks")).await;
    let mut each = Vec::new();
    for task in created {
        each.push(send(client, Ask::get("eva-os", &path(task))).await);
    }
    Look { list, each }
}

fn path(created: &Sent) -> String {
    format!(
        "/tasks/{}",
        created.answer["task_id"].as_str().unwrap_or("tsk_none")
    )
}

async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
#[path = "tasks_persist_tests.rs"]
mod tests;
