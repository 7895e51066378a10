//! Evidence written by hand: a good one, and its bad twins.

use serde_json::json;

use super::stream::Entry;
use super::*;

fn op(deed: Deed, about: &str, id: &str) -> Op {
    let in_turn = matches!(deed, Deed::Turn | Deed::AskInTurn);
    Op {
        deed,
        about: about.into(),
        session: if in_turn { "s-1".into() } else { String::new() },
        id: id.into(),
        invoked_us: 0,
        returned_us: Some(1),
        status: 201,
        code: String::new(),
    }
}

fn cut(op: Op) -> Op {
    Op {
        returned_us: None,
        status: 0,
        ..op
    }
}

fn kill(style: Style, op: usize, offset_ms: i64) -> Kill {
    Kill {
        style,
        op,
        signal_us: 10,
        ready_us: Some(20),
        offset_ms,
    }
}

/// One of everything, a task that was cut and happened, and one that was cut and did not.
fn script() -> Vec<Op> {
    vec![
        op(Deed::OpenSession, "s-1", "i-0"),
        op(Deed::AskInTurn, "c-1", "i-1"),
        op(Deed::CreateTask, "t-1", "i-2"),
        op(Deed::TakeFrame, "f-1", "i-3"),
        // The first KILL: acknowledged.
        op(Deed::Remember, "m-1", "i-4"),
        op(Deed::PlanAction, "a-1", "i-5"),
        // The second: cut, and done.
        cut(op(Deed::CreateTask, "t-2", "i-6")),
        op(Deed::DenyAction, "a-1", "i-7"),
        op(Deed::CreateTask, "t-3", "i-8"),
        // The third: cut, and not done.
        cut(op(Deed::DeleteTask, "t-3", "i-9")),
        op(Deed::DenyConfirmation, "c-1", "i-10"),
        op(Deed::Turn, "s-1", "i-11"),
    ]
}

/// The streams, each with the places after which a look reads on.
fn streams() -> BTreeMap<&'static str, (Vec<Entry>, [usize; 4])> {
    let all = |said: &[(&str, &str)]| {
        let entry = |(number, (id, what)): (i64, &(&str, &str))| {
            Entry(number, (*id).into(), (*what).into())
        };
        (0..).zip(said).map(entry).collect::<Vec<_>>()
    };
    let events = all(&[
        ("i-0", "session.created"),
        ("i-1", "confirmation.requested"),
        ("i-1", "turn.completed"),
        ("i-5", "action.planned"),
        ("i-7", "action.state"),
        ("i-10", "confirmation.denied"),
        ("i-11", "turn.completed"),
    ]);
    let eva = all(&[
        ("i-2", "task.create ok"),
        ("i-6", "task.create ok"),
        ("i-8", "task.create ok"),
    ]);
    let vision = all(&[("i-3", "vision.frame ok")]);
    BTreeMap::from([
        (EVENTS, (events, [3, 4, 5, 7])),
        ("eva-os", (eva, [1, 2, 3, 3])),
        ("vision-capture", (vision, [1, 1, 1, 1])),
    ])
}

fn look(number: usize, ops: usize, lists: [Value; 4], ones: &[(&str, Value)]) -> Look {
    let rows = |rows: &Value| Listed {
        status: 200,
        rows: rows.as_array().cloned(),
    };
    let one = |(marker, facts): &(&str, Value)| One {
        marker: (*marker).into(),
        status: 200,
        facts: facts.clone(),
    };
    let streams = streams().into_iter().map(|(name, (entries, ends))| {
        let from = if number == 0 { 0 } else { ends[number - 1] };
        let all = entries[..ends[number]].to_vec();
        (name.to_owned(), Reading::new(Ok(all), from))
    });
    Look {
        kill: (number < 3).then_some(number),
        ops,
        lists: List::ALL.into_iter().zip(lists.iter().map(rows)).collect(),
        ones: ones.iter().map(one).collect(),
        streams: streams.collect(),
    }
}

