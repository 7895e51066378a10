use super::super::kills::tests::starts;
use super::super::recovery::tests::standing;
use super::*;

fn good() -> Evidence {
    let mut before = starts(&[1000, 1007, 1020, 1050]);
    before[3].killed_ticks = Some(1051);
    Evidence {
        before,
        spent: Some(End::Exhausted),
        kills: 1,
        after: starts(&[1100, 1531]),
        still: Some(End::Exhausted),
        waited: true,
        corrupted: Some(Corrupted {
            pages: 1,
            said: Some(("degraded".into(), "unreadable".into())),
            starts: vec![Start {
                killed_ticks: Some(1601),
                ..starts(&[1600])[0].clone()
            }],
            end: Some(End::Refused),
            last: Some(standing("unreachable", 9, 1600)),
        }),
    }
}

fn one(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut seen = good();
    change(&mut seen);
    let found = judge(&seen).violations;
    assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
}

fn corrupted(seen: &mut Evidence) -> &mut Corrupted {
    seen.corrupted.as_mut().unwrap()
}

#[test]
fn a_budget_that_stays_spent_and_a_store_that_refuses_are_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("corrupted", 1), ("exhausted", 1), ("kills", 1)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_restart_before_the_window_ends_and_none_after_it_are_violations() {
    one(
        |seen| seen.after[1].started_ticks = 1110,
        "came 1130 ms after the first restart, expected 5000",
    );
    one(
        |seen| seen.after.truncate(1),
        "after the window of 5000 ms: got no restart",
    );
}

#[test]
fn a_budget_of_another_size_is_a_violation() {
    one(|seen| seen.before.truncate(3), "got 2, expected 3");
    one(
        |seen| seen.spent = Some(End::Enough),
        "expected the budget to be spent",
    );
}

#[test]
fn a_store_that_cannot_be_read_and_restarts_or_says_nothing_is_a_violation() {
    one(
        |seen| corrupted(seen).starts.extend(starts(&[1620])),
        "got 1 restarts, expected 0",
    );
    for said in [("healthy", "unreadable"), ("degraded", "ok")] {
        one(
            |seen| corrupted(seen).said = Some((said.0.into(), said.1.into())),
            "expected degraded and not ok",
        );
    }
    one(
        |seen| corrupted(seen).last = Some(standing("healthy", 9, 1600)),
        "got state healthy, expected unreachable",
    );
}

#[test]
fn what_was_not_reached_is_not_counted() {
    let mut seen = good();
    // The window was over before the service went down again.
    seen.after = starts(&[1600, 1650]);
    assert_eq!(judge(&seen).exercised["kills"], 0);
    corrupted(&mut seen).pages = 0;
    assert_eq!(judge(&seen).exercised["corrupted"], 0);
    seen.spent = None;
    let judgement = judge(&seen);
    assert_eq!(
        (judgement.exercised["exhausted"], judgement.violations.len()),
        (0, 0)
    );
}

#[test]
fn a_spoilt_table_cannot_be_read_and_its_neighbours_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("eva-os.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE restart_budgets (at_us INTEGER); CREATE TABLE tasks (id TEXT);
         INSERT INTO restart_budgets VALUES (1); INSERT INTO tasks VALUES ('a');",
    )
    .unwrap();
    drop(db);
    assert_eq!(spoil(&path, Seed(7)).unwrap(), 1);
    let db = Connection::open(&path).unwrap();
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        db.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    assert!(count("restart_budgets").is_err());
    assert_eq!(count("tasks").unwrap(), 1);
}
