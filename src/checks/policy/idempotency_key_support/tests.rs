//! Evidence written by hand: a good one, and for each mutant of the gate its bad twin.

use serde_json::json;

use super::story::Traces;
use super::*;
use crate::contract::effects::Effect;

/// The route of which most tests spoil something.
const APPROVE: &str = "POST /v3/confirmations/{id}/approve of api-gateway";
/// One where another key executes again.
const TURN: &str = "POST /v3/turn of api-gateway";

fn counts(name: &str, n: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(name.to_owned(), n)])
}

/// What one execution on this route leaves in the audit log.
fn entries(route: &Route) -> BTreeMap<String, u64> {
    let row = Effect::of(&route.service, &route.method, &concrete(route)).unwrap();
    counts(&format!("{} {} ok", route.service, row.action), 1)
}

fn concrete(route: &Route) -> String {
    route.path.replace("{id}", "id_1")
}

fn asked(route: &Route, sort: Sort, at_us: u64, answer: (u16, Value)) -> Asked {
    let (status, body) = answer;
    Asked {
        sort,
        line: format!("{} {} of {}", route.method, concrete(route), route.service),
        id: format!("cor_{at_us}"),
        sent: Some(json!({"fence_token": 41})),
        invoked_us: at_us,
        returned_us: Some(at_us + 9),
        status,
        replayed: false,
        retry_after: None,
        body,
        entries: BTreeMap::new(),
    }
}

fn done(n: u64) -> (u16, Value) {
    (
        200,
        json!({"ok": true, "operation_id": format!("op_00000000000{n}"), "correlation_id": format!("cor_{n}")}),
    )
}

fn refusal(status: u16, code: &str) -> (u16, Value) {
    (
        status,
        json!({"ok": false, "error": {"code": code, "details": {}}, "correlation_id": "cor_refused"}),
    )
}

fn executed(route: &Route, sort: Sort, at_us: u64, n: u64) -> Asked {
    Asked {
        entries: entries(route),
        ..asked(route, sort, at_us, done(n))
    }
}

fn replay(route: &Route, sort: Sort, at_us: u64, answer: (u16, Value)) -> Asked {
    Asked {
        replayed: true,
        ..asked(route, sort, at_us, answer)
    }
}

fn story(marker: &str, asked: Vec<Asked>, executions: u64) -> Story {
    Story {
        marker: marker.to_owned(),
        asked,
        traces: Some(Traces {
            calls: counts("tools", executions),
            rows: counts("api-gateway.operations", executions),
        }),
    }
}

fn main_story(route: &Route, elsewhere: &Route) -> Story {
    let recipe = recipes::of(route).unwrap();
    let again = recipe.again;
    let mut all = Vec::new();
    for (number, sort) in (1_u64..).zip(Sort::ALL) {
        let at_us = number * 100;
        all.push(match sort {
            Sort::Racer => continue,
            Sort::Twin if route.twin.is_none() => continue,
            Sort::OtherResource if !recipe.names_resource() => continue,
            Sort::First => executed(route, sort, at_us, 1),
            Sort::Elsewhere => executed(elsewhere, sort, at_us, 2),
            Sort::ElsewhereAgain => replay(elsewhere, sort, at_us, done(2)),
            Sort::NoCredentials => asked(route, sort, at_us, refusal(401, "UNAUTHENTICATED")),
            sort if sort.is_reuse() => asked(route, sort, at_us, refusal(422, "KEY_REUSED")),
            Sort::OtherKey | Sort::OtherKeyAgain => match (again, sort) {
                (Again::Done, Sort::OtherKey) => executed(route, sort, at_us, 3),
                (Again::Done, _) => replay(route, sort, at_us, done(3)),
                (Again::Refused(status, code), Sort::OtherKey) => {
                    asked(route, sort, at_us, refusal(status, code))
                }
                (Again::Refused(status, code), _) => {
                    replay(route, sort, at_us, refusal(status, code))
                }
            },
            _ => replay(route, sort, at_us, done(1)),
        });
    }
    story("m-main", all, if again == Again::Done { 2 } else { 1 })
}

