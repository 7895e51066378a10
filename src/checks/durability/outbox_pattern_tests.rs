use serde_json::{Value, json};

use super::super::written::Call;
use super::{Evidence, Outage, Written, judge};
use crate::checks::Sent;
use crate::checks::by_hand;

fn turn(marker: &str, written: u64) -> Sent {
    by_hand::sent(
        "api-gateway",
        "POST",
        "/v3/turn",
        200,
        json!({"turn_id": format!("trn_{marker}"), "memory": {"written": written}}),
    )
}

fn written(marker: &str, told: u64) -> Written {
    let call = |at_us| Call {
        at_us,
        key: Some(format!("out_{marker}")),
        body: json!({"content": marker}),
        committed_us: Some(11),
        answered_us: Some(12),
    };
    Written {
        marker: marker.to_owned(),
        turn: turn(marker, told),
        calls: vec![call(5), call(10)],
        effects: 1,
    }
}

fn outage(how: &str, kills: u64) -> Outage {
    Outage {
        how: how.to_owned(),
        writes: ["a", "b"]
            .map(|marker| written(&format!("{how}-{marker}"), 0))
            .to_vec(),
        early: 0,
        kills,
        back_us: Some(9),
        waited_ms: 10_000,
        looks: 1000,
    }
}

fn good() -> Evidence {
    Evidence {
        control: Some(written("control", 1)),
        outages: vec![outage("down", 0), outage("503", 1)],
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

#[test]
fn what_arrives_unaided_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("kills", 1),
        ("refused_tries", 4),
        ("undelivered_writes", 4),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_write_that_never_arrives_is_a_violation() {
    let got = violations(|seen| {
        let write = &mut seen.outages[1].writes[0];
        (write.effects, write.calls) = (0, Vec::new());
    });
    let text =
        "503, the memory of \"trn_503-a\": got 0 effects of 0 calls after 10000 ms, expected 1";
    assert_eq!(got, [text]);
}

#[test]
fn absence_before_a_harness_that_hardly_ran_is_undecided() {
    let mut seen = good();
    seen.outages[0].looks = 3;
    seen.outages[0].writes[0].effects = 0;
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided.len(), 1);
}

#[test]
fn two_effects_of_one_write_are_a_violation() {
    assert_eq!(
        violations(|seen| seen.outages[0].writes[1].effects = 2).len(),
        1
    );
}

#[test]
fn a_turn_that_fails_because_memory_is_down_is_a_violation() {
    let got = violations(|seen| seen.outages[0].writes[0].turn.status = 503);
    assert_eq!(got.len(), 1);
    assert!(got[0].ends_with("got 503, expected 200"), "{got:?}");
}

#[test]
fn a_turn_that_says_what_is_not_so_is_a_violation() {
    let claims = |seen: &mut Evidence| {
        seen.outages[0].writes[0].turn.answer["memory"]["written"] = json!(1);
    };
    assert_eq!(violations(claims).len(), 1);
    assert_eq!(
        violations(|seen| seen.control.as_mut().unwrap().effects = 0).len(),
        1
    );
    let silent = |seen: &mut Evidence| {
        seen.control.as_mut().unwrap().turn.answer["memory"] = Value::Null;
    };
    assert_eq!(violations(silent).len(), 1);
}

#[test]
fn an_engine_that_was_not_down_and_no_outage_decide_nothing() {
    let mut seen = good();
    seen.outages[0].early = 2;
    let judgement = judge(&seen);
    assert_eq!(judgement.exercised["undelivered_writes"], 2);
    assert_eq!(judgement.undecided.len(), 1);
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised.values().sum::<u64>(), 0);
}
