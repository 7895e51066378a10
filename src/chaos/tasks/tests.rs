//! Evidence written by hand: a good one, and its bad twins.

use serde_json::json;

use super::asked::Wanted;
use super::*;

/// A request of a racer from `at` on, answered 10 us later.
fn asked(racer: usize, verb: Verb, at: u64) -> Asked {
    Asked {
        racer,
        wanted: Wanted::bare(verb),
        invoked_us: at,
        returned_us: Some(at + 10),
        status: 200,
        code: String::new(),
        told: Value::Null,
    }
}

fn task(id: &str, version: u64, name: &str) -> Value {
    json!({"task_id": id, "version": version, "name": name, "metadata": {}})
}

fn made(racer: usize, id: &str, at: u64) -> Asked {
    let mut asked = asked(racer, Verb::Create, at);
    asked.wanted.name = Some("first".into());
    asked.status = 201;
    asked.told = task(id, 1, "first");
    asked
}

fn renamed(racer: usize, id: &str, version: u64, at: u64) -> Asked {
    let mut asked = asked(racer, Verb::Update, at);
    let name = format!("by {racer}");
    asked.wanted.version = Some(version);
    asked.told = task(id, version + 1, &name);
    asked.wanted.name = Some(name);
    asked
}

fn deleted(racer: usize, id: &str, version: u64, at: u64) -> Asked {
    let mut asked = asked(racer, Verb::Delete, at);
    asked.told = json!({"task_id": id, "version": version});
    asked
}

fn read(id: &str, version: u64, name: &str, at: u64) -> Asked {
    let mut asked = asked(0, Verb::Read, at);
    asked.told = task(id, version, name);
    asked
}

/// The same request, refused.
fn refused(mut asked: Asked, status: u16, code: &str, told: Value) -> Asked {
    (asked.status, asked.code, asked.told) = (status, code.into(), told);
    asked
}

fn not_found(asked: Asked) -> Asked {
    refused(asked, 404, "TASK_NOT_FOUND", json!({}))
}

fn gone(asked: Asked, id: &str, version: u64) -> Asked {
    refused(
        asked,
        409,
        "TASK_GONE",
        json!({"task_id": id, "version": version}),
    )
}

fn round(id: &str, sort: Sort) -> Round {
    Round {
        id: id.into(),
        sort,
        before: Vec::new(),
        race: Vec::new(),
        after: Vec::new(),
        kill: None,
    }
}

/// Two creators of `t-create`, one of whom renames it.
fn creates() -> Round {
    let id = "t-create";
    let lost = refused(made(2, id, 100), 409, "TASK_EXISTS", task(id, 1, "first"));
    let mut list = asked(0, Verb::List, 300);
    list.told = task(id, 2, "by 1");
    Round {
        race: vec![made(1, id, 100), lost, renamed(1, id, 1, 200)],
        after: vec![list],
        ..round(id, Sort::Create)
    }
}

/// Two updates of the first version of `t-update`.
fn updates() -> Round {
    let id = "t-update";
    let lost = refused(
        renamed(2, id, 1, 100),
        409,
        "VERSION_CONFLICT",
        task(id, 2, "by 1"),
    );
    Round {
        before: vec![made(0, id, 50)],
        race: vec![renamed(1, id, 1, 100), lost],
        after: vec![read(id, 2, "by 1", 300)],
        ..round(id, Sort::Update)
    }
}

/// Two deletions of `t-delete`, and a third that makes it again in vain.
fn deletes() -> Round {
    let id = "t-delete";
    Round {
        before: vec![made(0, id, 50)],
        race: vec![
            deleted(1, id, 2, 100),
            not_found(deleted(2, id, 2, 100)),
            gone(made(3, id, 200), id, 2),
        ],
        after: vec![
            not_found(renamed(0, id, 2, 300)),
            not_found(read(id, 2, "first", 320)),
        ],
        ..round(id, Sort::Delete)
    }
}

/// An update and a deletion of `t-cut`; the deletion was never answered, and it happened.
fn cut() -> Round {
    let id = "t-cut";
    let mut deletion = asked(2, Verb::Delete, 1_005);
    (deletion.returned_us, deletion.status) = (None, 0);
    Round {
        before: vec![made(0, id, 950)],
        race: vec![renamed(1, id, 1, 1_000), deletion],
        after: vec![not_found(read(id, 2, "by 1", 2_100))],
        kill: Some(0),
        ..round(id, Sort::Mixed)
    }
}

fn look(source: Source, at: u64) -> Look {
    let mut rows = vec![
        Row(task("t-create", 2, "by 1"), false),
        Row(task("t-update", 2, "by 1"), false),
    ];
    if source == Source::Database {
        rows.push(Row(task("t-delete", 2, "first"), true));
        rows.push(Row(task("t-cut", 3, "by 1"), true));
    }
    Look {
        source,
        invoked_us: at,
        returned_us: at + 20,
        rows,
        trouble: None,
    }
}

