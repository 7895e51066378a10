//! Evidence written by hand: one good run, and beside it what each broken store would have shown.

use serde_json::{Value, json};

use super::expiry::{Held, Look, Row};
use super::unwritable::Blocked;
use super::{Evidence, expiry, judge, unwritable};
use crate::chaos::crash::Moment;
use crate::chaos::keyed::operations::{Backends, Operation, Route, Seen, Sort, Try};
use crate::chaos::keyed::survival::{Kill, Lane, RESUME_BOUND_US, Subject};
use crate::checks::Judgement;

const MS: u64 = 1000;

/// An answer in the words of a test: status, replayed, body.
type Told = (u16, bool, Value);

fn executed(id: &str) -> Value {
    json!({"ok": true, "operation_id": id, "status": "succeeded", "result": {"bytes": 0}})
}

fn refused(code: &str) -> Value {
    json!({"ok": false, "error": {"code": code}})
}

fn in_progress() -> Told {
    (409, false, refused("KEY_IN_PROGRESS"))
}

fn reused() -> Told {
    (422, false, refused("KEY_REUSED"))
}

/// An operation with one tool call and these requests, as (sort, sent at ms, told); each took 1 ms.
fn asked(route: Route, key: &str, tries: Vec<(Sort, u64, Option<Told>)>) -> Operation {
    let mut operation = Operation::new(route, key, usize::from(route != Route::Session));
    for (sort, at_ms, told) in tries {
        let mut entry = Try {
            sort,
            invoked_us: at_ms * MS,
            returned_us: None,
            status: 0,
            replayed: false,
            retry_after: None,
            body: None,
            error: Some("connection reset".to_owned()),
        };
        if let Some((status, replayed, body)) = told {
            let known = operation.bodies.iter().position(|one| *one == body);
            entry.returned_us = Some(at_ms * MS + MS);
            (entry.status, entry.replayed, entry.error) = (status, replayed, None);
            entry.retry_after = matches!(status, 409 | 503).then(|| "1".to_owned());
            entry.body = Some(known.unwrap_or(operation.bodies.len()));
            if known.is_none() {
                operation.bodies.push(body);
            }
        }
        operation.tries.push(entry);
    }
    operation
}

/// A call of this key's operation, had and answered 1 and 2 ms later, unless it was cut.
fn call(key: &str, id: &str, at_ms: u64, cut: bool) -> Seen {
    Seen {
        at_us: at_ms * MS,
        key: Some(id.to_owned()),
        body: json!({"tool_name": "file.read", "args": {"path": format!("{key}/1.txt")}}),
        committed_us: (!cut).then_some((at_ms + 1) * MS),
        answered_us: (!cut).then_some((at_ms + 2) * MS),
    }
}

/// One KILL at 100 ms: `done` was answered before it, `cut` had a call at its double.
fn lane() -> Lane {
    let stored = || Some((200, true, executed("op_1")));
    let first = Some((200, false, executed("op_1")));
    let done = asked(
        Route::Execute,
        "done",
        vec![
            (Sort::First, 10, first),
            (Sort::Repeat, 200, stored()),
            (Sort::Other, 210, Some(reused())),
        ],
    );
    let late = || Some((200, true, executed("op_2")));
    let cut = asked(
        Route::Execute,
        "cut",
        vec![
            (Sort::First, 50, None),
            (Sort::Repeat, 130, Some(in_progress())),
            (Sort::Other, 132, Some(reused())),
            (Sort::Repeat, 150, late()),
            (Sort::Repeat, 220, late()),
        ],
    );
    let mut cut = Subject::new(cut, Some(0));
    cut.held_again = Some((125 * MS, 140 * MS));
    cut.waited_us = 30 * MS;
    Lane {
        subjects: vec![Subject::new(done, None), cut],
        kills: vec![Kill {
            moment: Moment::Arrived,
            reached_us: Some(60 * MS),
            locked: None,
            killed_us: 100 * MS,
            ready_us: Some(120 * MS),
        }],
        backends: Backends {
            models: Vec::new(),
            tools: vec![
                call("done", "op_1", 11, false),
                call("cut", "op_2", 55, true),
                call("cut", "op_2", 125, false),
            ],
        },
    }
}

