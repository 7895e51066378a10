use serde_json::{Value, json};

use super::{Evidence, Sent, judge};
use crate::checks::by_hand;

fn sent(path: &str, status: u16, body: Value, answer: Value) -> Sent {
    serde_json::from_value(json!({
        "service": "eva-os", "method": "GET", "path": path, "actor": "op-1",
        "role": "operator", "id": "cor_1", "body": body, "invoked_us": 1, "returned_us": 2,
        "status": status, "answer": answer,
    }))
    .unwrap()
}

fn task(id: &str) -> Value {
    json!({"task_id": id, "name": id, "metadata": {}, "version": 1})
}

fn create(id: &str) -> Sent {
    sent("/tasks", 201, json!({"name": id, "metadata": {}}), task(id))
}

fn page(ids: &[&str], next: Value) -> Sent {
    let tasks: Vec<Value> = ids.iter().map(|id| task(id)).collect();
    sent(
        "/tasks?after=0&limit=2",
        200,
        Value::Null,
        json!({"tasks": tasks, "next": next}),
    )
}

fn good() -> Evidence {
    let read = |id: &str| sent(&format!("/tasks/{id}"), 200, Value::Null, task(id));
    let missing = |id: &str| sent(&format!("/tasks/{id}"), 404, Value::Null, json!({}));
    Evidence {
        created: vec![create("a"), create("b"), create("c")],
        read: vec![read("a"), read("b"), read("c")],
        bad: vec![sent("/tasks", 422, json!({}), json!({}))],
        full: vec![page(&["a", "b"], json!(2)), page(&["c"], Value::Null)],
        deleted: vec![sent("/tasks/b", 200, Value::Null, json!({}))],
        gone: vec![missing("b"), missing("b")],
        rest: vec![page(&["a", "c"], Value::Null)],
        unknown: Some(missing("z")),
    }
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn tasks_that_are_kept_and_gone_as_asked_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("created", 3), ("deleted", 1), ("refused_bodies", 1)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn every_way_of_not_keeping_tasks_is_a_violation() {
    let cases: [Case; 8] = [
        ("got 2 tasks", |seen| seen.created[1] = create("a")),
        ("got name \"x\"", |seen| {
            seen.read[0].answer["name"] = json!("x")
        }),
        ("got 0 rows", |seen| seen.full[1] = page(&[], Value::Null)),
        ("got 2 rows", |seen| {
            seen.rest[0] = page(&["a", "a", "c"], Value::Null)
        }),
        ("expected no such task", |seen| {
            seen.rest[0] = page(&["a", "b", "c"], Value::Null)
        }),
        ("expected 404", |seen| seen.gone[0].status = 200),
        ("expected 404", |seen| {
            seen.unknown.as_mut().unwrap().status = 200
        }),
        ("expected 400", |seen| seen.bad[0].status = 201),
    ];
    for (words, change) in cases {
        by_hand::violated(judge, good(), change, words);
    }
}

#[test]
fn a_list_without_an_end_is_undecided() {
    let mut seen = good();
    drop(seen.full.pop());
    seen.rest.clear();
    assert_eq!(judge(&seen).undecided.len(), 2);
}
