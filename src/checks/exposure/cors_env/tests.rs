//! Evidence written by hand: a good one, and its bad twins.

use super::*;

const CHOSEN: [&str; 1] = ["https://ops.example"];
const USUAL: [&str; 1] = ["http://localhost:3000"];

fn from(environment: Option<&[&str]>, origin: &str) -> From {
    let listed = environment.unwrap_or(&USUAL);
    let allowed = listed.contains(&origin).then(|| origin.to_owned());
    let words = |text: &str| allowed.as_ref().map(|_| text.to_owned());
    let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    From {
        service: "eva-os".into(),
        environment: environment.map(owned),
        listed: owned(listed),
        origin: origin.to_owned(),
        preflight: Said {
            status: 200,
            origin: allowed.clone(),
            methods: words("GET,POST"),
            headers: words("content-type, Authorization"),
        },
        request: Said {
            status: 200,
            origin: allowed.clone(),
            ..Said::default()
        },
    }
}

fn good() -> Evidence {
    let origins = [CHOSEN[0], USUAL[0], "https://evil.example"];
    let both = [None, Some(&CHOSEN[..])].into_iter();
    let each = both.flat_map(|environment| origins.map(|origin| from(environment, origin)));
    Evidence {
        origins: each.collect(),
    }
}

fn bad(at: usize, change: impl FnOnce(&mut From), expected: &str) {
    let mut seen = good();
    change(&mut seen.origins[at]);
    let violations = judge(&seen).violations.join("\n");
    assert!(violations.contains(expected), "{violations:?}");
}

#[test]
fn the_good_one_is_exercised_and_has_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    for (counter, count) in [
        ("allowed_origins", 2),
        ("refused_origins", 4),
        ("allowed_by_default", 1),
        ("allowed_by_environment", 1),
    ] {
        assert_eq!(judgement.exercised[counter], count, "{counter}");
    }
}

#[test]
fn nothing_seen_is_nothing_exercised() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.exercised.values().all(|count| *count == 0));
    assert_eq!(judgement.exercised.len(), 4);
}

#[test]
fn a_wildcard_is_seen_for_those_who_are_listed_and_for_those_who_are_not() {
    let any = |one: &mut From| one.preflight.origin = Some("*".into());
    bad(1, any, "preflight from http://localhost:3000 of eva-os");
    bad(2, any, "allowed origin Some(\"*\"), expected none");
    let reflected = |one: &mut From| one.request.origin = Some(one.origin.clone());
    bad(
        5,
        reflected,
        "request from https://evil.example of eva-os, with https://ops.example",
    );
}

#[test]
fn an_environment_that_is_ignored_is_seen() {
    bad(
        3,
        |one| one.preflight.origin = None,
        "expected \"https://ops.example\"",
    );
    bad(
        4,
        |one| one.request.origin = Some(USUAL[0].into()),
        "expected none",
    );
}

#[test]
fn a_preflight_that_is_not_answered_or_allows_too_little_is_seen() {
    bad(0, |one| one.preflight.status = 401, "got 401, expected 2xx");
    bad(
        1,
        |one| one.preflight.methods = Some("GET".into()),
        "expected POST",
    );
    bad(
        1,
        |one| one.preflight.headers = None,
        "expected authorization",
    );
    bad(2, |one| one.request.status = 403, "got 403, expected 200");
}
