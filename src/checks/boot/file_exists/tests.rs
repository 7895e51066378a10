//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn tried(service: &str, line: &str, status: u16) -> Tried {
    Tried {
        service: service.into(),
        line: line.into(),
        status,
        ..Tried::default()
    }
}

fn good() -> Evidence {
    let host = "127.9.8.7";
    let said = |name: &'static str| {
        let said = Said {
            status: 200,
            healthz: json!({"ok": true, "service": name, "contract_version": CONTRACT}),
            config: table(host),
        };
        (name.to_owned(), said)
    };
    let of_route = |route: &Route| {
        let paths = route.paths();
        let tried = paths.map(|path| tried(&route.service, &format!("GET {path}"), 403));
        let asked = Asked {
            trouble: None,
            tried: tried.collect(),
        };
        (route.to_string(), asked)
    };
    let again = |(name, one): &(&str, recorded::Recorded)| {
        let sent = Sent {
            service: one.service.clone(),
            method: one.method.clone(),
            path: one.path.clone(),
            actor: None,
            role: None,
            id: "cor_1".into(),
            body: None,
            invoked_us: 1,
            returned_us: Some(2),
            status: one.answer.status,
            answer: one.answer.body.clone(),
            error: None,
        };
        ((*name).to_owned(), sent)
    };
    Evidence {
        host: host.into(),
        said: services().into_iter().map(said).collect(),
        routes: floor().chain(sockets()).map(of_route).collect(),
        recorded: recorded::recorded().iter().map(again).collect(),
    }
}

fn bad(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut seen = good();
    change(&mut seen);
    let violations = judge(&seen).violations.join("\n");
    assert!(violations.contains(expected), "{violations:?}");
}

#[test]
fn the_good_one_is_exercised_and_has_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let count = |what| judgement.exercised[what] as usize;
    assert_eq!((count("services"), count("defaults")), (10, 10));
    assert_eq!(count("routes"), floor().chain(sockets()).count());
    assert_eq!(count("recorded_requests"), recorded::recorded().len());
}

#[test]
fn what_was_not_asked_is_undecided() {
    let nothing = judge(&Evidence::default());
    let routes = floor().chain(sockets()).count();
    assert_eq!(nothing.undecided.len(), routes + 2);
    assert!(nothing.exercised.values().all(|count| *count == 0));
}

#[test]
fn a_service_that_is_missing_too_many_or_another_is_seen() {
    bad(
        |seen| drop(seen.said.remove("pipecat")),
        "no service pipecat",
    );
    bad(
        |seen| drop(seen.said.insert("eleventh".into(), Said::default())),
        "a service eleventh, expected the ten",
    );
    let healthz = |field: &'static str, value: Value| {
        move |seen: &mut Evidence| seen.said.get_mut("pipecat").unwrap().healthz[field] = value
    };
    bad(
        healthz("service", json!("perception")),
        "the health of pipecat: got [200,true,\"perception\",\"v4.6.0\"]",
    );
    bad(healthz("contract_version", json!("v4.7.0")), "\"v4.7.0\"");
    bad(
        |seen| seen.said.get_mut("pipecat").unwrap().status = 503,
        "got [503,",
    );
}

#[test]
fn a_default_that_is_not_the_documented_one_is_seen() {
    let config = |key: &'static str, value: Value| {
        move |seen: &mut Evidence| {
            let said = seen.said.get_mut("eva-os").unwrap();
            said.config["sessions"][key] = value;
        }
    };
    bad(
        config("ttl_ms", json!(7)),
        "the config of eva-os: got sessions.ttl_ms 7, expected 1800000",
    );
    bad(
        config("more", json!(7)),
        "got sessions.more 7, expected \"absent\"",
    );
    bad(
        |seen| seen.said.get_mut("eva-os").unwrap().config = Value::Null,
        "the config of eva-os: got  null",
    );
}

#[test]
fn a_route_that_is_not_served_is_seen() {
    let status = |status| {
        move |seen: &mut Evidence| {
            let asked = seen.routes.get_mut("GET /tasks of eva-os").unwrap();
            asked.tried[0].status = status;
        }
    };
    for gone in [404, 405, 0] {
        bad(status(gone), "to GET /tasks of eva-os");
    }
}

#[test]
fn a_recorded_request_that_is_answered_otherwise_is_seen() {
    let at = |name: &str| {
        let all = recorded::recorded();
        all.iter().position(|(other, _)| *other == name).unwrap()
    };
    let created = at("session-create");
    bad(
        |seen| seen.recorded[created].1.status = 200,
        "recorded session-create, ",
    );
    let renamed = |seen: &mut Evidence| {
        let answer = seen.recorded[created].1.answer.as_object_mut().unwrap();
        answer.remove("expires_at");
    };
    bad(renamed, "/expires_at is missing");
}
