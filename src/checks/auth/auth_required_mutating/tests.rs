//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn tried(status: u16) -> Tried {
    Tried {
        service: "api-gateway".into(),
        line: "POST /v3/sessions".into(),
        id: "cor_1".into(),
        invoked_us: 10,
        returned_us: (status > 0).then_some(20),
        status,
        code: String::new(),
    }
}

fn look(names: &[&str]) -> Look {
    let change = |name: &&str| ((*name).to_owned(), ("aa".to_owned(), "bb".to_owned()));
    Look {
        tables: 40,
        changed: names.iter().map(change).collect(),
    }
}

fn good() -> Evidence {
    let seen = |route: &Route| {
        let paths = if route.twin.is_some() { 2 } else { 1 };
        let shut = Shown::ALL.into_iter().flat_map(|shown| {
            let tried = tried(401);
            vec![Show { shown, tried }; paths]
        });
        Seen {
            trouble: None,
            shut: shut.collect(),
            after_shut: Some(look(&[])),
            open: Some(tried(200)),
            after_open: Some(look(&["api-gateway.sessions", "api-gateway.audit_log"])),
        }
    };
    Evidence {
        routes: routes()
            .map(|route| (route.to_string(), seen(route)))
            .collect(),
    }
}

const ROUTE: &str = "POST /v3/sessions of api-gateway";

fn spoiled(spoil: impl FnOnce(&mut Seen)) -> Judgement {
    let mut seen = good();
    spoil(seen.routes.get_mut(ROUTE).unwrap());
    judge(&seen)
}

#[test]
fn a_matrix_without_a_way_in_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let n = routes().count() as u64;
    assert!(n >= 17, "{n}");
    assert_eq!(judgement.exercised["mutating_routes"], n);
    assert_eq!(judgement.exercised["accepted"], n);
    assert!(judgement.exercised["refused"] > 5 * n);
}

#[test]
fn a_request_that_is_let_in_or_hung_up_on_is_a_violation() {
    for status in [201, 403, 500, 0] {
        let judgement = spoiled(|one| one.shut[1].tried = tried(status));
        assert_eq!(judgement.violations.len(), 1);
        assert!(judgement.violations[0].starts_with(&format!("{ROUTE}: no credentials: ")));
    }
}

#[test]
fn a_refusal_after_the_effect_is_a_violation() {
    for name in [
        "api-gateway.sessions",
        "api-gateway.audit_log",
        "calls of tools",
    ] {
        let judgement = spoiled(|one| one.after_shut = Some(look(&[name])));
        let words = format!("credentials changed {name} from aa to bb, expected no change");
        assert!(
            judgement.violations[0].contains(&words),
            "{:?}",
            judgement.violations
        );
    }
}

#[test]
fn an_operator_who_is_refused_or_changes_nothing_is_a_violation() {
    let shut = spoiled(|one| one.open = Some(tried(401)));
    assert!(shut.violations[0].contains("an operator: 401"));
    let idle = spoiled(|one| one.after_open = Some(look(&["api-gateway.audit_log"])));
    assert!(idle.violations[0].contains("but no table changed, expected an effect"));
}

#[test]
fn a_route_that_was_not_driven_is_undecided_by_its_name() {
    let mut seen = good();
    seen.routes.remove(ROUTE);
    assert_eq!(judge(&seen).undecided, [format!("{ROUTE} was not driven")]);
    let trouble = spoiled(|one| {
        *one = Seen {
            trouble: Some("it has no recipe".to_owned()),
            ..Seen::default()
        };
    });
    assert_eq!(trouble.undecided[0], format!("{ROUTE}: it has no recipe"));
    assert_eq!(trouble.violations, [""; 0]);
    let half = spoiled(|one| one.shut.retain(|show| show.shown != Shown::OnBehalf));
    let words = "X-On-Behalf-Of and no token was shown on 0 of 2 paths";
    assert!(half.undecided[0].ends_with(words), "{:?}", half.undecided);
    let blind = spoiled(|one| one.after_shut = None);
    assert!(blind.undecided[0].ends_with("nobody looked at what changed"));
    assert!(judge(&Evidence::default()).undecided.len() >= 17);
}
