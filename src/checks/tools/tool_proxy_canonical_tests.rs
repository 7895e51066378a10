use serde_json::{Value, json};

use super::{Evidence, Fate, Run, Sent, Wanted, judge};
use crate::checks::by_hand;

fn sent(id: &str, status: u16, answer: Value) -> Sent {
    serde_json::from_value(json!({
        "service": "orchestrator", "method": "POST", "path": "/agent/act", "actor": "op-1",
        "role": "operator", "id": id, "invoked_us": 1, "returned_us": 2,
        "status": status, "answer": answer,
    }))
    .unwrap()
}

fn wanted(tool: &str, marker: &str, fate: Fate) -> Wanted {
    let asked = match fate {
        Fate::BackDoor => Some(sent("cor_door", 403, json!({}))),
        Fate::Control => Some(sent("cor_door", 200, json!({}))),
        _ => None,
    };
    Wanted {
        tool: tool.to_owned(),
        marker: marker.to_owned(),
        fate,
        id: "cor_act".to_owned(),
        asked,
    }
}

fn run(tool: &str, marker: &str, seq: u64) -> Run {
    Run {
        tool: tool.to_owned(),
        marker: marker.to_owned(),
        parent: format!("openclaw/{seq}/hash-{seq}"),
    }
}

fn entry(seq: u64, tool: &str, outcome: &str, id: &str) -> Value {
    json!({
        "chain": "openclaw", "seq": seq, "hash": format!("hash-{seq}"), "action": "tool.execute",
        "resource": format!("tool/{tool}"), "outcome": outcome, "correlation_id": id,
    })
}

fn good() -> Evidence {
    let said = |marker: &str, status: &str| json!({"args": {"path": marker}, "status": status});
    let calls = json!([
        said("r", "executed"),
        said("a", "approval_required"),
        said("d", "approval_required"),
        said("b", "denied"),
        said("u", "denied"),
    ]);
    Evidence {
        acts: vec![sent("cor_act", 200, json!({"tool_calls": calls}))],
        wanted: vec![
            wanted("file.read", "r", Fate::Runs),
            wanted("file.write", "a", Fate::Approved),
            wanted("file.write", "d", Fate::Denied),
            wanted("system.shutdown", "b", Fate::Blocked),
            wanted("disk.format", "u", Fate::Unknown),
            wanted("file.write", "x", Fate::BackDoor),
            wanted("file.read", "c", Fate::Control),
        ],
        undecided_runs: Some(vec![run("file.read", "r", 1)]),
        runs: Some(vec![
            run("file.read", "r", 1),
            run("file.write", "a", 5),
            run("file.read", "c", 99),
        ]),
        entries: Some(vec![
            entry(1, "file.read", "ok", "cor_act"),
            entry(2, "file.write", "refused", "cor_act"),
            entry(3, "system.shutdown", "refused", "cor_act"),
            entry(5, "file.write", "ok", "cor_person"),
        ]),
    }
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn calls_that_pass_the_gate_and_denied_ones_that_do_not_run_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("allowed_calls", 2), ("back_doors", 1), ("denied_calls", 3)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn every_way_round_the_gate_is_seen() {
    let cases: [Case; 11] = [
        ("got 503, expected 200", |seen| seen.acts[0].status = 503),
        ("file.read ran for r behind \"orchestrator/4/ff\"", |seen| {
            seen.runs.as_mut().unwrap()[0].parent = "orchestrator/4/ff".into();
        }),
        ("file.read ran for r behind \"\"", |seen| {
            seen.runs.as_mut().unwrap()[0].parent.clear();
        }),
        ("file.write ran for a behind", |seen| {
            // The entry of another tool.
            seen.runs.as_mut().unwrap()[1].parent = "openclaw/1/hash-1".into();
        }),
        (
            "file.write for d (Denied) in the end: got 1 runs, expected 0",
            |seen| {
                seen.runs.as_mut().unwrap().push(run("file.write", "d", 5));
            },
        ),
        (
            "system.shutdown for b (Blocked) before anybody decided: got 1 runs",
            |seen| {
                seen.undecided_runs
                    .as_mut()
                    .unwrap()
                    .push(run("system.shutdown", "b", 1));
            },
        ),
        (
            "file.read for r (Runs) in the end: got 2 runs, expected 1",
            |seen| {
                seen.runs.as_mut().unwrap().push(run("file.read", "r", 1));
            },
        ),
        ("openclaw wrote no refusal of system.shutdown", |seen| {
            seen.entries.as_mut().unwrap().remove(2);
        }),
        ("the agent of disk.format for u: got \"executed\"", |seen| {
            seen.acts[0].answer["tool_calls"][4]["status"] = json!("executed");
        }),
        ("got 200, expected a refusal", |seen| {
            seen.wanted[5].asked = Some(sent("cor_door", 200, json!({})));
        }),
        ("disk.format ran for z, which nobody wanted", |seen| {
            seen.runs.as_mut().unwrap().push(run("disk.format", "z", 1));
        }),
    ];
    for (words, spoil) in cases {
        by_hand::violated(judge, good(), spoil, words);
    }
}

#[test]
fn what_nobody_looked_at_is_undecided() {
    let mut seen = good();
    seen.entries = None;
    assert_eq!(judge(&seen).undecided.len(), 1);
    let mut seen = good();
    seen.acts[0].answer["tool_calls"] = json!([]);
    assert_eq!(judge(&seen).undecided.len(), 5);
    assert_eq!(judge(&Evidence::default()).undecided.len(), 1);
}
