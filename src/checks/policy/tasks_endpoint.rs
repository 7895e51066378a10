//! Gate tasks-endpoint: tasks are stored. What was created is listed and read back, what was
//! deleted is gone, and a bad body is refused and leaves nothing.
//!
//! A hundred tasks are created, read one by one and listed page by page; some are deleted, and all
//! is read again.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Tasks that are deleted: every so manieth.
const DELETED_EVERY: usize = 10;
/// Tasks on a page of the list.
const PAGE: usize = 30;
/// Pages that are read at most: a list that never ends is no list.
const MOST_PAGES: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The tasks, as they were created.
    pub created: Vec<Sent>,
    /// Each of them, read back.
    pub read: Vec<Sent>,
    /// Requests whose body is no task.
    pub bad: Vec<Sent>,
    /// All pages of the list, before anything is deleted.
    pub full: Vec<Sent>,
    /// The deletions.
    pub deleted: Vec<Sent>,
    /// Each deleted one, read and deleted once more.
    pub gone: Vec<Sent>,
    /// All pages of the list at the end.
    pub rest: Vec<Sent>,
    /// A task that was never created.
    pub unknown: Option<Sent>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let mut tasks: BTreeMap<&str, &Sent> = BTreeMap::new();
    for sent in seen.created.iter().filter(|sent| sent.ok()) {
        match sent.answer["task_id"].as_str() {
            Some(id) if tasks.insert(id, sent).is_none() => {}
            Some(id) => violation!(judgement, "the id {id}: got 2 tasks, expected 1"),
            None => violation!(judgement, "{}: got no task_id, expected one", sent.line()),
        }
    }
    judgement.exercised("created", tasks.len() as u64);
    for sent in &seen.read {
        let id = sent.path.trim_start_matches("/tasks/");
        let Some(created) = tasks.get(id) else {
            continue;
        };
        same_task(created, &sent.answer, &sent.line(), &mut judgement);
    }
    listed(&seen.full, &tasks, "before the deletions", &mut judgement);
    judgement.exercised("deleted", 0);
    for sent in seen.deleted.iter().filter(|sent| sent.ok()) {
        judgement.exercised("deleted", 1);
        tasks.remove(sent.path.trim_start_matches("/tasks/"));
    }
    let gone = seen
        .gone
        .iter()
        .chain(&seen.unknown)
        .filter(|sent| sent.answered());
    for sent in gone {
        judgement.expect(sent.status == 404, || {
            format!("{}: got {}, expected 404", sent.line(), sent.status)
        });
    }
    listed(&seen.rest, &tasks, "after the deletions", &mut judgement);
    judgement.exercised("refused_bodies", 0);
    for sent in seen.bad.iter().filter(|sent| sent.answered()) {
        judgement.exercised("refused_bodies", 1);
        // Not JSON at all is 400; JSON that is no task may be 422 as well.
        let refused = matches!(sent.status, 400 | 422);
        judgement.expect(refused, || {
            format!(
                "{} with {}: got {}, expected 400",
                sent.line(),
                body(sent),
                sent.status
            )
        });
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} tasks created, read back and listed; {} deleted and gone, {} left; {} bad bodies refused",
        count("created"),
        count("deleted"),
        tasks.len(),
        count("refused_bodies")
    );
    judgement
}

fn body(sent: &Sent) -> String {
    sent.body
        .as_ref()
        .map_or("no body".to_owned(), Value::to_string)
}

/// A task is what its creation said and what its creator sent.
fn same_task(created: &Sent, got: &Value, line: &str, judgement: &mut Judgement) {
    let sent = created.body.as_ref().unwrap_or(&Value::Null);
    for (field, expected) in [
        ("task_id", &created.answer["task_id"]),
        ("version", &created.answer["version"]),
        ("name", &sent["name"]),
        ("metadata", &sent["metadata"]),
    ] {
        let got = &got[field];
        judgement.expect(got == expected, || {
            format!("{line}: got {field} {got}, expected {expected}")
        });
    }
}

fn listed(pages: &[Sent], tasks: &BTreeMap<&str, &Sent>, when: &str, judgement: &mut Judgement) {
    let complete = pages
        .last()
        .is_some_and(|last| last.ok() && last.answer["next"].is_null());
    if !complete || pages.iter().any(|page| !page.ok()) {
        judgement.undecided(format!("the list {when} could not be read to its end"));
        return;
    }
    let rows = pages
        .iter()
        .filter_map(|page| page.answer["tasks"].as_array())
        .flatten();
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        let id = row["task_id"].as_str().unwrap_or_default();
        *found.entry(id).or_default() += 1;
        match tasks.get(id) {
            Some(created) => same_task(created, row, &format!("the list {when}, {id}"), judgement),
            None => violation!(
                judgement,
                "the list {when}: got {row}, expected no such task"
            ),
        }
    }
    for id in tasks.keys() {
        let got = found.get(id).copied().unwrap_or_default();
        judgement.expect(got == 1, || {
            format!("the list {when}, {id}: got {got} rows, expected 1")
        });
    }
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let wanted = cx.minimum.get("created").copied().unwrap_or_default() as usize;
    let instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    let create = |number| {
        let body = json!({"name": format!("task {number}"), "metadata": {"number": number}});
        Ask::post("eva-os", "/tasks", body)
    };
    seen.created = all(&client, (0..wanted).map(create)).await;
    let paths: Vec<String> = seen.created.iter().filter_map(path).collect();
    seen.read = all(&client, paths.iter().map(|path| Ask::get("eva-os", path))).await;
    let bad = [json!({}), json!({"name": 7}), json!([1]), json!("x")];
    seen.bad = all(
        &client,
        bad.into_iter()
            .map(|body| Ask::post("eva-os", "/tasks", body)),
    )
    .await;
    seen.full = pages(&client).await;
    let chosen: Vec<&String> = paths.iter().step_by(DELETED_EVERY).collect();
    let delete = |path: &&String| Ask::delete("eva-os", path);
    seen.deleted = all(&client, chosen.iter().map(delete)).await;
    seen.gone = all(&client, chosen.iter().map(|path| Ask::get("eva-os", path))).await;
    seen.gone
        .extend(all(&client, chosen.iter().map(delete)).await);
    seen.rest = pages(&client).await;
    seen.unknown = all(&client, [Ask::get("eva-os", "/tasks/tsk_000000000000")])
        .await
        .pop();
    Ok(())
}

fn path(created: &Sent) -> Option<String> {
    Some(format!("/tasks/{}", created.answer["task_id"].as_str()?))
}

async fn all(client: &Client, asks: impl IntoIterator<Item = Ask>) -> Vec<Sent> {
    let mut requests = Vec::new();
    for ask in asks {
        let client = client.clone();
        requests.push(async move { Sent::new(&client.send(ask).await, client.credential()) });
    }
    stream::iter(requests).buffered(AT_ONCE).collect().await
}

async fn pages(client: &Client) -> Vec<Sent> {
    let mut pages = Vec::new();
    let mut after = 0;
    while pages.len() < MOST_PAGES {
        let path = format!("/tasks?after={after}&limit={PAGE}");
        let page = all(client, [Ask::get("eva-os", &path)]).await;
        let next = page.first().and_then(|page| page.answer["next"].as_i64());
        pages.extend(page);
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    pages
}

#[cfg(test)]
#[path = "tasks_endpoint_tests.rs"]
mod tests;