fn good() -> Evidence {
    let (one, two, three) = (
        json!(["t-1", 1, "i-2"]),
        json!(["t-2", 1, "i-6"]),
        json!(["t-3", 1, "i-8"]),
    );
    let asked = json!([["c-1"]]);
    let (planned, denied) = (
        json!([["a-1", "pending_approval"]]),
        json!([["a-1", "denied"]]),
    );
    let none = json!([]);
    let lane = Lane {
        ops: script(),
        kills: vec![
            kill(Style::Acknowledged, 4, 3_000),
            kill(Style::Unread, 6, -5_000),
            kill(Style::Locked, 9, 7_000),
        ],
        looks: vec![
            look(
                0,
                5,
                [json!([one]), none.clone(), asked.clone(), none.clone()],
                &[("s-1", json!(["s-1", 1])), ("m-1", json!(["m-1"]))],
            ),
            look(
                1,
                7,
                [json!([one, two]), planned, asked.clone(), none.clone()],
                &[("s-1", json!(["s-1", 1]))],
            ),
            look(
                2,
                10,
                [
                    json!([one, two, three]),
                    denied.clone(),
                    asked,
                    none.clone(),
                ],
                &[],
            ),
            look(
                3,
                12,
                [json!([one, two, three]), denied, none.clone(), none],
                &[("s-1", json!(["s-1", 2])), ("m-1", json!(["m-1"]))],
            ),
        ],
    };
    Evidence { lanes: vec![lane] }
}

fn spoiled(spoil: impl FnOnce(&mut Lane)) -> Evidence {
    let mut seen = good();
    spoil(&mut seen.lanes[0]);
    seen
}

/// The only violation of `seen`.
fn violation(seen: &Evidence) -> String {
    let judgement = judge(seen);
    assert_eq!(judgement.violations.len(), 1, "{:#?}", judgement.violations);
    judgement.violations[0].clone()
}

fn says(seen: &Evidence, words: &str) {
    let violations = judge(seen).violations;
    let said = violations.iter().any(|violation| violation.contains(words));
    assert!(said, "expected `{words}` in {violations:#?}");
}

fn rows(look: &mut Look, list: List) -> &mut Vec<Value> {
    look.lists.get_mut(&list).unwrap().rows.as_mut().unwrap()
}

fn reading<'a>(look: &'a mut Look, stream: &str) -> &'a mut Reading {
    look.streams.get_mut(stream).unwrap()
}

#[test]
fn the_acknowledged_prefix_is_no_violation_with_or_without_the_operation_in_flight() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let detail = "10 operations, 3 kills, 2 of them with an operation in flight, 1 inside it, \
                  4 looks: 0 violations; at 95 % at most 63.16 % of kills lose or reorder something";
    assert_eq!(judgement.detail, detail);
    assert_eq!(judgement.exercised["operations"], 10);
    assert_eq!(judgement.exercised["kills"], 3);
    assert_eq!(judgement.exercised["kills_inside_operation"], 1);
    // The rest of the deeds, and nothing else.
    assert_eq!(judgement.undecided.len(), Deed::WEIGHTS.len() - 9);
    assert!(
        judgement
            .undecided
            .iter()
            .all(|text| text.ends_with("was acknowledged"))
    );
}

#[test]
fn an_acknowledged_operation_is_lost() {
    let memory = spoiled(|lane| {
        let one = &mut lane.looks[0].ones[1];
        (one.status, one.facts) = (404, json!([null]));
    });
    let words = "target 0: after the KILL (Acknowledged) at Remember of m-1 (i-4): 201: \
                 m-1 got 404 [null], expected 200 [\"m-1\"]";
    assert_eq!(violation(&memory), words);
    let task = spoiled(|lane| drop(rows(&mut lane.looks[2], List::Tasks).remove(0)));
    assert!(violation(&task).contains("the tasks: got 2 rows, expected 3: number 1 is"));
    let turn = spoiled(|lane| lane.looks[1].ones[0].facts = json!(["s-1", 0]));
    assert!(violation(&turn).contains("s-1 got 200 [\"s-1\",0], expected 200 [\"s-1\",1]"));
    let denied = spoiled(|lane| {
        rows(&mut lane.looks[2], List::Actions)[0] = json!(["a-1", "pending_approval"]);
    });
    assert!(violation(&denied).contains("the actions: got 1 rows, expected 1: number 1 is"));
}

#[test]
fn what_is_over_comes_back() {
    let seen = spoiled(|lane| rows(&mut lane.looks[3], List::Confirmations).push(json!(["c-1"])));
    assert!(violation(&seen).contains("the open confirmations: got 1 rows, expected 0"));
}

#[test]
fn the_order_is_another_one() {
    let seen = spoiled(|lane| rows(&mut lane.looks[2], List::Tasks).swap(0, 1));
    assert!(violation(&seen).contains("the tasks: got 3 rows, expected 3, in another order"));
}