fn race_story(route: &Route) -> Story {
    let waits = Asked {
        retry_after: Some("1".to_owned()),
        ..asked(route, Sort::Racer, 3_002, refusal(409, "KEY_IN_PROGRESS"))
    };
    let mut first = executed(route, Sort::Racer, 3_000, 4);
    first.returned_us = Some(3_020);
    let late = replay(route, Sort::Racer, 3_015, done(4));
    let last = replay(route, Sort::LastRepeat, 3_100, done(4));
    story("m-race", vec![waits, first, late, last], 1)
}

fn good() -> Evidence {
    let mut routes = BTreeMap::new();
    for route in mutating() {
        let recipe = recipes::elsewhere(recipes::of(route).unwrap());
        let elsewhere = mutating()
            .find(|other| other.to_string() == recipe.name())
            .unwrap();
        let spelled = vec![
            executed(route, Sort::First, 2_000, 5),
            replay(route, Sort::Repeat, 2_100, done(5)),
        ];
        let pending = json!({"fence_token": 9});
        let one = Seen {
            trouble: None,
            plain: story("m-plain", vec![executed(route, Sort::First, 50, 6)], 1),
            main: main_story(route, elsewhere),
            spelled: story("m-spelled", spelled, 1),
            races: vec![race_story(route)],
            elsewhere: elsewhere.to_string(),
            other: Some((pending.clone(), pending)),
        };
        routes.insert(route.to_string(), one);
    }
    Evidence { routes }
}

fn spoiled(route: &str, spoil: impl FnOnce(&mut Seen)) -> Evidence {
    let mut seen = good();
    spoil(seen.routes.get_mut(route).unwrap());
    seen
}

fn at(one: &mut Seen, sort: Sort) -> &mut Asked {
    one.main
        .asked
        .iter_mut()
        .find(|asked| asked.sort == sort)
        .unwrap()
}

fn says(seen: &Evidence, words: &str) {
    let judgement = judge(seen);
    let said = judgement
        .violations
        .iter()
        .any(|violation| violation.contains(words));
    assert!(said, "expected `{words}` in {:#?}", judgement.violations);
}

/// The answer of an execution, with its entries, in place of what was said.
fn execute(asked: &mut Asked, n: u64) {
    (asked.status, asked.body) = done(n);
    asked.replayed = false;
    asked.entries = counts("api-gateway confirmation.execute ok", 1);
}

#[test]
fn one_answer_and_one_effect_a_key_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let routes = mutating().count() as u64;
    assert_eq!(judgement.exercised["mutating_routes"], routes);
    assert_eq!(judgement.exercised["races"], routes);
    let twins = mutating().filter(|route| route.twin.is_some()).count() as u64;
    assert_eq!(judgement.exercised["replays"], 8 * routes + twins);
    let named = recipes::RECIPES
        .iter()
        .filter(|one| one.names_resource())
        .count() as u64;
    assert_eq!(judgement.exercised["reused_keys"], 3 * routes + named);
    assert!(
        judgement
            .detail
            .contains(&format!("{} overlapping pairs: 0", 2 * routes)),
        "{}",
        judgement.detail
    );
}

#[test]
fn the_header_is_ignored_and_a_repeat_executes() {
    let seen = spoiled(APPROVE, |one| execute(at(one, Sort::Repeat), 7));
    says(
        &seen,
        "the same request (POST /v3/confirmations/id_1/approve of api-gateway): 200, with another body, expected 200 again, replayed",
    );
    says(
        &seen,
        "with audit entries {\"api-gateway confirmation.execute ok\": 1}, expected {}",
    );
}

#[test]
fn a_repeat_executes_behind_its_stored_answer() {
    let seen = spoiled(APPROVE, |one| {
        at(one, Sort::Respelled).entries = counts("openclaw tool.result ok", 1);
    });
    says(&seen, "its other spelling");
    let seen = spoiled(APPROVE, |one| {
        one.main.traces.as_mut().unwrap().calls = counts("tools", 2);
    });
    says(
        &seen,
        "1 executions left calls {\"tools\": 2}, expected {\"tools\": 1}",
    );
    let seen = spoiled(TURN, |one| {
        one.main.traces.as_mut().unwrap().rows = counts("api-gateway.operations", 3);
    });
    says(&seen, "2 executions left rows");
}

