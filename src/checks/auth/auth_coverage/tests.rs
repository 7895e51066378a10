//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn tried(service: &str, line: &str, status: u16) -> Tried {
    Tried {
        service: service.into(),
        line: line.into(),
        id: "cor_1".into(),
        invoked_us: 10,
        returned_us: Some(20),
        status,
        code: String::new(),
    }
}

fn opened(path: &str, status: u16, heard: &str) -> Opened {
    Opened {
        path: path.into(),
        status,
        heard: heard.into(),
    }
}

fn good() -> Evidence {
    let of_route = |route: &Route| {
        let open = OPEN.contains(&route.path.as_str());
        let line = |path: &str| format!("{} {path}", route.method);
        let status = if open { 200 } else { 401 };
        let nobody = route.paths();
        let nobody = nobody.map(|path| tried(&route.service, &line(&path), status));
        let one = Seen {
            trouble: None,
            nobody: nobody.collect(),
            operator: Some(tried(&route.service, &line(&route.path), 404)),
        };
        (route.to_string(), one)
    };
    let of_socket = |route: &Route| {
        let twice = route.paths().flat_map(|path| [path.clone(), path]);
        let one = Socket {
            trouble: None,
            nobody: twice.map(|path| opened(&path, 401, "no socket")).collect(),
            operator: Some(opened(&route.path, 101, "ack")),
        };
        (route.to_string(), one)
    };
    let nearly = services()
        .into_iter()
        .flat_map(|service| NEARLY.map(|path| tried(service, &format!("GET {path}"), 401)));
    Evidence {
        routes: floor().map(of_route).collect(),
        sockets: sockets().map(of_socket).collect(),
        nearly: nearly.collect(),
    }
}

fn bad(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut seen = good();
    change(&mut seen);
    let violations = judge(&seen).violations.join("\n");
    assert!(violations.contains(expected), "{violations:?}");
}

const TASKS: &str = "GET /tasks of eva-os";
const STREAM: &str = "GET /v3/stream/{session_id} of api-gateway";

#[test]
fn the_good_one_is_exercised_and_has_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["open_routes"], 30);
    assert_eq!(judgement.exercised["routes"] as usize, floor().count() - 30);
    assert_eq!(
        judgement.exercised["websockets"] as usize,
        sockets().count()
    );
    assert_eq!(judgement.exercised["nearly_open"], 200);
}

#[test]
fn what_was_not_driven_is_undecided() {
    let nothing = judge(&Evidence::default());
    assert_eq!(
        nothing.undecided.len(),
        floor().count() + sockets().count() + 1
    );
    assert!(nothing.exercised.values().all(|count| *count == 0));
    for change in [
        |seen: &mut Evidence| seen.routes.get_mut(TASKS).unwrap().trouble = Some("none".into()),
        |seen: &mut Evidence| seen.routes.get_mut(TASKS).unwrap().operator = None,
        |seen: &mut Evidence| seen.routes.get_mut(TASKS).unwrap().nobody.clear(),
        |seen: &mut Evidence| drop(seen.sockets.get_mut(STREAM).unwrap().nobody.pop()),
        |seen: &mut Evidence| drop(seen.nearly.pop()),
    ] {
        let mut seen = good();
        change(&mut seen);
        assert_eq!(judge(&seen).undecided.len(), 1);
    }
}

#[test]
fn a_route_that_asks_for_nothing_is_seen() {
    let open = |status| {
        move |seen: &mut Evidence| seen.routes.get_mut(TASKS).unwrap().nobody[0].status = status
    };
    bad(
        open(200),
        "200 to GET /tasks of eva-os (cor_1), expected 401",
    );
    bad(
        open(404),
        "404 to GET /tasks of eva-os (cor_1), expected 401",
    );
    bad(
        open(0),
        "no answer () to GET /tasks of eva-os (cor_1), expected 401",
    );
}

#[test]
fn a_route_that_refuses_everybody_is_seen() {
    let refused = |seen: &mut Evidence| {
        let one = seen.routes.get_mut(TASKS).unwrap();
        one.operator.as_mut().unwrap().status = 401;
    };
    bad(refused, "an operator: 401 to GET /tasks of eva-os");
}

#[test]
fn an_open_route_that_asks_for_credentials_is_seen() {
    let closed = |seen: &mut Evidence| {
        let one = seen.routes.get_mut("GET /version of pipecat").unwrap();
        one.nobody[0].status = 401;
    };
    bad(
        closed,
        "401 to GET /version of pipecat (cor_1), expected 200",
    );
}

#[test]
fn a_socket_that_asks_for_nothing_is_seen() {
    let heard = |status, heard: &'static str| {
        move |seen: &mut Evidence| {
            let one = seen.sockets.get_mut(STREAM).unwrap();
            one.nobody[1] = opened("/v3/stream/ses_1", status, heard);
        }
    };
    bad(
        heard(101, "ack"),
        "WS /v3/stream/ses_1 of api-gateway: got 101 and ack",
    );
    bad(heard(101, "nothing"), "got 101 and nothing");
    bad(heard(404, "no socket"), "got 404 and no socket");
    let mut seen = good();
    heard(101, "closed")(&mut seen);
    assert_eq!(judge(&seen).violations, [""; 0]);
}

#[test]
fn a_socket_that_serves_nobody_is_seen() {
    let dead = |seen: &mut Evidence| {
        let one = seen.sockets.get_mut(STREAM).unwrap();
        one.operator = Some(opened("/v3/stream/ses_1", 401, "no socket"));
    };
    bad(
        dead,
        "an operator: WS /v3/stream/ses_1 of api-gateway: got 401",
    );
}

#[test]
fn an_exemption_that_is_too_wide_is_seen() {
    bad(
        |seen| seen.nearly[0].status = 404,
        "404 to GET /healthzz of api-gateway (cor_1), expected 401",
    );
    let escaped = NEARLY.iter().position(|path| path.contains('%')).unwrap();
    bad(|seen| seen.nearly[escaped].status = 200, "expected 401");
    let mut seen = good();
    seen.nearly[escaped].status = 400;
    assert_eq!(judge(&seen).violations, [""; 0]);
}
