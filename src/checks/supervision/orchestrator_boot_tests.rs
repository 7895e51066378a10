use serde_json::json;

use super::super::recovery::tests::standing;
use super::*;

fn answered() -> Sent {
    serde_json::from_value(json!({
        "service": ORCHESTRATOR, "method": "GET", "path": "/healthz", "actor": null, "role": null,
        "id": "cor_1", "invoked_us": 1, "returned_us": 2, "status": 200,
        "answer": {"ok": true, "service": ORCHESTRATOR},
    }))
    .unwrap()
}

fn boot(flag: bool) -> Boot {
    let control = |(at, name): (u32, &&str)| {
        let standing = standing("healthy", 10 + at, 100 + u64::from(at));
        ((*name).to_owned(), Some(standing))
    };
    let mut standings: Vec<_> = (0..).zip(&CONTROL).map(control).collect();
    let mut announced = CONTROL.map(str::to_owned).to_vec();
    let own = if flag {
        announced.push(ORCHESTRATOR.to_owned());
        standing("healthy", 20, 110)
    } else {
        Standing {
            state: "absent".into(),
            ..Standing::default()
        }
    };
    standings.push((ORCHESTRATOR.to_owned(), Some(own)));
    Boot {
        flag,
        standings,
        announced,
        listed: flag,
        answered: flag.then(answered),
    }
}

fn good() -> Evidence {
    let failed = |service: &str| Failed {
        service: service.to_owned(),
        ready: false,
        code: Some(2),
    };
    Evidence {
        boots: vec![boot(true), boot(false)],
        failed: vec![failed(ORCHESTRATOR), failed(CONTROL[0])],
    }
}

fn one(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut seen = good();
    change(&mut seen);
    let found = judge(&seen).violations;
    assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
}

#[test]
fn one_that_starts_last_and_on_request_only_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("boots_with_flag", 1),
        ("boots_without_flag", 1),
        ("failed_boots", 2),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn one_that_does_not_run_with_the_flag_is_a_violation() {
    let expected = "got no orchestrator that runs";
    one(|seen| seen.boots[0].answered = None, expected);
    one(|seen| seen.boots[0].listed = false, expected);
    one(|seen| drop(seen.boots[0].standings.pop()), expected);
}

#[test]
fn one_that_runs_without_the_flag_is_a_violation() {
    let expected = "without the flag: got an orchestrator";
    one(|seen| seen.boots[1].listed = true, expected);
    one(
        |seen| seen.boots[1].announced.push(ORCHESTRATOR.into()),
        expected,
    );
    one(
        |seen| seen.boots[1].standings[2].1 = Some(standing("healthy", 20, 110)),
        expected,
    );
}

#[test]
fn one_that_starts_before_the_control_plane_is_a_violation() {
    one(
        |seen| seen.boots[0].standings[1].1 = Some(standing("healthy", 11, 120)),
        "expected openclaw first",
    );
    one(
        |seen| seen.boots[0].announced.swap(1, 2),
        "expected openclaw before the orchestrator",
    );
}

#[test]
fn a_failed_start_that_is_not_told_is_a_violation() {
    one(
        |seen| seen.failed[0].ready = true,
        "got a boot that is ready",
    );
    one(|seen| seen.failed[1].code = Some(0), "got exit code 0");
}

#[test]
fn a_boot_without_its_control_plane_says_nothing() {
    let mut seen = good();
    seen.boots[1].standings[0].1 = None;
    let judgement = judge(&seen);
    assert_eq!(judgement.exercised["boots_without_flag"], 0);
    assert_eq!(judgement.violations, [""; 0]);
}