#[test]
fn a_repeat_gets_another_status_or_no_word_that_it_is_a_repeat() {
    let seen = spoiled(APPROVE, |one| at(one, Sort::Twin).status = 201);
    says(&seen, "the same request over its twin");
    let seen = spoiled(APPROVE, |one| at(one, Sort::LastRepeat).replayed = false);
    says(
        &seen,
        "200, with the same body, expected 200 again, replayed",
    );
    let seen = spoiled(APPROVE, |one| one.spelled.asked[1].replayed = false);
    says(&seen, "expected 200 again, replayed");
    let seen = spoiled(APPROVE, |one| at(one, Sort::OtherKeyAgain).replayed = false);
    says(&seen, "that other key again");
}

#[test]
fn two_execute_at_once() {
    let seen = spoiled(APPROVE, |one| execute(&mut one.races[0].asked[0], 7));
    says(
        &seen,
        "2 executions of 3 requests at once with one key, expected 1",
    );
    says(
        &seen,
        "no order of 4 requests with one key explains their answers",
    );
    says(
        &seen,
        "a race left audit entries {\"api-gateway confirmation.execute ok\": 2}",
    );
}

#[test]
fn a_racer_waits_for_an_unknown_time_or_gets_something_else() {
    let seen = spoiled(APPROVE, |one| one.races[0].asked[0].retry_after = None);
    says(
        &seen,
        "409 KEY_IN_PROGRESS, with Retry-After None, expected seconds",
    );
    let seen = spoiled(APPROVE, |one| one.races[0].asked[0].status = 500);
    says(&seen, "expected 200 replayed or 409 KEY_IN_PROGRESS");
    let seen = spoiled(APPROVE, |one| one.races[0].asked[2].body = json!({}));
    says(
        &seen,
        "200 (replayed), with another body, expected 200 replayed or",
    );
}

#[test]
fn the_answer_of_a_race_is_not_there_afterwards() {
    let seen = spoiled(APPROVE, |one| {
        let last = one.races[0].asked.last_mut().unwrap();
        (last.status, last.body) = refusal(409, "KEY_IN_PROGRESS");
        (last.replayed, last.retry_after) = (false, Some("1".to_owned()));
    });
    says(
        &seen,
        "409 KEY_IN_PROGRESS, with another body, expected 200 replayed",
    );
}

#[test]
fn a_key_is_taken_at_another_endpoint_too() {
    let seen = spoiled(APPROVE, |one| {
        let asked = at(one, Sort::Elsewhere);
        (asked.status, asked.body) = refusal(422, "KEY_REUSED");
    });
    says(&seen, "the key at another endpoint");
    says(&seen, "422 KEY_REUSED, expected 2xx, executed now");
    let seen = spoiled(APPROVE, |one| {
        let first = at(one, Sort::First).body.clone();
        at(one, Sort::Elsewhere).body = first;
    });
    says(&seen, "expected 2xx, executed now");
}

#[test]
fn another_request_gets_the_first_answer_or_is_executed() {
    for sort in [
        Sort::OtherActor,
        Sort::OtherBody,
        Sort::OtherResource,
        Sort::OtherFence,
    ] {
        let seen = spoiled(APPROVE, |one| {
            let asked = at(one, sort);
            (asked.status, asked.body) = done(1);
            asked.replayed = true;
        });
        says(
            &seen,
            &format!(
                "{sort} (POST /v3/confirmations/id_1/approve of api-gateway): 200 (replayed), expected 422 KEY_REUSED"
            ),
        );
        let seen = spoiled(APPROVE, |one| execute(at(one, sort), 8));
        says(&seen, "200, expected 422 KEY_REUSED");
    }
    let seen = spoiled(APPROVE, |one| {
        let asked = at(one, Sort::OtherResource);
        asked.entries = counts("api-gateway confirmation.execute ok", 1);
    });
    says(&seen, "422 KEY_REUSED, with audit entries");
}

#[test]
fn another_resource_is_touched() {
    let seen = spoiled(APPROVE, |one| {
        one.other = Some((json!({"fence_token": 9}), Value::Null));
    });
    says(
        &seen,
        "changed the other resource from {\"fence_token\":9} to null, expected no change",
    );
}

