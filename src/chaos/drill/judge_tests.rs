//! Records written by hand: a good one, and for each way of not having drilled anything its twin.

use serde_json::{Value, json};

use super::*;
use crate::chaos::approvals::round::{Round, Run};
use crate::chaos::approvals::{Minted, Route, Shown, Verb, marked};
use crate::chaos::drill::Environment;
use crate::target::Incident;

fn experiment() -> Experiment {
    let probe = json!({"type": "probe", "name": "wrong races", "tolerance": 0, "provider":
        {"type": "sonia", "probe": "count", "arguments": {"of": "wrong-rounds"}}});
    let storm = json!({"type": "action", "name": "race", "provider":
        {"type": "sonia", "action": "storm", "arguments": {"rounds": 1}}});
    let text = json!({
        "title": "t", "description": "d",
        "steady-state-hypothesis": {"title": "One wins.", "probes": [probe]},
        "method": [storm],
    });
    Experiment::parse(&text.to_string(), &Environment::default()).unwrap()
}

fn step(output: Value, failed: Option<&str>, tolerated: Option<bool>) -> Step {
    Step {
        name: "a step".to_owned(),
        activity: json!({"tolerance": 0}),
        start: String::new(),
        end: String::new(),
        duration: 0.0,
        output,
        failed: failed.map(str::to_owned),
        aborts: failed.is_some(),
        unhappy: None,
        tolerated,
    }
}

fn looked(output: u64) -> Option<Looked> {
    Some(Looked {
        probes: vec![step(json!(output), None, Some(output == 0))],
        of: 1,
    })
}

fn asked(verb: Verb, actor: &str, won: bool) -> Asked {
    Asked {
        verb,
        actor: actor.to_owned(),
        fence: Shown::Nothing,
        invoked_us: 100,
        returned_us: Some(200),
        status: if won { 200 } else { 409 },
        code: if won { "" } else { "ALREADY_DECIDED" }.to_owned(),
        verdict: "approved".to_owned(),
        decided_by: "op-1".to_owned(),
        execution: if won { "succeeded" } else { "" }.to_owned(),
    }
}

fn round() -> Round {
    let args = marked("m-1");
    Round {
        decision: Minted {
            route: Route::Confirmations,
            id: "cnf_1".to_owned(),
            fence: 7,
            args: args.clone(),
            minted_us: 0,
            shown_us: 0,
        },
        tool_ms: 0,
        race: vec![
            asked(Verb::Approve, "op-1", true),
            asked(Verb::Approve, "op-2", false),
        ],
        repeats: Vec::new(),
        runs: Some(vec![Run {
            at_us: 150,
            tool: "file.write".to_owned(),
            args,
        }]),
    }
}

fn good() -> Record {
    Record {
        ttl_ms: 600_000,
        rounds: vec![round()],
        before: looked(0),
        run: vec![step(json!({"rounds": 1}), None, None)],
        after: looked(0),
        ..Record::default()
    }
}

fn came_to(change: impl Fn(&mut Record)) -> (Verdict, String) {
    let mut record = good();
    change(&mut record);
    let judgement = judge(&experiment(), &record);
    let why = [judgement.violations.as_slice(), &judgement.undecided].concat();
    (Verdict::of(&judgement), why.join(" | "))
}

#[test]
fn a_drill_that_was_done_and_held_passes_with_its_numbers() {
    let judgement = judge(&experiment(), &good());
    assert_eq!(Verdict::of(&judgement), Verdict::Pass, "{judgement:?}");
    assert_eq!(
        judgement.detail,
        "1 races, 2 racers, 1 conflicts, 1 executions, 1 overlapping pairs: 0 races went wrong"
    );
}

#[test]
fn what_contradicts_the_claim_fails() {
    let (verdict, why) = came_to(|record| {
        record.rounds[0].race[1] = asked(Verb::Approve, "op-2", true);
    });
    assert_eq!(verdict, Verdict::Fail);
    assert!(
        why.contains("2 winners and 0 conflicts of 2 racers"),
        "{why}"
    );
    let (verdict, why) = came_to(|record| record.before = looked(1));
    assert_eq!(verdict, Verdict::Fail);
    assert!(
        why.contains("not met before the method: `a step` got 1, expected 0"),
        "{why}"
    );
    let (verdict, why) = came_to(|record| record.after = looked(2));
    assert_eq!(verdict, Verdict::Fail);
    assert!(why.contains("not met after the method"), "{why}");
    let (verdict, _) = came_to(|record| {
        record.trouble = Some("no target".to_owned());
        record.incidents.push(Incident::DidNotStart {
            at_us: 1,
            why: "exit 1".to_owned(),
        });
    });
    assert_eq!(verdict, Verdict::Fail);
}

#[test]
fn what_was_not_done_or_not_seen_is_unknown() {
    type Change = fn(&mut Record);
    let changes: [(Change, &str); 9] = [
        (
            |record| record.trouble = Some("no port".to_owned()),
            "no port",
        ),
        (
            |record| record.before = None,
            "nobody looked at the hypothesis before",
        ),
        (
            |record| record.after = None,
            "nobody looked at the hypothesis after",
        ),
        (
            |record| {
                record.after = Some(Looked {
                    probes: vec![step(Value::Null, Some("refused"), Some(false))],
                    of: 1,
                });
            },
            "probe `a step` after the method failed: refused",
        ),
        (
            |record| record.before.as_mut().unwrap().of = 2,
            "1 probes before the method never ran",
        ),
        (
            |record| record.run = vec![step(Value::Null, Some("no session"), None)],
            "`a step` failed: no session",
        ),
        (
            |record| record.run.clear(),
            "0 of 1 steps of the method were begun",
        ),
        (
            |record| record.rounds.clear(),
            "no two decisions overlapped",
        ),
        (|record| record.interrupted = true, "interrupted"),
    ];
    for (change, expected) in changes {
        let (verdict, why) = came_to(change);
        assert_eq!(verdict, Verdict::Unknown, "{expected}: {why}");
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn a_method_without_a_fault_is_no_drill() {
    let text = json!({"title": "t", "description": "d", "method": []}).to_string();
    let judgement = judge(
        &Experiment::parse(&text, &Environment::default()).unwrap(),
        &Record::default(),
    );
    assert_eq!(Verdict::of(&judgement), Verdict::Unknown);
    assert!(
        judgement.undecided[0].contains("has no fault"),
        "{judgement:?}"
    );
}

#[test]
fn a_kill_that_met_no_operation_and_latency_that_met_no_turn_are_unknown() {
    for (action, arguments, expected) in [
        (
            "crash",
            json!({"at": ["arrived"]}),
            "no KILL landed inside an operation",
        ),
        (
            "inject-latency",
            json!({"at": "link"}),
            "no turn certainly met it",
        ),
    ] {
        let act = json!({"type": "action", "name": "a", "provider":
            {"type": "sonia", "action": action, "arguments": arguments}});
        let text = json!({"title": "t", "description": "d", "method": [act]}).to_string();
        let experiment = Experiment::parse(&text, &Environment::default()).unwrap();
        let mut record = Record {
            run: vec![step(Value::Null, None, None)],
            ..Record::default()
        };
        if action == "inject-latency" {
            let batch = crate::chaos::degrade::Batch::default();
            record.line.push(Seen::Batch(batch));
        }
        let judgement = judge(&experiment, &record);
        assert_eq!(Verdict::of(&judgement), Verdict::Unknown, "{judgement:?}");
        let why = judgement.undecided.join(" | ");
        assert!(why.contains(expected), "{why}");
    }
}
