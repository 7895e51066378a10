//! Evidence written by hand: a good one, and its bad twins.

use super::*;

const SERVICES: [&str; 2] = ["api-gateway", "openclaw"];

fn tried(service: &str, status: u16) -> Tried {
    Tried {
        service: service.into(),
        line: "POST /execute".into(),
        id: "cor_1".into(),
        invoked_us: 10,
        returned_us: (status > 0).then_some(20),
        status,
        code: String::new(),
    }
}

fn entry() -> Entry {
    Entry {
        actor_id: "_service".into(),
        actor_role: "operator".into(),
        outcome: "ok".into(),
        ..Entry::default()
    }
}

fn good() -> Evidence {
    let mut shows = Vec::new();
    let mut all = vec![
        (Configured::Token, Shown::Right),
        (Configured::Empty, Shown::Operator),
    ];
    all.extend(Shown::WRONG.map(|shown| (Configured::Token, shown)));
    all.extend(Shown::WRONG_WITHOUT.map(|shown| (Configured::Empty, shown)));
    for (configured, shown) in all {
        for service in SERVICES {
            let good = matches!(shown, Shown::Right | Shown::Operator);
            shows.push(Show {
                configured,
                shown,
                tried: tried(service, if good { 200 } else { 401 }),
                entries: Some(if good { vec![entry()] } else { vec![] }),
            });
        }
    }
    Evidence { shows }
}

fn spoiled(configured: Configured, shown: Shown, spoil: impl FnOnce(&mut Show)) -> String {
    let mut seen = good();
    let show = seen
        .shows
        .iter_mut()
        .find(|show| show.configured == configured && show.shown == shown)
        .unwrap();
    spoil(show);
    let judgement = judge(&seen);
    assert_eq!(judgement.violations.len(), 1, "{:?}", judgement.violations);
    judgement.violations[0].clone()
}

#[test]
fn the_token_and_nothing_else_is_the_service() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["accepted"], 2);
    assert_eq!(judgement.exercised["refused"], 24);
}

#[test]
fn whatever_else_is_let_in_is_a_violation() {
    for shown in Shown::WRONG {
        let said = spoiled(Configured::Token, shown, |show| show.tried.status = 200);
        assert_eq!(
            said,
            format!("{shown}: 200 to POST /execute of api-gateway (cor_1), expected 401")
        );
    }
    for shown in Shown::WRONG_WITHOUT {
        let said = spoiled(Configured::Empty, shown, |show| show.tried.status = 201);
        assert!(
            said.contains("where the configured token is empty: 201"),
            "{said}"
        );
    }
    let hung = spoiled(Configured::Token, Shown::Half, |show| {
        show.tried = tried("api-gateway", 0);
    });
    assert!(hung.contains("no answer"), "{hung}");
}

#[test]
fn a_refusal_that_left_an_entry_is_a_violation() {
    let said = spoiled(Configured::Token, Shown::Shortened, |show| {
        show.entries = Some(vec![entry()]);
    });
    assert!(
        said.starts_with("a shortened token left 1 audit entries"),
        "{said}"
    );
}

#[test]
fn the_right_token_that_is_refused_or_somebody_else_is_a_violation() {
    let refused = spoiled(Configured::Token, Shown::Right, |show| {
        show.tried.status = 401
    });
    assert!(refused.starts_with("the right token: 401"), "{refused}");
    let other = spoiled(Configured::Token, Shown::Right, |show| {
        show.entries = Some(vec![Entry {
            actor_id: "op-1".into(),
            ..entry()
        }]);
    });
    assert!(
        other.contains(r#"acts as ("op-1", "operator", None)"#),
        "{other}"
    );
    let role = spoiled(Configured::Token, Shown::Right, |show| {
        show.entries = Some(vec![Entry {
            actor_role: "observer".into(),
            ..entry()
        }]);
    });
    assert!(
        role.contains(r#"expected ("_service", "operator", None)"#),
        "{role}"
    );
    let none = spoiled(Configured::Token, Shown::Right, |show| {
        show.entries = Some(vec![])
    });
    assert!(none.contains("left no audit entry ok"), "{none}");
    let control = spoiled(Configured::Empty, Shown::Operator, |show| {
        show.tried.status = 401
    });
    assert!(control.starts_with("an operator's key where the configured token is empty: 401"));
}

#[test]
fn what_was_not_shown_or_not_looked_up_is_undecided() {
    assert_eq!(judge(&Evidence::default()).undecided.len(), 14);
    let mut seen = good();
    seen.shows.retain(|show| show.shown != Shown::Half);
    let undecided = judge(&seen).undecided;
    assert_eq!(undecided, ["half a token was not shown to 2 of 2 services"]);
    let mut seen = good();
    seen.shows[1].entries = None;
    assert_eq!(judge(&seen).exercised["accepted"], 1);
    assert_eq!(judge(&seen).undecided.len(), 1);
}
