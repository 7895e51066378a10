//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn tried(invoked_us: u64, status: u16) -> Tried {
    Tried {
        service: "api-gateway".into(),
        line: "GET /status".into(),
        id: "cor_1".into(),
        invoked_us,
        returned_us: (status > 0).then_some(invoked_us + 1_000),
        status,
        code: String::new(),
    }
}

/// Rotated at 1 s; with `killed`, killed at 1.1 s and back at 1.2 s.
fn lane(window_ms: u64, killed: bool) -> Lane {
    let end_us = 1_000_000 + window_ms * 1000;
    let both = |at_us: u64, old: u16| {
        [(Key::New, 200), (Key::Old, old)].map(|(key, status)| Use {
            key,
            tried: tried(at_us, status),
        })
    };
    let mut uses: Vec<Use> = both(1_010_000, 200).into();
    if killed {
        uses.extend(both(1_250_000, 200));
    }
    uses.extend(both(end_us, 401));
    uses.extend(both(end_us + 100_000, 401));
    Lane {
        window_ms,
        rotated: Some(tried(1_000_000, 200)),
        killed_us: killed.then_some((1_100_000, 1_200_000)),
        uses,
    }
}

fn good() -> Evidence {
    Evidence {
        lanes: vec![lane(700, false), lane(700, true)],
    }
}

fn spoiled(lane: usize, one: usize, status: u16) -> Judgement {
    let mut seen = good();
    let at_us = seen.lanes[lane].uses[one].tried.invoked_us;
    seen.lanes[lane].uses[one].tried = tried(at_us, status);
    judge(&seen)
}

#[test]
fn both_keys_inside_the_window_and_one_after_it_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts = [
        ("inside_window", 2),
        ("inside_window_after_kill", 1),
        ("after_window", 1),
        ("after_window_after_kill", 1),
        ("new_keys", 4),
        ("new_keys_after_kill", 3),
        ("kills", 1),
    ];
    for (name, n) in counts {
        assert_eq!(judgement.exercised[name], n, "{name}");
    }
}

#[test]
fn a_key_that_lives_on_or_does_not_work_is_a_violation() {
    let cases = [
        (
            0,
            0,
            401,
            "the new key of 700 ms: 401 to GET /status of api-gateway (cor_1), expected 2xx",
        ),
        (0, 1, 401, "the old key inside the window of 700 ms: 401"),
        (0, 5, 200, "the old key after the window of 700 ms: 200"),
        (0, 5, 503, "the old key after the window of 700 ms: 503"),
        (0, 3, 500, "at the end of the window of 700 ms: 500"),
        (1, 2, 401, "the new key of 700 ms after a KILL: 401"),
        (
            1,
            3,
            401,
            "the old key inside the window of 700 ms after a KILL: 401",
        ),
        (
            1,
            7,
            200,
            "the old key after the window of 700 ms after a KILL: 200",
        ),
        (1, 7, 0, "no answer"),
    ];
    for (lane, one, status, words) in cases {
        let judgement = spoiled(lane, one, status);
        assert_eq!(
            judgement.violations.len(),
            1,
            "{words}: {:?}",
            judgement.violations
        );
        let said = &judgement.violations[0];
        assert!(said.contains(words), "{said}: expected `{words}`");
    }
}

#[test]
fn at_the_edge_the_old_key_may_be_either() {
    for status in [200, 401] {
        assert_eq!(spoiled(0, 3, status).violations, [""; 0]);
    }
}

#[test]
fn a_rotation_that_failed_or_did_not_come_is_told() {
    let mut seen = good();
    seen.lanes[0].rotated = Some(tried(1_000_000, 500));
    assert!(judge(&seen).violations[0].starts_with("a rotation: 500"));
    seen.lanes[0].rotated = None;
    let judgement = judge(&seen);
    assert_eq!(judgement.undecided, ["no key was rotated"]);
    assert_eq!(judge(&Evidence::default()).exercised["after_window"], 0);
}
