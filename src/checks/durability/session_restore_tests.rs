use serde_json::{Value, json};

use super::{Evidence, Fate, Sent, Story, judge};
use crate::checks::by_hand;

fn sent(method: &str, path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent("api-gateway", method, path, status, answer)
}

fn session(id: &str, turns: u64) -> Value {
    json!({
        "session_id": id, "user_id": "u-1", "conversation_id": "c-1", "metadata": {"n": 1},
        "state": "active", "turn_count": turns, "expires_at": "2026-11-22T10:30:00.000000Z",
        "correlation_id": format!("cor_{turns}"),
    })
}

fn refused() -> Sent {
    sent(
        "GET",
        "/v3/sessions/x",
        404,
        json!({"error": {"code": "SESSION_NOT_FOUND"}}),
    )
}

fn active(id: &str) -> Story {
    Story {
        fate: Fate::Active,
        opened: sent("POST", "/v3/sessions", 201, session(id, 0)),
        turns: vec![sent("POST", "/v3/turn", 200, json!({}))],
        closed: None,
        before: Some(sent("GET", "/v3/sessions/x", 200, session(id, 1))),
        after: Some(sent("GET", "/v3/sessions/x", 200, session(id, 1))),
        turn_after: Some(sent("POST", "/v3/turn", 200, json!({}))),
    }
}

fn gone(id: &str, fate: Fate) -> Story {
    Story {
        fate,
        turns: Vec::new(),
        closed: (fate == Fate::Closed).then(|| sent("DELETE", "/v3/sessions/x", 200, json!({}))),
        before: Some(refused()),
        after: Some(refused()),
        turn_after: Some(refused()),
        ..active(id)
    }
}

fn good() -> Evidence {
    let stage = json!({"stage": "sessions", "rows": 2, "duration_ms": 0.1});
    Evidence {
        stories: vec![
            active("ses_1"),
            active("ses_2"),
            gone("ses_3", Fate::Closed),
            gone("ses_4", Fate::Expired),
        ],
        kills: 1,
        status: Some(sent("GET", "/status", 200, json!({"restore": [stage]}))),
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

fn after(story: &mut Story) -> &mut Value {
    &mut story.after.as_mut().unwrap().answer
}

#[test]
fn what_came_back_as_it_was_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("closed", 1), ("expired", 1), ("kills", 1), ("restored", 2)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_field_that_changed_or_went_missing_is_named() {
    for (field, value) in [
        ("expires_at", json!("2026-11-22T10:31:00.000000Z")),
        ("user_id", json!("u-2")),
        ("metadata", json!({})),
        ("turn_count", json!(0)),
        ("surplus", json!(1)),
    ] {
        let found = violations(|seen| after(&mut seen.stories[0])[field] = value);
        assert!(found.len() == 1 && found[0].contains(field), "{found:?}");
    }
    let found = violations(|seen| {
        after(&mut seen.stories[1])
            .as_object_mut()
            .unwrap()
            .remove("metadata");
    });
    assert!(
        found.len() == 1 && found[0].contains("metadata"),
        "{found:?}"
    );
    let found = violations(|seen| seen.stories[1].after = Some(refused()));
    assert!(
        found.len() == 1 && found[0].contains("got 404, expected 200"),
        "{found:?}"
    );
}

#[test]
fn a_session_that_is_over_and_comes_back_is_a_violation() {
    for story in [2, 3] {
        let found = violations(|seen| {
            seen.stories[story].after = active("ses_1").after;
        });
        assert!(
            found.len() == 1 && found[0].contains("after the KILL"),
            "{found:?}"
        );
        let found = violations(|seen| {
            seen.stories[story].turn_after = active("ses_1").turn_after;
        });
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn a_restore_that_counts_otherwise_is_a_violation_and_one_that_is_not_told_is_undecided() {
    let found = violations(|seen| {
        seen.status.as_mut().unwrap().answer["restore"][0]["rows"] = json!(4);
    });
    assert!(
        found.len() == 1 && found[0].contains("expected [2]"),
        "{found:?}"
    );
    let mut seen = good();
    seen.status = None;
    assert_eq!(judge(&seen).undecided.len(), 1);
}

#[test]
fn a_story_without_an_end_is_not_counted() {
    let mut seen = good();
    seen.stories[0].after = None;
    seen.stories[2].closed = None;
    let judgement = judge(&seen);
    assert_eq!(judgement.exercised["restored"], 1);
    assert_eq!(judgement.exercised["closed"], 0);
}
