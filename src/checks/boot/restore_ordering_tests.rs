use serde_json::{Value, json};

use super::{BOOTS, Evidence, Minted, Route, SESSIONS, STAGES, Sent, TASKS, judge};
use crate::checks::by_hand;

fn sent(method: &str, path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent("api-gateway", method, path, status, answer)
}

fn status(rows: [u64; 4]) -> Sent {
    let stage = |(number, name): (usize, &&str)| json!({"stage": name, "rows": rows[number], "begun_ms": number, "duration_ms": 0.9});
    let stages: Vec<Value> = STAGES.iter().enumerate().map(stage).collect();
    sent("GET", "/status", 200, json!({"restore": stages}))
}

fn minted(number: usize) -> Minted {
    Minted {
        route: Route::Confirmations,
        id: format!("cnf_{number}"),
        fence: 1,
        args: json!({"path": format!("m-{number}")}),
        minted_us: 1,
        shown_us: 2,
    }
}

fn good() -> Evidence {
    let session = sent("POST", "/v3/sessions", 201, json!({}));
    let task = sent("POST", "/tasks", 201, json!({}));
    let listed = json!([{"confirmation_id": "cnf_0"}, {"confirmation_id": "cnf_1"}]);
    Evidence {
        fresh: Some(status([0; 4])),
        made: [vec![session; SESSIONS], vec![task; TASKS]].concat(),
        minted: (0..SESSIONS).map(minted).collect(),
        ended: vec![
            sent("DELETE", "/v3/sessions/ses_1", 200, json!({})),
            sent("POST", "/v3/confirmations/cnf_3/deny", 200, json!({})),
            sent("DELETE", "/tasks/tsk_0", 200, json!({})),
        ],
        removed: 1,
        boots: vec![status([2, 2, 3, 0]); BOOTS],
        pending: Some(sent(
            "GET",
            "/pending",
            200,
            json!({"confirmations": listed}),
        )),
        orphan: Some(sent("POST", "/cnf_2/approve", 404, json!({}))),
        control: Some(sent("POST", "/cnf_0/approve", 200, json!({}))),
        runs: Some((0, 1)),
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

fn stage(boot: &mut Sent, index: usize) -> &mut Value {
    &mut boot.answer["restore"][index]
}

#[test]
fn the_same_trace_at_every_boot_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("boots", 5), ("orphans", 1), ("stages", 4)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn stages_in_another_order_and_one_that_is_not_announced_are_violations() {
    let got = violations(|seen| {
        seen.boots[1].answer["restore"]
            .as_array_mut()
            .unwrap()
            .swap(1, 2);
    });
    let text = "stages of boot 2: got [\"sessions\", \"tasks\", \"confirmations\", \"budgets\"]";
    assert!(got[0].starts_with(text), "{got:?}");
    let fresh = |seen: &mut Evidence| {
        let fresh = seen.fresh.as_mut().unwrap();
        fresh.answer["restore"].as_array_mut().unwrap().truncate(3);
    };
    let got = violations(fresh);
    let text = "stages of the boot on nothing: got [\"sessions\", \"confirmations\", \"tasks\"]";
    assert!(got[0].starts_with(text), "{got:?}");
}

#[test]
fn a_stage_that_begins_before_the_one_before_it_is_over_is_a_violation() {
    let got = violations(|seen| stage(&mut seen.boots[0], 2)["begun_ms"] = json!(1.5));
    let text = "at boot 1 \"tasks\" began: got 1.5000 ms, expected not before \"confirmations\" \
                was over at 1.9000 ms";
    assert_eq!(got, [text]);
    let got = violations(|seen| stage(&mut seen.boots[0], 3)["begun_ms"] = Value::Null);
    assert_eq!(got.len(), 1);
}

#[test]
fn other_counts_than_what_there_is_are_violations() {
    let got = violations(|seen| stage(&mut seen.boots[4], 1)["rows"] = json!(3));
    let text = "rows of confirmations at boot 5: got 3, expected 2";
    assert_eq!(got[0], text);
    assert!(got[1].starts_with("trace of boot 5"), "{got:?}");
    // Nobody says how many budgets there are, but it is the same number at every boot.
    let got = violations(|seen| stage(&mut seen.boots[4], 3)["rows"] = json!(1));
    assert_eq!(got.len(), 1);
}

#[test]
fn an_orphan_that_is_listed_approved_or_run_is_a_violation() {
    let got = violations(|seen| {
        let listed = seen.pending.as_mut().unwrap();
        listed.answer["confirmations"][1] = json!({"confirmation_id": "cnf_2"});
    });
    let text = "the orphan: got it listed as pending, expected nowhere";
    assert_eq!(got, [text]);
    assert_eq!(
        violations(|seen| seen.orphan.as_mut().unwrap().status = 409).len(),
        1
    );
    assert_eq!(
        violations(|seen| seen.runs = Some((1, 1))),
        ["the orphan ran: got 1, expected 0"]
    );
}

#[test]
fn a_target_that_serves_no_confirmation_at_all_is_a_violation() {
    let got = violations(|seen| {
        seen.pending.as_mut().unwrap().answer["confirmations"] = json!([]);
    });
    assert_eq!(got, ["pending: got [], expected cnf_0 among them"]);
    assert_eq!(violations(|seen| seen.runs = Some((0, 0))).len(), 1);
}

#[test]
fn without_a_removed_row_and_without_traces_nothing_is_decided() {
    let mut seen = good();
    seen.removed = 0;
    assert_eq!(judge(&seen).exercised["orphans"], 0);
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised.values().sum::<u64>(), 0);
    assert_eq!(judgement.undecided.len(), 2);
}