fn look(at_ms: u64, waited_ms: u64, rows: &[(&str, &str)]) -> Look {
    let row = |(key, state): &(&str, &str)| Row {
        key: (*key).to_owned(),
        state: (*state).to_owned(),
    };
    Look {
        service: "openclaw".to_owned(),
        from_us: at_ms * MS,
        to_us: (at_ms + 1) * MS,
        rows: rows.iter().map(row).collect(),
        waited_us: waited_ms * MS,
        error: None,
    }
}

/// A TTL of 100 ms: `aged` begins at 10 ms, `held` is held from 5 to 300 ms, `young` is made later.
fn times() -> expiry::Evidence {
    let first = |id| Some((200, false, executed(id)));
    let stored = |id| Some((200, true, executed(id)));
    let aged = asked(
        Route::Execute,
        "aged",
        vec![
            (Sort::First, 10, first("op_3")),
            (Sort::Repeat, 50, stored("op_3")),
            (Sort::Repeat, 120, first("op_4")),
            (Sort::Repeat, 130, stored("op_4")),
        ],
    );
    let mut held = asked(
        Route::Execute,
        "held",
        vec![
            (Sort::Repeat, 20, Some(in_progress())),
            (Sort::Repeat, 250, Some(in_progress())),
            (Sort::First, 300, first("op_5")),
        ],
    );
    held.tries[2].invoked_us = 4 * MS;
    let young = asked(
        Route::Execute,
        "young",
        vec![(Sort::First, 150, first("op_6"))],
    );
    let (done, running) = ("done", "in_progress");
    expiry::Evidence {
        ttl_ms: 100,
        prune_interval_ms: 50,
        aged: vec![aged],
        rows: vec![young],
        held: Some(Held {
            asked: held,
            held: (5 * MS, Some(300 * MS)),
        }),
        looks: vec![
            look(60, 0, &[("aged", done), ("held", running)]),
            look(240, 0, &[("held", running), ("young", done)]),
            look(260, 0, &[("held", running)]),
        ],
        backends: Backends {
            models: Vec::new(),
            tools: vec![
                call("held", "op_5", 5, false),
                call("aged", "op_3", 11, false),
                call("aged", "op_4", 121, false),
                call("young", "op_6", 151, false),
            ],
        },
    }
}

/// The database is locked from 10 to 50 ms.
fn locks() -> unwritable::Evidence {
    let refused = (503, false, refused("STORE_UNAVAILABLE"));
    let blocked = asked(
        Route::Execute,
        "blocked",
        vec![
            (Sort::First, 20, Some(refused)),
            (Sort::Repeat, 60, Some((200, false, executed("op_7")))),
            (Sort::Repeat, 70, Some((200, true, executed("op_7")))),
        ],
    );
    unwritable::Evidence {
        blocked: vec![Blocked {
            asked: blocked,
            locked: (10 * MS, Some(50 * MS)),
        }],
        backends: Backends {
            models: Vec::new(),
            tools: vec![call("blocked", "op_7", 61, false)],
        },
    }
}

fn good() -> Evidence {
    Evidence {
        lanes: vec![lane()],
        expiry: times(),
        unwritable: locks(),
    }
}

/// What the judge says of the good run after this change.
fn after(change: impl FnOnce(&mut Evidence)) -> Judgement {
    let mut seen = good();
    change(&mut seen);
    judge(&seen)
}

fn refutes(what: &str, change: impl FnOnce(&mut Evidence)) {
    let judgement = after(change);
    let found = judgement.violations.iter().any(|text| text.contains(what));
    assert!(
        found,
        "no violation with `{what}` among {:#?}",
        judgement.violations
    );
}

fn replace(operation: &mut Operation, nth: usize, told: Option<Told>) {
    let Try {
        sort, invoked_us, ..
    } = operation.tries[nth];
    let fresh = asked(
        operation.route,
        &operation.key,
        vec![(sort, invoked_us / MS, told)],
    );
    operation.tries.remove(nth);
    operation.append(fresh);
    let last = operation.tries.pop().unwrap();
    operation.tries.insert(nth, last);
}

