//! Experiments broken in every way: each is refused with the place and what is allowed there.

use serde_json::{Value, json};

use super::*;
use crate::chaos::degrade::Injection;

fn good() -> Value {
    json!({
        "version": "1.0.0",
        "title": "A window of latency",
        "description": "Latency and traffic.",
        "tags": ["slo"],
        "configuration": {"windows": 3, "where": "link"},
        "steady-state-hypothesis": {"title": "It is normal.", "probes": [
            {"type": "probe", "name": "mode", "tolerance": "normal",
             "provider": {"type": "sonia", "probe": "mode"}},
        ]},
        "method": [
            {"type": "action", "name": "slow", "provider":
                {"type": "sonia", "action": "inject-latency", "arguments": {"at": "${where}"}}},
            {"type": "action", "name": "turns", "provider":
                {"type": "sonia", "action": "traffic", "arguments": {"windows": "${windows}"}}},
            {"type": "probe", "name": "how often", "provider":
                {"type": "sonia", "probe": "count", "arguments": {"of": "entered"}}},
        ],
        "rollbacks": [
            {"type": "action", "name": "heal", "provider": {"type": "sonia", "action": "heal"}},
        ],
    })
}

fn parse(value: &Value) -> Result<Experiment, Malformed> {
    Experiment::parse(&value.to_string())
}

#[test]
fn a_good_one_is_read_with_its_configuration_filled_in() {
    let read = parse(&good()).unwrap();
    let actions: Vec<_> = read.actions().cloned().collect();
    assert_eq!(
        actions,
        [
            Action::InjectLatency {
                at: Injection::Wire
            },
            Action::Traffic { windows: 3 }
        ]
    );
    assert_eq!(read.method.len(), 3);
    assert_eq!(
        read.hypothesis.unwrap().probes[0].1,
        Tolerance::Is(json!("normal"))
    );
    assert_eq!(read.source, good());
}

/// The good one with the value at `at` replaced, or the key removed.
fn broken(at: &str, to: Option<Value>) -> Malformed {
    let mut value = good();
    let (parent, name) = at.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match (parent, to) {
        (Value::Object(map), Some(to)) => drop(map.insert(name.to_owned(), to)),
        (Value::Object(map), None) => drop(map.remove(name).unwrap()),
        (Value::Array(items), Some(to)) => items[name.parse::<usize>().unwrap()] = to,
        other => panic!("{other:?}"),
    }
    parse(&value).expect_err(at)
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    for (at, place, what) in [
        ("/title", "$", "`title` is missing"),
        ("/description", "$", "`description` is missing"),
        ("/method", "$", "`method` is missing"),
        (
            "/steady-state-hypothesis/probes",
            "$.steady-state-hypothesis",
            "`probes`",
        ),
        (
            "/steady-state-hypothesis/probes/0/tolerance",
            "$.steady-state-hypothesis.probes[0]",
            "`tolerance`",
        ),
        ("/method/0/name", "$.method[0]", "`name`"),
        ("/method/0/provider", "$.method[0]", "`provider`"),
        (
            "/method/0/provider/action",
            "$.method[0].provider",
            "`action`",
        ),
        ("/method/0/provider/type", "$.method[0].provider", "`sonia`"),
        (
            "/method/0/provider/arguments/at",
            "$.method[0].provider.arguments",
            "`inject-latency` needs the argument `at`",
        ),
        (
            "/method/2/provider/arguments/of",
            "$.method[2].provider.arguments",
            "`count` needs the argument `of`",
        ),
    ] {
        let wrong = broken(at, None);
        assert_eq!(wrong.place, place, "{at}: {wrong}");
        assert!(wrong.what.contains(what), "{at}: {wrong}");
    }
}

