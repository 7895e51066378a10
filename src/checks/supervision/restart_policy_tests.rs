use super::super::kills::tests::starts;
use super::super::recovery::tests::happened;
use super::*;

/// Killed at once, restarted 65, 125 and 245 ms later, and a last time after the window.
fn good() -> Evidence {
    let kinds = [
        "started",
        "unreachable",
        "restarted",
        "unreachable",
        "restarted",
        "unreachable",
        "restarted",
        "unreachable",
        "exhausted",
        "restarted",
        "healthy",
    ];
    Evidence {
        starts: starts(&[1000, 1007, 1020, 1045, 1331]),
        end: Some(End::Exhausted),
        waited: true,
        events: Some(happened(SERVICE, &kinds)),
    }
}

fn events(seen: &mut Evidence) -> &mut Vec<Happened> {
    seen.events.as_mut().unwrap()
}

fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

fn one(change: impl FnOnce(&mut Evidence), expected: &str) {
    let found = violations(change);
    assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
}

#[test]
fn three_restarts_an_end_and_one_after_the_window_are_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("exhausted", 1), ("rearmed", 1), ("restarts", 3)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_fourth_restart_before_the_window_ends_is_a_violation() {
    let found = violations(|seen| seen.starts[4].started_ticks = 1200);
    assert!(found[0].contains("got 4 restarts, expected 3"), "{found:?}");
    let found = violations(|seen| {
        seen.starts = starts(&[1000, 1007, 1020, 1045, 1070]);
        seen.end = Some(End::Enough);
    });
    assert!(found[0].contains("got 4 restarts, expected 3"), "{found:?}");
}

#[test]
fn a_restart_before_its_back_off_is_a_violation() {
    one(
        |seen| seen.starts[3].started_ticks = 1040,
        "got 200 ms, expected 240 or more",
    );
    // Two ticks are what rounding may take.
    assert_eq!(
        violations(|seen| seen.starts[3].started_ticks = 1043),
        [""; 0]
    );
}

#[test]
fn no_restart_at_all_too_few_and_none_after_the_window_are_violations() {
    one(
        |seen| {
            seen.starts.truncate(1);
            seen.end = Some(End::Nothing);
        },
        "got no restart within",
    );
    one(
        |seen| {
            seen.starts.remove(3);
            events(seen).remove(6);
        },
        "when the budget was spent: got 2, expected 3",
    );
    one(
        |seen| {
            seen.starts.pop();
            events(seen).remove(9);
        },
        "after the window of 3000 ms: got no restart",
    );
    one(
        |seen| {
            seen.starts.truncate(3);
            seen.end = Some(End::Nothing);
            seen.events = None;
        },
        "neither another one nor an end",
    );
}

#[test]
fn events_are_told_once_each() {
    one(
        |seen| drop(events(seen).remove(8)),
        "exhausted events of one window: got 0",
    );
    one(
        |seen| drop(events(seen).remove(2)),
        "restarted events: got 3, expected 4",
    );
}

#[test]
fn a_loop_so_slow_that_the_window_slid_exercises_nothing_but_is_no_violation() {
    let seen = Evidence {
        starts: starts(&[1000, 1100, 1200, 1300, 1420]),
        end: Some(End::Enough),
        waited: false,
        events: Some(happened(SERVICE, &["restarted"; 4])),
    };
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["exhausted"], 0);
}

#[test]
fn events_that_nobody_asked_for_are_no_violation() {
    let judgement = violations(|seen| (seen.events, seen.waited) = (None, false));
    assert_eq!(judgement, [""; 0]);
}