#[test]
fn a_good_run_has_its_numbers_and_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(
        judgement.detail,
        "6 keys, 6 replays (2 after a KILL); 1 kills inside an operation cut 1 of them; second \
         effects: got 0, expected 0 (below 95.0 % of cut operations at 95 %); 1 executions after \
         the TTL, 2 rows pruned, 1 refused without a store"
    );
    for (name, count) in [
        ("kills_inside_operation", 1),
        ("kill_moments", 1),
        ("replays_after_kill", 2),
        ("key_in_progress", 3),
        ("key_reused", 2),
        ("executions_after_ttl", 1),
        ("rows_pruned", 2),
        ("rows_kept", 5),
        ("refused_by_store", 1),
    ] {
        assert_eq!(judgement.exercised[name], count, "{name}");
    }
}

#[test]
fn evidence_comes_back_from_its_file() {
    let seen = good();
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), seen);
    assert_eq!(judge(&seen), judge(&serde_json::from_str(&text).unwrap()));
}

#[test]
fn nothing_seen_is_nothing_exercised() {
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.violations, [""; 0]);
    assert!(
        judgement.exercised.values().all(|count| *count == 0),
        "{:?}",
        judgement.exercised
    );
}

#[test]
fn a_memory_map_forgets_an_answer() {
    let again = |seen: &mut Evidence| {
        let lane = &mut seen.lanes[0];
        let told = Some((200, false, executed("op_9")));
        replace(&mut lane.subjects[0].asked, 1, told);
        lane.backends.tools.push(call("done", "op_9", 201, false));
    };
    refutes("under done: 1 second effects, expected 0", again);
    refutes(
        "a repeat got 200 with another body, expected the stored 200",
        again,
    );
    refutes("the history of key done has no legal order", again);
}

#[test]
fn a_repeat_that_overwrites_the_first_answer_is_seen_by_the_answer_alone() {
    refutes("a repeat got 200 (replayed) with another body", |seen| {
        let told = Some((200, true, executed("op_9")));
        replace(&mut seen.lanes[0].subjects[0].asked, 1, told);
    });
    refutes("expected the stored 200", |seen| {
        let told = Some((200, true, executed("op_9")));
        replace(&mut seen.lanes[0].subjects[1].asked, 4, told);
    });
}

#[test]
fn a_dropped_row_lets_the_cut_request_run_again() {
    let again = |seen: &mut Evidence| {
        let lane = &mut seen.lanes[0];
        replace(
            &mut lane.subjects[1].asked,
            1,
            Some((200, false, executed("op_9"))),
        );
        lane.backends.tools.push(call("cut", "op_9", 131, false));
    };
    refutes("under cut: 1 second effects, expected 0", again);
    refutes(
        "after the KILL the same request got 200, expected KEY_IN_PROGRESS",
        again,
    );
    refutes("calls under the keys [\"op_2\", \"op_2\", \"op_9\"]", again);
    // A decision cannot run twice; that its key was dropped is seen by what the repeat is told.
    refutes(
        "got 409 ALREADY_DECIDED, expected KEY_IN_PROGRESS",
        |seen| {
            let told = Some((409, false, refused("ALREADY_DECIDED")));
            replace(&mut seen.lanes[0].subjects[1].asked, 1, told);
        },
    );
}

#[test]
fn a_cut_operation_is_resumed_under_its_own_id_and_ends() {
    refutes("one key and one body", |seen| {
        seen.lanes[0].backends.tools[2].body["args"]["text"] = json!("more");
    });
    refutes(
        "names operation op_2, which is the key of no call",
        |seen| {
            for call in &mut seen.lanes[0].backends.tools[1..] {
                call.key = Some("op_8".to_owned());
            }
        },
    );
    refutes("no stored answer 2000 ms after the KILL", |seen| {
        let cut = &mut seen.lanes[0].subjects[1];
        for nth in 3..5 {
            replace(&mut cut.asked, nth, Some(in_progress()));
        }
        cut.waited_us = RESUME_BOUND_US;
    });
    refutes("stored while the call was still held", |seen| {
        seen.lanes[0].subjects[1].held_again = Some((125 * MS, 160 * MS));
    });
    refutes("answered 200 with 0 effects", |seen| {
        seen.lanes[0].backends.tools[2].committed_us = None;
    });
}

