use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Burst, Evidence, Look, Sent, judge};
use crate::checks::by_hand;

fn sent(method: &str, path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent("memory-engine", method, path, status, answer)
}

fn stored(id: &str) -> Sent {
    Sent {
        body: Some(json!({"type": "note", "content": id})),
        ..sent("POST", "/store", 201, json!({"id": id}))
    }
}

fn recalled(id: &str) -> Sent {
    let path = format!("/recall/{id}");
    sent("GET", &path, 200, json!({"id": id, "content": id}))
}

fn burst(number: usize) -> Burst {
    let ids = [0, 1].map(|one| format!("mem_{number}{one}"));
    Burst {
        writes: ids.iter().map(|id| stored(id)).collect(),
        killed: true,
        reads: ids.iter().map(|id| recalled(id)).collect(),
    }
}

fn good() -> Evidence {
    let look = |name: &str| Look {
        database: name.to_owned(),
        journal_mode: "wal".to_owned(),
        integrity: "ok".to_owned(),
    };
    let names = ["api-gateway", "eva-os", "memory-engine"];
    Evidence {
        looks: names.map(look).to_vec(),
        snapshots: BTreeMap::from(names.map(|name| (name.to_owned(), (0, 0)))),
        beside_reader: vec![sent("POST", "/v3/sessions", 201, json!({})); 3],
        bursts: vec![burst(0), burst(1)],
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

#[test]
fn what_is_there_after_the_kills_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("acknowledged_before_kill", 4),
        ("kills", 2),
        ("writes_beside_reader", 3),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn another_journal_and_a_damaged_file_are_violations() {
    let got = violations(|seen| seen.looks[2].journal_mode = "delete".to_owned());
    assert_eq!(
        got,
        ["journal_mode of memory-engine: got delete, expected wal"]
    );
    let got = violations(|seen| seen.looks[0].integrity = "row 1 missing from index".to_owned());
    let text = "integrity_check of api-gateway: got row 1 missing from index, expected ok";
    assert_eq!(got, [text]);
}

#[test]
fn a_reader_that_blocks_a_writer_or_sees_its_rows_is_a_violation() {
    let refused = sent(
        "POST",
        "/store",
        503,
        json!({"error": {"code": "STORE_UNAVAILABLE"}}),
    );
    let got = violations(|seen| seen.beside_reader[2] = refused);
    let text = "beside a long reader POST /store of memory-engine (cor_1): 503 STORE_UNAVAILABLE: \
                got 503, expected 201";
    assert_eq!(got, [text]);
    let got = violations(|seen| {
        seen.snapshots.insert("eva-os".to_owned(), (0, 33));
    });
    assert_eq!(
        got,
        ["rows of eva-os in one read transaction: got 33, expected 0"]
    );
}

#[test]
fn an_acknowledged_row_that_is_gone_or_another_is_a_violation() {
    let gone = sent("GET", "/recall/mem_11", 404, json!({}));
    let got = violations(|seen| seen.bursts[1].reads[1] = gone);
    let text = "after KILL 2 GET /recall/mem_11 of memory-engine (cor_1): 404: got 404 with null, \
                expected 200 with \"mem_11\"";
    assert_eq!(got, [text]);
    let got = violations(|seen| seen.bursts[0].reads[0].answer["content"] = json!("other"));
    assert_eq!(got.len(), 1);
    let got = violations(|seen| seen.bursts[1].writes[0] = stored("mem_00"));
    assert!(
        got[0].contains("got the id mem_00 again, expected a fresh one"),
        "{got:?}"
    );
}

#[test]
fn a_write_without_an_answer_may_be_there_and_need_not() {
    let mut seen = good();
    let open = Sent {
        returned_us: None,
        ..sent("POST", "/store", 0, Value::Null)
    };
    seen.bursts[0].writes.push(open);
    assert_eq!(judge(&seen), judge(&good()));
}

#[test]
fn a_burst_that_was_over_before_its_kill_and_a_reader_that_was_not_there_count_nothing() {
    let mut seen = good();
    seen.bursts[0].killed = false;
    seen.bursts[1].reads.clear();
    seen.snapshots.clear();
    let judgement = judge(&seen);
    assert!(
        judgement.exercised.values().all(|n| *n <= 1),
        "{judgement:?}"
    );
    assert_eq!(judgement.undecided.len(), 2);
    assert_eq!(judge(&Evidence::default()).undecided.len(), 1);
}
