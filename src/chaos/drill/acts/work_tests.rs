//! Operations written by hand: a good one, and its bad twins.

use super::*;

fn entry(sort: Sort, at: u64, status: u16, replayed: bool) -> Try {
    Try {
        sort,
        invoked_us: at,
        returned_us: (status != 0).then_some(at + 10),
        status,
        replayed,
        retry_after: None,
        body: (status != 0).then_some(0),
        error: None,
    }
}

fn call(key: &str, at_us: u64) -> Seen {
    Seen {
        at_us,
        key: Some(key.to_owned()),
        body: json!({"args": {"path": "k-1/1.txt"}}),
        committed_us: Some(at_us + 1),
        answered_us: Some(at_us + 2),
    }
}

fn good() -> Work {
    let mut asked = Operation::new(Route::Execute, "k-1", 1);
    asked.bodies = vec![json!({"ok": true, "status": "succeeded", "operation_id": "op_1"})];
    asked.tries = vec![
        entry(Sort::First, 0, 200, false),
        entry(Sort::Repeat, 100, 200, true),
    ];
    Work {
        operations: vec![asked],
        backends: Backends {
            models: Vec::new(),
            tools: vec![call("op_1", 1)],
        },
        looks: vec![1],
    }
}

fn judged(change: impl Fn(&mut Work)) -> Judgement {
    let (mut work, mut judgement) = (good(), Judgement::default());
    change(&mut work);
    let line = work.judge(&mut judgement);
    judgement.detail = line.unwrap_or_default();
    judgement
}

#[test]
fn one_effect_and_its_answer_again_is_good() {
    let judgement = judged(|_| {});
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert!(
        judgement
            .detail
            .contains("1 acknowledged, 1 there afterwards, 0 second"),
        "{judgement:?}"
    );
    assert_eq!(Work::default().judge(&mut Judgement::default()), None);
}

#[test]
fn a_second_effect_a_lost_answer_and_two_executions_are_violations() {
    type Change = fn(&mut Work);
    let changes: [(Change, &str); 4] = [
        (
            |work| work.backends.tools.push(call("op_2", 50)),
            "1 second effects",
        ),
        (
            |work| work.operations[0].tries[1] = entry(Sort::Repeat, 100, 404, false),
            "expected the answer that it had got",
        ),
        (
            |work| work.operations[0].tries[1].replayed = false,
            "has no legal order",
        ),
        (
            |work| {
                work.operations[0].tries = vec![entry(Sort::First, 0, 0, false); 2];
                work.looks = vec![ENOUGH_LOOKS];
            },
            "expected a final answer",
        ),
    ];
    for (change, words) in changes {
        let violations = judged(change).violations.join(" | ");
        assert!(violations.contains(words), "{words}: {violations}");
    }
}

#[test]
fn what_nobody_asked_for_again_is_undecided() {
    let judgement = judged(|work| work.looks.clear());
    assert!(
        judgement.undecided[0].contains("not asked for again"),
        "{judgement:?}"
    );
}