#[test]
fn an_answer_on_its_way_is_stored_already() {
    let due = |seen: &mut Evidence| {
        let lane = &mut seen.lanes[0];
        lane.kills[0].moment = Moment::AnswerDue;
        lane.subjects[1].answer_due_us = Some(90 * MS);
        lane.subjects[1].held_again = None;
        lane.backends.tools.remove(2);
        lane.backends.tools[1] = call("cut", "op_2", 55, false);
    };
    refutes("KEY_IN_PROGRESS after the answer was on its way", due);
    let judgement = after(|seen| {
        due(seen);
        seen.lanes[0].subjects[1].asked.tries.remove(1);
    });
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["kills_inside_operation"], 1);
    refutes(
        "2 calls for one effect of an answered request, expected 1",
        |seen| {
            due(seen);
            seen.lanes[0]
                .backends
                .tools
                .push(call("cut", "op_2", 125, false));
        },
    );
}

#[test]
fn a_kill_counts_only_when_the_double_shows_that_it_was_inside() {
    let inside = |change: &dyn Fn(&mut Evidence)| {
        let judgement = after(|seen| change(seen));
        judgement.exercised["kills_inside_operation"]
    };
    assert_eq!(inside(&|_| {}), 1);
    assert_eq!(
        inside(&|seen| seen.lanes[0].backends.tools[1].at_us = 110 * MS),
        0
    );
    assert_eq!(
        inside(&|seen| seen.lanes[0].kills[0].moment = Moment::Committed),
        0
    );
    let committed = |seen: &mut Evidence| {
        seen.lanes[0].kills[0].moment = Moment::Committed;
        seen.lanes[0].backends.tools[1].committed_us = Some(57 * MS);
    };
    assert_eq!(inside(&committed), 1);
    let unstored = |seen: &mut Evidence, locked| {
        committed(seen);
        seen.lanes[0].kills[0].moment = Moment::Unstored;
        seen.lanes[0].kills[0].locked = Some(locked);
        seen.lanes[0].backends.tools[1].answered_us = Some(80 * MS);
    };
    assert_eq!(inside(&|seen| unstored(seen, (70 * MS, 101 * MS))), 1);
    assert_eq!(
        inside(&|seen| unstored(seen, (85 * MS, 101 * MS))),
        0,
        "answered before the lock"
    );
    assert_eq!(
        inside(&|seen| unstored(seen, (70 * MS, 90 * MS))),
        0,
        "unlocked before the KILL"
    );
}

#[test]
fn another_request_under_a_key_is_refused_and_never_runs() {
    refutes("another request got 200, expected 422 KEY_REUSED", |seen| {
        let told = Some((200, false, executed("op_9")));
        replace(&mut seen.lanes[0].subjects[1].asked, 2, told);
    });
    refutes(
        "1 calls of another request under the key, expected 0",
        |seen| {
            seen.lanes[0]
                .backends
                .tools
                .push(call("cut-other", "op_9", 133, false));
        },
    );
}

#[test]
fn an_ignored_ttl_replays_for_ever() {
    refutes(
        "replayed 2 times until 17 ms after the TTL of 100 ms, expected a new execution",
        |seen| {
            let stored = Some((200, true, executed("op_3")));
            replace(&mut seen.expiry.aged[0], 2, stored.clone());
            replace(&mut seen.expiry.aged[0], 3, stored);
            seen.expiry.backends.tools.remove(2);
        },
    );
}

#[test]
fn inside_the_ttl_nothing_runs_again_and_at_its_edge_either_is_right() {
    let again_at = |at_ms: u64| {
        after(|seen| {
            let again = &mut seen.expiry.aged[0].tries[2];
            (again.invoked_us, again.returned_us) = (at_ms * MS, Some((at_ms + 1) * MS));
        })
    };
    let early = again_at(70).violations;
    assert!(
        early
            .iter()
            .any(|text| text.contains("executed again with 37 ms of its TTL left"))
    );
    assert_eq!(again_at(109).violations, [""; 0]);
}

