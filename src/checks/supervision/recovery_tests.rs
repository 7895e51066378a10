use serde_json::json;

use super::*;
use crate::target::Process;

pub(in crate::checks::supervision) fn standing(state: &str, pid: u32, ticks: u64) -> Standing {
    Standing {
        state: state.to_owned(),
        pid: Some(pid),
        url: Some("http://127.0.0.1:4".to_owned()),
        restart: "armed".to_owned(),
        process: Some(Process {
            pid,
            parent: 1,
            started_ticks: ticks,
        }),
        at_ticks: ticks + 5,
    }
}

pub(in crate::checks::supervision) fn happened(service: &str, kinds: &[&str]) -> Vec<Happened> {
    let event = |(at, kind): (usize, &&str)| Happened {
        seq: at as u64 + 1,
        kind: (*kind).to_owned(),
        service: service.to_owned(),
    };
    kinds.iter().enumerate().map(event).collect()
}

fn healthz(service: &str) -> Sent {
    serde_json::from_value(json!({
        "service": service, "method": "GET", "path": "/healthz", "actor": null, "role": null,
        "id": "cor_1", "invoked_us": 1, "returned_us": 2, "status": 200,
        "answer": {"ok": true, "service": service},
    }))
    .unwrap()
}

pub(in crate::checks::supervision) fn good(service: &str) -> Recovery {
    Recovery {
        service: service.to_owned(),
        before: Some(standing("healthy", 10, 100)),
        answered_before: Some(healthz(service)),
        killed_ticks: Some(200),
        after: Some(standing("healthy", 11, 210)),
        answered_after: Some(healthz(service)),
        events: happened(service, &COURSE),
    }
}

/// The violations of a good one that `change` made bad, and whether it was followed to its end.
fn judged(change: impl FnOnce(&mut Recovery)) -> (Vec<String>, bool) {
    let mut seen = good("openclaw");
    change(&mut seen);
    let mut judgement = Judgement::default();
    let followed = seen.judge(&mut judgement);
    (judgement.violations, followed)
}

fn one(change: impl FnOnce(&mut Recovery), expected: &str) {
    let (found, _) = judged(change);
    assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
}

#[test]
fn one_that_comes_back_is_no_violation() {
    assert_eq!(judged(|_| {}), (Vec::new(), true));
    assert_eq!(good("openclaw").healthy_looks(), 2);
}

#[test]
fn one_that_never_was_well_or_never_is_again_is_a_violation() {
    one(
        |seen| seen.before = Some(standing("degraded", 10, 100)),
        "got state degraded, expected healthy",
    );
    one(
        |seen| seen.after.as_mut().unwrap().state = "unreachable".into(),
        "got state unreachable",
    );
}

#[test]
fn a_process_that_is_old_or_not_there_is_a_violation() {
    one(
        |seen| {
            let after = seen.after.as_mut().unwrap();
            (after.pid, after.process) = (Some(12), None);
        },
        "does not run as one of the target's",
    );
    one(
        |seen| seen.after = Some(standing("healthy", 11, 199)),
        "was started at 199, expected 200",
    );
    let (found, _) = judged(|seen| {
        let after = seen.after.as_mut().unwrap();
        (after.pid, after.process) = (Some(10), None);
    });
    assert!(
        found[0].contains("got process 10, expected another one"),
        "{found:?}"
    );
}

#[test]
fn events_that_lack_come_twice_or_in_another_order_are_violations() {
    one(|seen| seen.events = Vec::new(), "got 0 restarted events");
    one(
        |seen| seen.events.extend(happened("openclaw", &["restarted"])),
        "got 2 restarted events",
    );
    one(|seen| seen.events.swap(0, 1), "got events [\"unreachable\"");
    one(
        |seen| drop(seen.events.remove(1)),
        "got events [\"degraded\", \"restarted\"",
    );
}

#[test]
fn another_answer_or_another_name_is_a_violation() {
    one(
        |seen| seen.answered_after = Some(healthz("eva-os")),
        "by eva-os: expected 200 by openclaw",
    );
    one(
        |seen| seen.answered_after.as_mut().unwrap().status = 503,
        "503",
    );
}

#[test]
fn one_without_an_end_is_not_followed() {
    for change in [
        |seen: &mut Recovery| seen.before = None,
        |seen: &mut Recovery| seen.killed_ticks = None,
        |seen: &mut Recovery| seen.after = None,
    ] {
        assert_eq!(judged(change), (Vec::new(), false));
    }
}