fn good() -> Evidence {
    Evidence {
        rounds: vec![creates(), updates(), deletes(), cut()],
        kills: vec![Kill {
            signal_us: 1_020,
            ready_us: Some(2_000),
        }],
        looks: vec![look(Source::List, 2_010), look(Source::Database, 2_050)],
    }
}

fn spoiled(spoil: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut seen = good();
    spoil(&mut seen);
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

#[test]
fn one_order_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let exercised = |what: &str| judgement.exercised[what];
    assert_eq!(
        exercised("rounds"),
        3,
        "the cut race has one answered mutation"
    );
    assert_eq!(exercised("overlapping_pairs"), 3);
    assert_eq!(exercised("kills"), 1);
    let detail = "3 races, 18 requests, 3 overlapping pairs, 1 kills, 1 of them inside a mutation: \
                  0 violations; at 95 % at most 63.16 % of races go wrong";
    assert_eq!(judgement.detail, detail);
}

#[test]
fn two_deletions_win() {
    let seen = spoiled(|seen| seen.rounds[2].race[1] = deleted(2, "t-delete", 2, 100));
    says(&seen, "t-delete: 2 deletions won, expected 1");
    says(
        &seen,
        "2 winners of version 2, expected 1: delete by racer 1 got 200 (version 2); ",
    );
    says(&seen, "no order of the 8 answers explains them");
}

#[test]
fn a_deleted_task_is_made_again() {
    let seen = spoiled(|seen| seen.rounds[2].race[2] = made(3, "t-delete", 200));
    says(&seen, "t-delete: no order of the 8 answers explains them");
    let next = spoiled(|seen| {
        let again = &mut seen.rounds[2].race[2];
        *again = made(3, "t-delete", 200);
        again.told["version"] = json!(3);
    });
    says(
        &next,
        "nothing allows create by racer 3 got 201 (version 3)",
    );
}

#[test]
fn an_update_brings_a_deleted_task_back() {
    let seen = spoiled(|seen| seen.rounds[2].after[0] = renamed(0, "t-delete", 2, 300));
    assert!(violation(&seen).contains("nothing allows update by racer 0 at version 2 got 200"));
}

#[test]
fn an_update_is_lost() {
    let seen = spoiled(|seen| seen.rounds[1].race[1] = renamed(2, "t-update", 1, 100));
    says(&seen, "t-update: 2 winners of version 2, expected 1");
    says(&seen, "no order of the 6 answers explains them");
}

#[test]
fn a_loser_is_told_of_another_task_or_of_none() {
    let earlier = spoiled(|seen| {
        seen.rounds[1].race[1].told = task("t-update", 1, "first");
    });
    assert!(violation(&earlier).contains("nothing allows update by racer 2"));
    let another = spoiled(|seen| seen.rounds[1].race[1].told["task_id"] = json!("t-create"));
    assert!(violation(&another).contains("expected the task t-update"));
    let none = spoiled(|seen| seen.rounds[0].race[1].told = json!({}));
    assert!(violation(&none).contains("tells {}, expected the task t-create"));
}

#[test]
fn a_loser_gets_another_refusal() {
    let seen = spoiled(|seen| seen.rounds[2].race[1].status = 410);
    let words = "delete by racer 2 got 410 TASK_NOT_FOUND, expected 200 or 404 TASK_NOT_FOUND";
    assert_eq!(violation(&seen), format!("t-delete: {words}"));
    let busy = spoiled(|seen| {
        let lost = &mut seen.rounds[0].race[1];
        *lost = refused(lost.clone(), 503, "STORE_UNAVAILABLE", json!({}));
    });
    assert!(violation(&busy).contains("got 503 STORE_UNAVAILABLE, expected 201 or 409"));
}

#[test]
fn a_request_is_never_answered_though_nobody_killed_the_target() {
    let silent = |asked: &mut Asked| (asked.returned_us, asked.status) = (None, 0);
    let seen = spoiled(|seen| silent(&mut seen.rounds[1].after[0]));
    assert!(violation(&seen).contains("read by racer 0 got no answer, and nobody had killed"));
    let later = spoiled(|seen| silent(&mut seen.rounds[3].after[0]));
    assert!(violation(&later).contains("t-cut: read by racer 0 got no answer"));
}