#[test]
fn a_refusal_tells_of_the_first_answer() {
    for sort in [Sort::NoCredentials, Sort::OtherBody] {
        let seen = spoiled(APPROVE, |one| {
            at(one, sort).body["error"]["details"] = json!({"first": "op_000000000001"});
        });
        says(
            &seen,
            "tells op_000000000001 of the first answer, expected nothing of it",
        );
    }
    // What was sent with the refused request is no secret.
    let seen = spoiled(APPROVE, |one| {
        let asked = at(one, Sort::OtherBody);
        asked.sent = Some(json!({"operation_id": "op_000000000001"}));
        asked.body["error"]["details"] = json!({"sent": "op_000000000001"});
    });
    assert_eq!(judge(&seen).violations, [""; 0]);
}

#[test]
fn a_stored_answer_is_given_to_nobody() {
    let seen = spoiled(APPROVE, |one| {
        let asked = at(one, Sort::NoCredentials);
        (asked.status, asked.body) = done(1);
        asked.replayed = true;
    });
    says(&seen, "200 (replayed), expected 401");
}

#[test]
fn another_key_does_not_execute_or_is_not_told_why() {
    let seen = spoiled(TURN, |one| {
        let (first, asked) = (at(one, Sort::First).body.clone(), at(one, Sort::OtherKey));
        asked.body = first;
        asked.replayed = true;
    });
    says(
        &seen,
        "the same request with another key (POST /v3/turn of api-gateway): 200 (replayed), expected 2xx, executed now",
    );
    let seen = spoiled(APPROVE, |one| execute(at(one, Sort::OtherKey), 8));
    says(&seen, "200, expected 409 ALREADY_DECIDED");
}

#[test]
fn a_valid_request_is_refused_with_a_key_or_without_one() {
    let seen = spoiled(APPROVE, |one| {
        (one.plain.asked[0].status, one.plain.asked[0].body) = refusal(500, "INTERNAL");
    });
    says(&seen, "500 INTERNAL, expected 2xx");
    let seen = spoiled(APPROVE, |one| {
        let asked = at(one, Sort::First);
        (asked.status, asked.body) = refusal(400, "MALFORMED");
    });
    says(&seen, "the first request");
    let seen = spoiled(APPROVE, |one| {
        one.plain.asked[0].entries = counts("api-gateway confirmation.execute ok", 2);
    });
    says(&seen, "with 2 entries confirmation.execute, expected 1");
}

#[test]
fn a_request_without_an_answer_in_its_bound() {
    let seen = spoiled(APPROVE, |one| {
        let asked = at(one, Sort::Repeat);
        (asked.status, asked.returned_us, asked.replayed) = (0, None, false);
        asked.body = Value::Null;
    });
    says(
        &seen,
        "no answer, with another body, expected 200 again, replayed",
    );
}

#[test]
fn too_little_is_undecided() {
    let undecided = |spoil: fn(&mut Seen), words: &str| {
        let judgement = judge(&spoiled(APPROVE, spoil));
        let said = judgement.undecided.iter().any(|open| open.contains(words));
        assert!(said, "expected `{words}` in {:#?}", judgement.undecided);
        assert!(judgement.undecided[0].starts_with(APPROVE));
        let routes = mutating().count() as u64;
        assert_eq!(judgement.exercised["mutating_routes"], routes - 1);
    };
    let without = |one: &mut Seen, sort: Sort| one.main.asked.retain(|asked| asked.sort != sort);
    undecided(|one| one.trouble = Some("no session".into()), "no session");
    undecided(|one| one.races.clear(), "no race");
    undecided(
        |one| drop(one.spelled.asked.pop()),
        "no key came first in its other spelling",
    );
    undecided(
        |one| one.other = None,
        "nobody looked at the other resource",
    );
    undecided(
        |one| one.main.traces = None,
        "nobody looked at what was executed",
    );
    for sort in [Sort::Twin, Sort::OtherResource, Sort::Elsewhere] {
        let judgement = judge(&spoiled(APPROVE, |one| without(one, sort)));
        assert_eq!(
            judgement.undecided,
            [format!("{APPROVE}: nothing was answered to {sort}")]
        );
    }
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.undecided.len(), mutating().count() + 1);
    assert_eq!(judgement.violations, [""; 0]);
}
