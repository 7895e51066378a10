//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn tried(id: &str, status: u16) -> Tried {
    Tried {
        service: "api-gateway".into(),
        line: "POST /v3/sessions".into(),
        id: id.into(),
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
        let call = |(who, id): (Who, &str)| {
            let known = [Who::Observer, Who::ForObserver].contains(&who);
            let may = route.min_role == "none" || (route.min_role == "observer" && known);
            let tried = tried(id, if may { 200 } else { 403 });
            Call { who, tried }
        };
        let calls = Who::ALL
            .into_iter()
            .flat_map(|who| [(who, "1"), (who, "2")]);
        let looked = |names: &[&str]| route.mutating.then(|| look(names));
        Seen {
            trouble: None,
            calls: calls.map(call).collect(),
            after_calls: looked(&["api-gateway.audit_log"]),
            operator: Some(tried("3", 200)),
            after_operator: looked(&["api-gateway.sessions"]),
        }
    };
    Evidence {
        unknown_in_file: Some(Started::Ready),
        routes: floor()
            .map(|route| (route.to_string(), seen(route)))
            .collect(),
        after_reads: Some(look(&["eva-os.audit_log"])),
        after_handed_on: Some(look(&["tool-service.audit_log", "calls of models"])),
    }
}

const WRITE: &str = "POST /v3/sessions of api-gateway";
const READ: &str = "GET /v3/sessions/{id} of api-gateway";
const OPEN: &str = "GET /healthz of eva-os";

fn spoiled(route: &str, spoil: impl FnOnce(&mut Seen)) -> Judgement {
    let mut seen = good();
    spoil(seen.routes.get_mut(route).unwrap());
    judge(&seen)
}

/// The second call of this one.
fn second(route: &str, who: Who, status: u16) -> Judgement {
    spoiled(route, |one| {
        let calls = one.calls.iter_mut().filter(|call| call.who == who);
        calls.last().unwrap().tried = tried("2", status);
    })
}

#[test]
fn everybody_may_what_the_table_says_and_no_more() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let n = floor().count() as u64;
    assert_eq!(judgement.exercised["routes"], n);
    assert_eq!(judgement.exercised["operators"], n);
    let asked = 10 * n;
    let (refused, allowed) = (
        judgement.exercised["refused"],
        judgement.exercised["allowed"],
    );
    assert_eq!(refused + allowed, asked);
    assert!(refused > 200 && allowed > 100, "{refused} {allowed}");
}

#[test]
fn an_observer_who_writes_or_may_not_read_is_a_violation() {
    let writes = second(WRITE, Who::Observer, 201);
    let words = "an observer: 201 to POST /v3/sessions of api-gateway (2), expected 403";
    assert_eq!(writes.violations, [format!("{WRITE}: {words}")]);
    let blind = second(READ, Who::Observer, 403);
    assert!(blind.violations[0].contains("an observer: 403"));
    let acting = second(WRITE, Who::ForObserver, 201);
    assert!(acting.violations[0].contains("a service for an observer: 201"));
    let shut = second(OPEN, Who::Observer, 401);
    assert!(shut.violations[0].contains("expected 2xx"));
}

#[test]
fn somebody_without_a_known_role_who_may_anything_is_a_violation() {
    for route in [WRITE, READ] {
        for who in [Who::ForUnknown, Who::ForRoleless, Who::Unknown] {
            for status in [200, 401, 0] {
                let judgement = second(route, who, status);
                assert_eq!(judgement.violations.len(), 1, "{route} {who} {status}");
            }
        }
    }
    assert_eq!(second(WRITE, Who::ForRoleless, 400).violations, [""; 0]);
    assert_eq!(second(WRITE, Who::ForUnknown, 400).violations.len(), 1);
}

#[test]
fn a_refusal_after_the_effect_is_a_violation() {
    let late = spoiled(WRITE, |one| {
        one.after_calls = Some(look(&["api-gateway.sessions"]))
    });
    let words = "calls of those who may not changed api-gateway.sessions from aa to bb";
    assert!(late.violations[0].contains(words), "{:?}", late.violations);
    let mut seen = good();
    seen.after_reads = Some(look(&["eva-os.tasks"]));
    seen.after_handed_on = Some(look(&["tool-service.operations", "calls of tools"]));
    let found = judge(&seen).violations;
    assert!(found[0].starts_with("reads of those who may not changed eva-os"));
    assert!(found[1].starts_with("questions of those who may not changed tool-service"));
    assert_eq!(found.len(), 2);
}

#[test]
fn an_operator_who_may_not_or_changes_nothing_is_a_violation() {
    let shut = spoiled(WRITE, |one| one.operator = Some(tried("3", 403)));
    assert!(shut.violations[0].contains("an operator: 403"));
    let idle = spoiled(WRITE, |one| one.after_operator = Some(look(&[])));
    assert!(idle.violations[0].contains("but no table changed"));
}

#[test]
fn a_target_that_does_not_start_with_an_unknown_role_refuses_it_too() {
    let with = |started| {
        let mut seen = good();
        seen.unknown_in_file = started;
        for one in seen.routes.values_mut() {
            one.calls.retain(|call| call.who != Who::Unknown);
        }
        judge(&seen)
    };
    let refused = with(Some(Started::Exited(Some(2))));
    assert_eq!((refused.violations.len(), refused.undecided.len()), (0, 0));
    assert_eq!(with(Some(Started::Exited(Some(0)))).violations.len(), 1);
    assert_eq!(with(Some(Started::Exited(None))).violations.len(), 1);
    assert_eq!(with(None).undecided.len(), 1);
    assert!(with(Some(Started::Ready)).undecided.len() > 30);
}

#[test]
fn what_was_not_driven_is_undecided_by_its_name() {
    let mut seen = good();
    seen.routes.remove(WRITE);
    assert_eq!(judge(&seen).undecided, [format!("{WRITE} was not driven")]);
    let once = spoiled(READ, |one| drop(one.calls.remove(0)));
    assert_eq!(
        once.undecided,
        [format!("{READ}: an observer called 1 times, expected 2")]
    );
    let blind = spoiled(WRITE, |one| one.after_calls = None);
    assert_eq!(blind.undecided.len(), 1);
    let alone = spoiled(READ, |one| one.operator = None);
    assert_eq!(alone.undecided.len(), 1);
    let mut seen = good();
    (seen.after_reads, seen.after_handed_on) = (None, None);
    assert_eq!(
        judge(&seen).undecided,
        [
            "nobody looked at what the reads changed",
            "nobody looked at what was changed by what is handed on"
        ]
    );
    assert!(judge(&Evidence::default()).undecided.len() > 30);
}
