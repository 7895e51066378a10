//! Evidence written by hand: a good one, and a bad twin of each thing that could be let in.

use super::*;

fn tried(service: &str, invoked_us: u64, status: u16) -> Tried {
    Tried {
        service: service.into(),
        line: "GET /status".into(),
        id: "cor_1".into(),
        invoked_us,
        returned_us: (status > 0).then_some(invoked_us + 1_000),
        status,
        code: String::new(),
    }
}

/// Every show at two services, as it should be; a key that ends lives from 0 to 600 ms.
fn good() -> Evidence {
    let mut shows = Vec::new();
    for shown in Shown::ALL {
        let answers: &[(u64, u16)] = match shown {
            Shown::Good | Shown::BeforeRevocation => &[(0, 200)],
            Shown::Ending => &[(10_000, 200), (590_000, 401), (700_000, 401)],
            Shown::WhileLocked | Shown::WhileDamaged => &[(0, 503)],
            _ => &[(0, 401)],
        };
        for service in ["api-gateway", "eva-os"] {
            shows.extend(answers.iter().map(|(at_us, status)| Show {
                shown,
                made: (shown == Shown::Ending).then(|| tried("memory-engine", 0, 201)),
                tried: tried(service, *at_us, *status),
            }));
        }
    }
    Evidence { ttl_ms: 600, shows }
}

fn with(shown: Shown, at_us: u64, status: u16) -> Evidence {
    let mut seen = good();
    let show = seen
        .shows
        .iter_mut()
        .find(|show| show.shown == shown && show.tried.invoked_us == at_us)
        .unwrap();
    show.tried = tried("api-gateway", at_us, status);
    seen
}

#[test]
fn good_keys_in_and_all_others_out_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["refused"], 20);
    assert_eq!(judgement.exercised["accepted_before_revocation"], 2);
    assert_eq!(judgement.exercised["unreadable_store"], 4);
}

#[test]
fn whoever_is_let_in_or_shut_out_wrongly_is_a_violation() {
    let cases = [
        (
            Shown::Good,
            0,
            401,
            "a good key: 401 to GET /status of api-gateway (cor_1), expected 2xx",
        ),
        (Shown::Nothing, 0, 200, "no credentials: 200"),
        (Shown::Garbage, 0, 200, "garbage: 200"),
        (Shown::OtherScheme, 0, 200, "under another scheme: 200"),
        (Shown::NoKey, 0, 500, "without a key: 500"),
        (Shown::Truncated, 0, 200, "a truncated key: 200"),
        (Shown::Extended, 0, 403, "too many: 403"),
        (Shown::Hash, 0, 200, "the hash of a good key: 200"),
        (Shown::AsServiceToken, 0, 200, "as the service token: 200"),
        (Shown::Ending, 10_000, 401, "a key that ends: 401"),
        (Shown::Ending, 700_000, 200, "a key that ends: 200"),
        (Shown::Ending, 590_000, 503, "expected 2xx or 401"),
        (
            Shown::BeforeRevocation,
            0,
            401,
            "before its user is revoked: 401",
        ),
        (Shown::Revoked, 0, 200, "the key of a revoked user: 200"),
        (
            Shown::WhileLocked,
            0,
            200,
            "is locked: 200 to GET /status of api-gateway (cor_1), expected 503",
        ),
        (Shown::WhileLocked, 0, 401, "is locked: 401"),
        (Shown::WhileDamaged, 0, 200, "is damaged: 200"),
        (Shown::WhileDamaged, 0, 0, "is damaged: no answer ()"),
    ];
    for (shown, at_us, status, words) in cases {
        let judgement = judge(&with(shown, at_us, status));
        assert_eq!(
            judgement.violations.len(),
            1,
            "{shown}: {:?}",
            judgement.violations
        );
        let said = &judgement.violations[0];
        assert!(said.contains(words), "{said}: expected `{words}`");
    }
}

#[test]
fn near_its_end_a_key_may_be_either_and_counts_for_neither() {
    for status in [200, 401] {
        let judgement = judge(&with(Shown::Ending, 590_000, status));
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(judgement.exercised["refused"], 20);
    }
}

#[test]
fn what_was_not_shown_is_undecided() {
    assert!(judge(&Evidence::default()).undecided.len() >= Shown::ALL.len());
    for shown in Shown::ALL {
        let mut seen = good();
        seen.shows
            .retain(|show| show.shown != shown || show.tried.service != "eva-os");
        let undecided = judge(&seen).undecided;
        let sides = if shown == Shown::Ending { 2 } else { 1 };
        assert_eq!(undecided.len(), sides, "{shown}: {undecided:?}");
        assert!(undecided[0].contains("by 1 of 2 services"), "{undecided:?}");
    }
}

#[test]
fn many_violations_are_counted_not_listed() {
    let mut seen = good();
    for show in &mut seen.shows {
        show.tried.status = 500;
    }
    let judgement = judge(&seen);
    assert_eq!(judgement.violations.len(), 21);
    assert!(judgement.violations[20].starts_with("and "));
}
