//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn asked(status: u16, posture: Option<&str>) -> Asked {
    Asked {
        tried: Tried {
            service: "api-gateway".into(),
            line: "GET /status".into(),
            id: "cor_1".into(),
            invoked_us: 10,
            returned_us: Some(20),
            status,
            code: String::new(),
        },
        posture: posture.map(str::to_owned),
    }
}

fn good() -> Evidence {
    let bad = Material::BAD.map(|material| Start {
        material,
        outcome: Outcome::Exited(Some(2)),
        looks: 12,
        reached: 0,
        asked: vec![],
    });
    let started = |material, asked| Start {
        material,
        outcome: Outcome::Ready,
        looks: 30,
        reached: 4,
        asked,
    };
    let mut starts = vec![
        started(
            Material::Good,
            vec![asked(401, None), asked(200, Some("required"))],
        ),
        started(
            Material::Bypass,
            vec![asked(200, Some("disabled")), asked(200, Some("disabled"))],
        ),
    ];
    starts.extend(bad);
    Evidence { starts }
}

fn spoiled(material: Material, spoil: impl FnOnce(&mut Start)) -> Judgement {
    let mut seen = good();
    let start = seen
        .starts
        .iter_mut()
        .find(|start| start.material == material)
        .unwrap();
    spoil(start);
    judge(&seen)
}

fn says(judgement: &Judgement, words: &str) {
    let said = judgement.violations.iter().any(|one| one.contains(words));
    assert!(said, "expected `{words}` in {:?}", judgement.violations);
}

#[test]
fn nothing_starts_without_keys_and_the_bypass_shows() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["refused_starts"], 9);
    assert_eq!(judgement.exercised["watched_starts"], 9);
    assert_eq!(judgement.exercised["good_starts"], 1);
    assert_eq!(judgement.exercised["bypass_starts"], 1);
}

#[test]
fn a_target_that_starts_without_keys_is_a_violation() {
    for material in Material::BAD {
        let open = spoiled(material, |start| {
            start.outcome = Outcome::Ready;
            start.asked = vec![asked(200, Some("disabled"))];
        });
        says(&open, "ready, expected an exit code that is not 0");
        says(&open, "it said 200 to GET /status");
        assert_eq!(open.exercised["refused_starts"], 8);
    }
    let later = spoiled(Material::Empty, |start| {
        start.outcome = Outcome::Ready;
        start.asked = vec![asked(500, None)];
    });
    says(&later, "it said 500 to GET /status");
}

#[test]
fn an_end_that_is_no_failure_or_comes_too_late_is_a_violation() {
    let zero = spoiled(Material::Missing, |start| {
        start.outcome = Outcome::Exited(Some(0))
    });
    says(&zero, "with no key file: exit code 0, expected");
    let killed = spoiled(Material::Missing, |start| {
        start.outcome = Outcome::Exited(None)
    });
    says(&killed, "ended by a signal");
    let stuck = spoiled(Material::NoJson, |start| {
        start.outcome = Outcome::Stuck("no listening line".to_owned());
    });
    says(&stuck, "no listening line");
    let open = spoiled(Material::CutOff, |start| start.reached = 2);
    says(&open, "its port was open 2 times, expected 0");
}

#[test]
fn controls_that_do_not_start_or_do_not_guard_are_violations() {
    for material in [Material::Good, Material::Bypass] {
        let down = spoiled(material, |start| start.outcome = Outcome::Exited(Some(2)));
        says(&down, "exit code 2, expected ready");
    }
    let unguarded = spoiled(Material::Good, |start| {
        start.asked[0] = asked(200, Some("required"));
    });
    says(
        &unguarded,
        "is [200, 200] without credentials and with, expected [401, 200]",
    );
    let hidden = spoiled(Material::Bypass, |start| {
        start.asked[0].posture = Some("required".to_owned());
    });
    says(
        &hidden,
        r#"auth_posture is Some("required"), expected another one"#,
    );
    let silent = spoiled(Material::Bypass, |start| start.asked[1].posture = None);
    says(&silent, "auth_posture is None");
    let shut = spoiled(Material::Bypass, |start| start.asked[0] = asked(401, None));
    says(&shut, "the bypass and no key file: 401");
}

#[test]
fn ports_that_nobody_tried_and_starts_that_were_not_made_prove_nothing() {
    let blind = spoiled(Material::Empty, |start| start.looks = 0);
    assert_eq!(blind.exercised["refused_starts"], 9);
    assert_eq!(blind.exercised["watched_starts"], 8);
    let unseen = spoiled(Material::Good, |start| start.reached = 0);
    assert_eq!(unseen.violations, [""; 0]);
    assert_eq!(unseen.undecided.len(), 1);
    assert!(judge(&Evidence::default()).undecided.len() >= 11);
}
