use serde_json::{Value, json};

use super::{Fate, Judgement, Minted, Sent, Standing};
use crate::chaos::approvals::{Route, marked};

/// An exchange that was answered a millisecond after it was sent.
pub(in crate::checks::durability) fn sent(invoked_us: u64, status: u16, answer: Value) -> Sent {
    serde_json::from_value(json!({
        "service": "api-gateway", "method": "POST", "path": "/x", "actor": "op-1",
        "role": "operator", "id": "cor_1", "invoked_us": invoked_us,
        "returned_us": invoked_us + 1_000, "status": status, "answer": answer,
    }))
    .unwrap()
}

fn won(verdict: &str) -> Sent {
    sent(1, 200, json!({"verdict": verdict}))
}

fn refused(code: &str, verdict: &str) -> Sent {
    sent(
        1,
        409,
        json!({"error": {"code": code, "details": {"verdict": verdict}}}),
    )
}

/// The story of a decision that went as it should.
pub(in crate::checks::durability) fn story(id: &str, fate: Fate) -> Standing {
    let decided = |verdict| refused("ALREADY_DECIDED", verdict);
    let expired = || refused("CONFIRMATION_EXPIRED", "");
    let (before, after, runs) = match fate {
        Fate::Open => (None, [won("approved"), decided("approved")], 1),
        Fate::OpenToDeny => (None, [won("denied"), decided("denied")], 0),
        Fate::Approved => (
            Some(won("approved")),
            [decided("approved"), decided("approved")],
            1,
        ),
        Fate::Denied => (
            Some(won("denied")),
            [decided("denied"), decided("denied")],
            0,
        ),
        Fate::Expired => (None, [expired(), expired()], 0),
    };
    Standing {
        minted: Minted {
            route: Route::Confirmations,
            id: id.to_owned(),
            fence: 7,
            args: marked(id),
            minted_us: 1_000,
            shown_us: 1_000,
        },
        fate,
        decided: before,
        after: after.to_vec(),
        runs: Some(runs),
    }
}

const FATES: [Fate; 5] = [
    Fate::Open,
    Fate::OpenToDeny,
    Fate::Approved,
    Fate::Denied,
    Fate::Expired,
];

#[test]
fn every_story_that_went_as_it_should_is_followed_and_none_of_another_fate() {
    for told in FATES {
        for fate in FATES {
            let mut standing = story("cnf_1", told);
            standing.fate = fate;
            standing.decided = story("cnf_1", fate).decided;
            let mut judgement = Judgement::default();
            assert!(standing.judge(&mut judgement));
            assert_eq!(
                judgement.violations.is_empty(),
                told == fate,
                "{told:?} as {fate:?}"
            );
        }
    }
}

#[test]
fn a_run_too_many_or_too_few_is_a_violation() {
    for fate in FATES {
        for more in [1, 2] {
            let mut standing = story("cnf_1", fate);
            standing.runs = standing.runs.map(|runs| (runs + more) % 3);
            let mut judgement = Judgement::default();
            assert!(standing.judge(&mut judgement));
            assert_eq!(judgement.violations.len(), 1, "{fate:?}");
        }
    }
}

#[test]
fn a_story_without_its_beginning_or_end_is_not_followed() {
    let mut judgement = Judgement::default();
    let cut = |change: fn(&mut Standing)| {
        let mut standing = story("cnf_1", Fate::Approved);
        change(&mut standing);
        standing
    };
    for standing in [
        cut(|standing| standing.decided = None),
        cut(|standing| standing.after.truncate(1)),
        cut(|standing| standing.after[1].returned_us = None),
        cut(|standing| standing.runs = None),
    ] {
        assert!(!standing.judge(&mut judgement));
    }
    assert_eq!(judgement.violations, [""; 0]);
}
