use serde_json::{Value, json};

use super::{Evidence, Look, Sent, judge};
use crate::checks::by_hand;

fn sent(path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent("eva-os", "GET", path, status, answer)
}

fn task(id: &str, version: u64) -> Value {
    json!({"task_id": id, "name": format!("{id} {version}"), "metadata": {}, "version": version})
}

fn answer(mut task: Value) -> Value {
    task["ok"] = json!(true);
    task["correlation_id"] = json!("cor_1");
    task
}

fn look() -> Look {
    let listed = [task("a", 1), task("b", 2)];
    Look {
        list: sent("/tasks", 200, json!({"tasks": listed})),
        each: vec![
            sent("/tasks/a", 200, answer(task("a", 1))),
            sent("/tasks/b", 200, answer(task("b", 2))),
            sent("/tasks/c", 404, json!({})),
        ],
    }
}

fn good() -> Evidence {
    let create = |id| sent("/tasks", 201, answer(task(id, 1)));
    Evidence {
        created: vec![create("a"), create("b"), create("c")],
        changed: Some(sent("/tasks/b", 200, answer(task("b", 2)))),
        deleted: Some(sent(
            "/tasks/c",
            200,
            json!({"task_id": "c", "state": "deleted"}),
        )),
        before: Some(look()),
        after: Some(look()),
        status: Some(sent(
            "/status",
            200,
            json!({"restore": [{"stage": "tasks", "rows": 2}]}),
        )),
        kills: 1,
    }
}

fn violations(change: impl FnOnce(&mut Look)) -> Vec<String> {
    let mut seen = good();
    change(seen.after.as_mut().unwrap());
    judge(&seen).violations
}

fn listed(look: &mut Look) -> &mut Vec<Value> {
    look.list.answer["tasks"].as_array_mut().unwrap()
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Look));

#[test]
fn the_same_list_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("created", 3), ("deleted", 1), ("kills", 1), ("updated", 1)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_task_that_is_missing_changed_or_back_is_a_violation() {
    let cases: [Case; 6] = [
        ("no such task", |look| drop(listed(look).remove(0))),
        ("expected no such task", |look| {
            listed(look).push(task("c", 1))
        }),
        ("b 1", |look| listed(look)[1] = task("b", 1)),
        ("the order", |look| listed(look).swap(0, 1)),
        ("expected 404", |look| {
            look.each[2] = sent("/tasks/c", 200, answer(task("c", 1)))
        }),
        ("/tasks/a", |look| {
            look.each[0] = sent("/tasks/a", 404, json!({}))
        }),
    ];
    for (words, change) in cases {
        let found = violations(change);
        assert!(
            found.len() == 1 && found[0].contains(words),
            "{words}: {found:?}"
        );
    }
    let mut seen = good();
    seen.created[0] = seen.created[1].clone();
    assert!(judge(&seen).violations[0].contains("expected 3"));
    let mut seen = good();
    seen.status.as_mut().unwrap().answer["restore"][0]["rows"] = json!(3);
    assert_eq!(judge(&seen).violations.len(), 1);
}

#[test]
fn a_list_that_cannot_be_read_is_undecided() {
    let mut seen = good();
    seen.after = None;
    seen.before.as_mut().unwrap().list.status = 503;
    assert_eq!(judge(&seen).undecided.len(), 2);
}