#[test]
fn a_phantom_is_in_the_list_or_in_the_database() {
    let unasked = Row(task("t-nobody", 1, "first"), false);
    for at in [0, 1] {
        let seen = spoiled(|seen| seen.looks[at].rows.push(unasked.clone()));
        assert!(violation(&seen).contains("a task that nobody asked for"));
        let seen = spoiled(|seen| {
            let row = seen.looks[at].rows[0].clone();
            seen.looks[at].rows.push(row);
        });
        assert!(violation(&seen).contains("has t-create twice"));
    }
    let listed = spoiled(|seen| {
        let row = Row(task("t-delete", 1, "first"), false);
        seen.looks[0].rows.push(row);
    });
    assert!(
        violation(&listed).contains("t-delete: no order"),
        "a deleted one is listed"
    );
    let alive = spoiled(|seen| seen.looks[1].rows[2].1 = false);
    assert!(violation(&alive).contains("nothing allows the Database at 2070 us"));
}

#[test]
fn what_was_acknowledged_is_lost_by_the_kill() {
    for at in [0, 1] {
        let seen = spoiled(|seen| drop(seen.looks[at].rows.remove(1)));
        assert!(violation(&seen).contains("t-update: no order of the 6 answers"));
        let seen = spoiled(|seen| seen.looks[at].rows[1].0 = task("t-update", 1, "first"));
        assert!(violation(&seen).contains("t-update: no order of the 6 answers"));
    }
    let forgotten = spoiled(|seen| drop(seen.looks[1].rows.remove(2)));
    assert!(
        violation(&forgotten).contains("t-delete: no order"),
        "no tombstone"
    );
}

#[test]
fn what_was_cut_may_have_happened_or_not_but_not_half() {
    let undone = spoiled(|seen| {
        seen.looks[1].rows[3] = Row(task("t-cut", 2, "by 1"), false);
        seen.looks[0]
            .rows
            .push(Row(task("t-cut", 2, "by 1"), false));
        seen.rounds[3].after = vec![read("t-cut", 2, "by 1", 2_100)];
    });
    assert_eq!(judge(&undone).violations, [""; 0]);
    let half = spoiled(|seen| {
        seen.looks[0]
            .rows
            .push(Row(task("t-cut", 2, "by 1"), false));
    });
    // The list was read before the database: then nothing was under way that could have deleted it.
    assert_eq!(
        judge(&half).violations,
        [""; 0],
        "an open deletion may take effect between"
    );
    let back = spoiled(|seen| {
        seen.rounds[3].after = vec![read("t-cut", 2, "by 1", 2_100)];
    });
    assert!(
        violation(&back).contains("t-cut: no order"),
        "deleted in the database, and read"
    );
}

#[test]
fn a_kill_between_two_mutations_does_not_count() {
    let late = spoiled(|seen| seen.kills[0].signal_us = 1_004);
    assert_eq!(judge(&late).exercised["kills"], 0);
    let never = spoiled(|seen| seen.kills[0].ready_us = None);
    assert!(violation(&never).contains("not ready again after the kill at 1020 us"));
}

#[test]
fn what_did_not_occur_is_undecided() {
    let undecided = |seen: &Evidence| {
        let judgement = judge(seen);
        assert_eq!(judgement.violations, [""; 0]);
        judgement.undecided
    };
    assert_eq!(
        undecided(&Evidence::default()).len(),
        4 + EXPECTED.len() + 2
    );
    let unlooked = spoiled(|seen| drop(seen.looks.remove(1)));
    assert_eq!(
        undecided(&unlooked),
        ["the Database was not read after a kill"]
    );
    let early = spoiled(|seen| seen.looks[0].invoked_us = 1_990);
    assert_eq!(undecided(&early), ["the List was not read after a kill"]);
    let no_create = spoiled(|seen| drop(seen.rounds.remove(0)));
    let of = |what: &str| undecided_of(&no_create, what);
    assert!(of("no Create race") && of("no Create was answered by TASK_EXISTS"));
}

fn undecided_of(seen: &Evidence, what: &str) -> bool {
    judge(seen).undecided.iter().any(|text| text == what)
}

#[test]
fn a_look_that_failed_is_a_violation() {
    let seen = spoiled(|seen| {
        let look = &mut seen.looks[1];
        (look.trouble, look.rows) = (Some("no such table: tasks".into()), Vec::new());
    });
    says(
        &seen,
        "the Database at 2070 us cannot be read: no such table: tasks",
    );
}

#[test]
fn many_violations_are_counted_not_listed() {
    let seen = spoiled(|seen| {
        let phantom = |number| Row(task(&format!("t-{number}"), 1, "first"), false);
        seen.looks[0].rows.extend((0..30).map(phantom));
    });
    let violations = judge(&seen).violations;
    assert_eq!(violations.len(), 21);
    assert_eq!(violations[20], "and 10 more violations");
}

#[test]
fn evidence_survives_storage() {
    let stored = serde_json::to_value(good()).unwrap();
    let again: Evidence = serde_json::from_value(stored).unwrap();
    assert_eq!(again, good());
}