#[test]
fn what_nobody_knows_is_refused_with_what_is_allowed() {
    for (at, to, place, what) in [
        (
            "/controls",
            json!([]),
            "$",
            "unknown key `controls`; allowed here: version, title",
        ),
        ("/secrets", json!({}), "$", "unknown key `secrets`"),
        ("/runtime", json!({}), "$", "unknown key `runtime`"),
        (
            "/method/0/background",
            json!(true),
            "$.method[0]",
            "type, name, provider",
        ),
        (
            "/method/0/pauses",
            json!({}),
            "$.method[0]",
            "unknown key `pauses`",
        ),
        (
            "/method/0/tolerance",
            json!(1),
            "$.method[0]",
            "unknown key `tolerance`",
        ),
        (
            "/method/0/type",
            json!("wish"),
            "$.method[0].type",
            "one of action, probe",
        ),
        (
            "/method/0/provider/action",
            json!("explode"),
            "$.method[0].provider.action",
            "got \"explode\", expected one of inject-latency, heal, traffic",
        ),
        (
            "/method/2/provider/probe",
            json!("mood"),
            "$.method[2].provider.probe",
            "one of healthy, mode, count",
        ),
        (
            "/method/0/provider/arguments/ms",
            json!(5),
            "$.method[0].provider.arguments",
            "unknown key `ms`; allowed here: at",
        ),
        (
            "/rollbacks/0/provider/arguments",
            json!({"now": true}),
            "$.rollbacks[0].provider.arguments",
            "allowed here: none",
        ),
        (
            "/method/2/provider/arguments/of",
            json!("sheep"),
            "$.method[2].provider.arguments.of",
            "one of entered, exited",
        ),
    ] {
        let wrong = broken(at, Some(to));
        assert_eq!(wrong.place, place, "{at}: {wrong}");
        assert!(wrong.what.contains(what), "{at}: {wrong}");
    }
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_bounds_is_refused() {
    for (at, to, place) in [
        ("/title", json!(7), "$.title"),
        ("/title", json!(" "), "$.title"),
        ("/tags", json!("slo"), "$.tags"),
        ("/tags", json!([7]), "$.tags[0]"),
        ("/version", json!(1), "$.version"),
        ("/configuration", json!([]), "$.configuration"),
        (
            "/configuration/windows",
            json!({"type": "env", "key": "N"}),
            "$.configuration.windows",
        ),
        ("/method", json!({}), "$.method"),
        ("/method/0", json!({"ref": "slow"}), "$.method[0]"),
        ("/method/0", json!("slow"), "$.method[0]"),
        (
            "/method/1/provider/arguments/windows",
            json!("3"),
            "$.method[1].provider.arguments.windows",
        ),
        (
            "/method/1/provider/arguments/windows",
            json!(0),
            "$.method[1].provider.arguments.windows",
        ),
        (
            "/method/1/provider/arguments/windows",
            json!(1.5),
            "$.method[1].provider.arguments.windows",
        ),
        (
            "/method/1/provider/arguments/windows",
            json!("${none}"),
            "$.method[1].provider.arguments.windows",
        ),
        (
            "/method/1/provider/arguments/windows",
            json!("${windows} of it"),
            "$.method[1].provider.arguments.windows",
        ),
        (
            "/method/1/provider/arguments",
            json!([3]),
            "$.method[1].provider.arguments",
        ),
        ("/rollbacks/0/type", json!("probe"), "$.rollbacks[0].type"),
        (
            "/steady-state-hypothesis/probes/0/type",
            json!("action"),
            "$.steady-state-hypothesis.probes[0].type",
        ),
        (
            "/steady-state-hypothesis/probes/0/tolerance",
            json!(null),
            "$.steady-state-hypothesis.probes[0].tolerance",
        ),
    ] {
        let wrong = broken(at, Some(to.clone()));
        assert_eq!(wrong.place, place, "{at} {to}: {wrong}");
    }
}

#[test]
fn a_foreign_provider_is_refused_by_its_type() {
    for foreign in ["python", "process", "http"] {
        let wrong = broken("/method/0/provider/type", Some(json!(foreign)));
        assert_eq!(wrong.place, "$.method[0].provider");
        let what = format!("a provider of type `{foreign}` is not run here");
        assert!(wrong.what.contains(&what), "{wrong}");
    }
}

#[test]
fn what_is_no_json_is_named_with_line_and_column() {
    let wrong = Experiment::parse("{\n  \"title\": \"x\",\n}").unwrap_err();
    assert_eq!(wrong.place, "line 3, column 1");
    assert!(Experiment::parse("").is_err());
    assert_eq!(Experiment::parse("[]").unwrap_err().place, "$");
}