#[test]
fn after_the_ttl_the_execution_is_a_whole_one() {
    refutes(
        "after its TTL got 409 ALREADY_DECIDED, expected a full new execution",
        |seen| {
            let told = Some((409, false, refused("ALREADY_DECIDED")));
            replace(&mut seen.expiry.aged[0], 2, told);
        },
    );
    refutes("1 effects of 2 executions, expected 2", |seen| {
        seen.expiry.backends.tools.remove(2);
    });
}

#[test]
fn pruning_takes_expired_rows_and_no_others() {
    refutes("under young: no row in the table inside its TTL", |seen| {
        seen.expiry.looks[1].rows.pop();
    });
    refutes(
        "under held: no row in the table while in progress",
        |seen| {
            seen.expiry.looks[2].rows.clear();
        },
    );
    let stays = |waited_ms| {
        move |seen: &mut Evidence| {
            let rows = [("held", "in_progress"), ("young", "done")];
            seen.expiry.held.as_mut().unwrap().held.1 = Some(3000 * MS);
            seen.expiry.looks.push(look(2500, waited_ms, &rows));
        }
    };
    refutes(
        "under young: done in the table 2200 ms after its TTL",
        stays(2200),
    );
    let stalled = after(stays(300));
    assert_eq!(
        stalled.violations, [""; 0],
        "the harness itself did not run"
    );
    refutes("cannot be read: no such table", |seen| {
        seen.expiry.looks[0].error = Some("no such table".to_owned());
    });
}

#[test]
fn an_operation_in_progress_outlives_its_ttl() {
    refutes(
        "got 200 while its call was held, expected 409 KEY_IN_PROGRESS",
        |seen| {
            let held = &mut seen.expiry.held.as_mut().unwrap().asked;
            replace(held, 1, Some((200, false, executed("op_9"))));
        },
    );
    refutes(
        "2 calls while it was in progress past its TTL, expected 1",
        |seen| {
            seen.expiry
                .backends
                .tools
                .push(call("held", "op_9", 251, false));
        },
    );
}

#[test]
fn without_a_store_nothing_runs() {
    refutes(
        "1 calls at the doubles while the store could not be written, expected 0",
        |seen| {
            seen.unwritable
                .backends
                .tools
                .insert(0, call("blocked", "op_8", 22, false));
        },
    );
    refutes(
        "got 200 with Retry-After none, expected 503 STORE_UNAVAILABLE",
        |seen| {
            let told = Some((200, false, executed("op_8")));
            replace(&mut seen.unwritable.blocked[0].asked, 0, told);
        },
    );
    refutes("got no answer (connection reset)", |seen| {
        replace(&mut seen.unwritable.blocked[0].asked, 0, None);
    });
    refutes(
        "after the lock got 409 KEY_IN_PROGRESS, expected a new 200",
        |seen| {
            replace(
                &mut seen.unwritable.blocked[0].asked,
                1,
                Some(in_progress()),
            );
        },
    );
    let late = after(|seen| seen.unwritable.blocked[0].locked.1 = Some(15 * MS));
    assert_eq!(
        late.exercised["refused_by_store"], 0,
        "the lock had ended before the answer"
    );
    assert_eq!(late.undecided.len(), 1);
}

#[test]
fn a_target_that_runs_nothing_is_not_passed() {
    refutes("a new key, got 404, expected a new 200", |seen| {
        for subject in &mut seen.lanes[0].subjects {
            for nth in 0..subject.asked.tries.len() {
                replace(&mut subject.asked, nth, Some((404, false, Value::Null)));
            }
        }
    });
    let busy = after(|seen| {
        let told = Some((503, false, refused("SHED")));
        seen.lanes[0].subjects.truncate(1);
        seen.lanes[0].subjects[0].asked.tries.truncate(1);
        replace(&mut seen.lanes[0].subjects[0].asked, 0, told);
        seen.lanes[0].backends.tools.clear();
    });
    assert_eq!(busy.violations, [""; 0]);
    assert_eq!(busy.undecided.len(), 1, "{:?}", busy.undecided);
}