#[test]
fn more_than_the_operation_in_flight_is_there_or_half_of_it() {
    let more = spoiled(|lane| {
        rows(&mut lane.looks[1], List::Tasks).push(json!(["t-9", 1, "i-9"]));
    });
    says(&more, "(i-6): no answer: the tasks: got 3 rows, expected 1");
    let half = spoiled(|lane| {
        rows(&mut lane.looks[1], List::Tasks)[1] = json!(["t-2", 1, null]);
    });
    says(
        &half,
        "the tasks: got 2 rows, expected 1: number 2 is [\"t-2\",1,null], expected nothing",
    );
    let later = spoiled(|lane| drop(rows(&mut lane.looks[2], List::Tasks).remove(1)));
    assert!(
        violation(&later).contains("the tasks: got 2 rows"),
        "it was there, and is gone"
    );
}

#[test]
fn a_number_is_given_again_or_an_entry_is_lost() {
    let lost = spoiled(|lane| {
        let reading = reading(&mut lane.looks[1], "eva-os");
        *reading = Reading::new(Ok(vec![Entry(0, "i-6".into(), "task.create ok".into())]), 1);
    });
    says(
        &lost,
        "chain eva-os: the 1 that had been seen are not what they were",
    );
    let reset = spoiled(|lane| {
        *reading(&mut lane.looks[2], EVENTS) = Reading::new(Ok(Vec::new()), 4);
    });
    says(
        &reset,
        "the events: got 0 of the 4 that had been seen, expected all",
    );
    let again = spoiled(|lane| reading(&mut lane.looks[1], EVENTS).fresh[0].0 = 2);
    says(
        &again,
        "the events: number 2 comes after 2, expected a greater",
    );
    let closed = spoiled(|lane| reading(&mut lane.looks[3], "eva-os").trouble = Some("no".into()));
    assert!(violation(&closed).contains("at the end: chain eva-os: cannot be read: no"));
}

#[test]
fn the_sequence_is_not_that_of_the_acknowledgements() {
    let seen = spoiled(|lane| {
        let fresh = &mut reading(&mut lane.looks[3], EVENTS).fresh;
        (fresh[0].1, fresh[1].1) = (fresh[1].1.clone(), fresh[0].1.clone());
        (fresh[0].2, fresh[1].2) = (fresh[1].2.clone(), fresh[0].2.clone());
    });
    assert!(violation(&seen).contains("of operation 10 comes after"));
}

#[test]
fn an_acknowledged_operation_leaves_no_event_and_a_frame_no_entry() {
    let event = spoiled(|lane| drop(reading(&mut lane.looks[3], EVENTS).fresh.pop()));
    assert!(violation(&event).contains("no turn.completed of Turn of s-1 (i-11)"));
    let frame = spoiled(|lane| {
        for look in &mut lane.looks {
            *reading(look, "vision-capture") = Reading::new(Ok(Vec::new()), 0);
        }
    });
    assert!(violation(&frame).contains("chain vision-capture: no entry of TakeFrame of f-1"));
}

#[test]
fn an_operation_is_refused_or_never_answered() {
    let refused = spoiled(|lane| {
        let late = Op {
            status: 409,
            code: "VERSION_CONFLICT".into(),
            ..op(Deed::UpdateTask, "t-1", "i-12")
        };
        lane.ops.push(late);
        lane.looks[3].ops = 13;
    });
    assert!(violation(&refused).contains("409 VERSION_CONFLICT, expected a 2xx"));
    let silent = spoiled(|lane| {
        lane.ops.push(cut(op(Deed::Remember, "m-9", "i-12")));
        lane.looks[3].ops = 13;
    });
    assert!(violation(&silent).contains("no answer, and nobody had killed the target"));
    let never = spoiled(|lane| lane.kills[2].ready_us = None);
    assert!(violation(&never).contains("not ready again after the KILL at 10 us"));
}

#[test]
fn a_list_that_is_none_is_a_violation() {
    let seen = spoiled(|lane| {
        let listed = lane.looks[3].lists.get_mut(&List::Approvals).unwrap();
        (listed.status, listed.rows) = (503, None);
    });
    assert!(violation(&seen).contains("the open approvals got 503, expected 200 with all"));
}

#[test]
fn what_did_not_occur_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.undecided.len(), Deed::WEIGHTS.len() + 3);
    let steady = spoiled(|lane| lane.kills[1].offset_ms = 4_000);
    let judgement = judge(&steady);
    assert!(
        judgement
            .undecided
            .iter()
            .any(|text| text.starts_with("no look after a KILL at tasks that stand against"))
    );
}

#[test]
fn evidence_survives_storage() {
    let stored = serde_json::to_value(good()).unwrap();
    let again: Evidence = serde_json::from_value(stored).unwrap();
    assert_eq!(again, good());
}
