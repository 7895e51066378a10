use serde_json::json;

use super::{Boot, Evidence, Sent, judge};
use crate::checks::by_hand;

fn sent(status: u16, id: &str) -> Sent {
    by_hand::sent(
        "api-gateway",
        "GET",
        "/v3/sessions",
        status,
        json!({"session_id": id}),
    )
}

fn good() -> Evidence {
    let boot = |id, kept| Boot {
        created: sent(201, id),
        read: sent(200, id),
        kept,
        without: vec![sent(401, ""), sent(401, "")],
    };
    Evidence {
        boots: vec![boot("a", None), boot("b", Some(sent(200, "a")))],
        terminations: vec![Some(0), Some(0)],
    }
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn two_good_boots_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("boots", 2),
        ("refused_without_credentials", 4),
        ("terminations", 2),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn every_way_of_booting_or_ending_wrongly_is_a_violation() {
    let cases: [Case; 7] = [
        ("expected 201", |seen| seen.boots[0].created.status = 500),
        ("expected 200", |seen| seen.boots[0].read.status = 404),
        ("expected \"b\"", |seen| seen.boots[1].read = sent(200, "a")),
        ("expected 200", |seen| {
            seen.boots[1].kept = Some(sent(404, ""))
        }),
        ("expected 401", |seen| seen.boots[1].without[1].status = 200),
        ("got 1, expected 0", |seen| seen.terminations[1] = Some(1)),
        ("got a signal", |seen| seen.terminations[0] = None),
    ];
    for (words, change) in cases {
        let mut seen = good();
        change(&mut seen);
        let found = judge(&seen).violations;
        assert!(
            found.len() == 1 && found[0].contains(words),
            "{words}: {found:?}"
        );
    }
}
