//! Evidence written by hand: a good one, and its bad twins.

use serde_json::json;

use super::*;

fn start(told: Told, port_of: fn(&str) -> u16) -> Start {
    let at = |name: &str| SocketAddr::new(told.host(), port_of(name));
    let names = routes::services();
    let services = names.iter().map(|name| {
        let url = format!("http://{}", at(name));
        let calls_itself = json!(name);
        ((*name).to_owned(), Announced { url, calls_itself })
    });
    let mut listeners: Vec<SocketAddr> = names.iter().map(|name| at(name)).collect();
    listeners.sort();
    Start {
        told,
        listeners,
        services: services.collect(),
        elsewhere: Vec::new(),
        sessions: vec![json!("ses_1"), json!("ses_2")],
    }
}

fn chosen(name: &str) -> u16 {
    30_000 + defaults::port(name).unwrap()
}

fn good() -> Evidence {
    let host = Ipv4Addr::new(127, 9, 8, 7);
    let mut plain = start(Told::Nothing, chosen);
    plain.elsewhere = vec![Elsewhere {
        address: "127.5.4.3:37000".parse().unwrap(),
        reached: false,
    }];
    let table = |name: &str| defaults::port(name).unwrap();
    Evidence {
        starts: vec![
            plain,
            start(Told::ByFile(host), table),
            start(Told::ByEnvironment(host), table),
        ],
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
    assert_eq!(judgement.exercised["listeners"], 10);
    assert_eq!(judgement.exercised["refused_addresses"], 1);
    assert_eq!(judgement.exercised["overrides"], 2);
}

#[test]
fn nothing_seen_is_nothing_exercised() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.exercised.values().all(|count| *count == 0));
    assert_eq!(judgement.exercised.len(), 3);
}

#[test]
fn a_listener_on_any_address_is_seen() {
    let any =
        |seen: &mut Evidence| seen.starts[0].listeners[3].set_ip(Ipv4Addr::UNSPECIFIED.into());
    bad(any, "told nothing: a listener on 0.0.0.0:");
    bad(
        |seen| seen.starts[0].elsewhere[0].reached = true,
        "somebody was reached at 127.5.4.3:37000",
    );
    bad(
        |seen| seen.starts[2].listeners[0] = "[::]:7000".parse().unwrap(),
        "a listener on [::]:7000, expected on 127.9.8.7",
    );
}

#[test]
fn a_shared_port_is_seen() {
    let shared = |seen: &mut Evidence| {
        let start = &mut seen.starts[1];
        start.listeners[3] = start.listeners[1];
        start.listeners.sort();
    };
    bad(shared, "two listeners on 127.9.8.7:");
    bad(shared, "no listener on the port Some(");
    let announced = |seen: &mut Evidence| {
        let services = &mut seen.starts[0].services;
        let url = services["eva-os"].url.clone();
        services.get_mut("openclaw").unwrap().url = url;
    };
    bad(announced, "share port");
}

#[test]
fn an_override_that_is_not_honoured_is_seen() {
    let home = |seen: &mut Evidence| {
        for address in &mut seen.starts[2].listeners {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
    };
    bad(
        home,
        "told 127.9.8.7 by its environment: a listener on 127.0.0.1:",
    );
}

#[test]
fn a_service_that_is_missing_or_somebody_else_is_seen() {
    bad(
        |seen| drop(seen.starts[0].services.remove("pipecat")),
        "no pipecat was announced",
    );
    let other = |seen: &mut Evidence| {
        let one = seen.starts[0].services.get_mut("pipecat").unwrap();
        one.calls_itself = json!("perception");
    };
    bad(other, "\"perception\" answers at");
    let again = |seen: &mut Evidence| seen.starts[1].sessions[1] = json!("ses_1");
    bad(again, "expected two");
    let nowhere = |seen: &mut Evidence| {
        let one = seen.starts[0].services.get_mut("pipecat").unwrap();
        one.url = "http://127.0.0.1:1".into();
    };
    bad(nowhere, "is announced at 127.0.0.1:1, where nobody listens");
}
