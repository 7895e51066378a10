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

fn environment() -> Environment {
    let pairs = [("PATH", "/usr/bin:/bin"), ("WHAT", "nothing")];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn parse(value: &Value) -> Result<Experiment, Malformed> {
    Experiment::parse(&value.to_string(), &environment())
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
            "/wishes",
            json!([]),
            "$",
            "unknown key `wishes`; allowed here: version, title",
        ),
        (
            "/controls",
            json!([{"name": "c"}]),
            "$.controls",
            "take them out",
        ),
        (
            "/runtime",
            json!({"hypothesis": {"strategy": "never"}}),
            "$.runtime.hypothesis.strategy",
            "one of default, before-method-only",
        ),
        (
            "/runtime",
            json!({"hypothesis": {"strategy": "continuously"}}),
            "$.steady-state-hypothesis",
            "is not looked at while the method goes on",
        ),
        (
            "/method/0/background",
            json!(true),
            "$.method[0]",
            "type, name, provider, pauses",
        ),
        (
            "/method/0/pauses",
            json!({"between": 1}),
            "$.method[0].pauses",
            "allowed here: before, after",
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
    ] {
        refused(at, to, place, what);
    }
}

#[test]
fn what_nobody_knows_of_ours_is_refused_with_what_is_allowed() {
    for (at, to, place, what) in [
        (
            "/method/0/provider/action",
            json!("explode"),
            "$.method[0].provider.action",
            "got \"explode\", expected one of inject-latency, heal, toxic-add",
        ),
        (
            "/method/2/provider/probe",
            json!("mood"),
            "$.method[2].provider.probe",
            "one of healthy, mode, needs, count",
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
        refused(at, to, place, what);
    }
}

fn refused(at: &str, to: Value, place: &str, what: &str) {
    let wrong = broken(at, Some(to));
    assert_eq!(wrong.place, place, "{at}: {wrong}");
    assert!(wrong.what.contains(what), "{at}: {wrong}");
}

#[test]
fn a_link_that_nobody_has_and_a_toxic_that_is_none_are_refused() {
    let action = |name: &str, arguments: Value| {
        let provider = json!({"type": "sonia", "action": name, "arguments": arguments});
        ("/method/0/provider", provider)
    };
    let toxic = json!({"type": "latency", "attributes": {"latency": 50}});
    let good = action("toxic-add", json!({"link": "models", "toxic": toxic}));
    let mut file = self::good();
    file["method"][0]["provider"] = good.1;
    let read = parse(&file).unwrap();
    assert_eq!(read.links().collect::<Vec<_>>(), ["models"]);
    assert!(read.actions().next().unwrap().is_fault());
    for ((at, to), place, what) in [
        (
            action("toxic-add", json!({"link": "modles", "toxic": toxic})),
            "$.method[0].provider.arguments.link",
            "one of models, tools",
        ),
        (
            action(
                "toxic-add",
                json!({"link": "tools", "toxic": {"type": "lateness"}}),
            ),
            "$.method[0].provider.arguments.toxic",
            "no toxic",
        ),
        (
            action("link-down", json!({})),
            "$.method[0].provider.arguments",
            "`link-down` needs the argument `link`",
        ),
    ] {
        refused(at, to, place, what);
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
        ("/method/0", json!({"ref": "slower"}), "$.method[0].ref"),
        (
            "/method/0/pauses",
            json!({"before": "soon"}),
            "$.method[0].pauses.before",
        ),
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
fn code_that_runs_inside_another_tool_is_refused_and_a_stranger_too() {
    let wrong = broken("/method/0/provider/type", Some(json!("python")));
    assert_eq!(wrong.place, "$.method[0].provider");
    assert!(wrong.what.contains("`python` is not run here"), "{wrong}");
    let wrong = broken("/method/0/provider/type", Some(json!("lua")));
    assert!(
        wrong.what.contains("`sonia`, `http` or `process`"),
        "{wrong}"
    );
}

#[test]
fn steps_of_somebody_elses_need_no_target_and_may_be_referred_to() {
    let process = |name: &str, kind: &str| {
        json!({"type": kind, "name": name, "background": kind == "action",
            "pauses": {"before": "${pause}"}, "provider": {"type": "process", "path": "true"}})
    };
    let mut probe = process("is it", "probe");
    probe["tolerance"] = json!(0);
    let file = json!({
        "title": "About ${what}", "description": "d",
        "configuration": {"pause": 0.5, "what": {"type": "env", "key": "WHAT"}},
        "runtime": {"hypothesis": {"strategy": "continuously"}, "rollbacks": {"strategy": "always"}},
        "steady-state-hypothesis": {"title": "t", "probes": [probe]},
        "method": [process("do it", "action"), {"ref": "is it"}],
        "contributions": {"reliability": "high"},
    });
    let read = parse(&file).unwrap();
    assert!(!read.needs_a_target());
    assert_eq!(read.title, "About nothing");
    assert_eq!(read.source["title"], "About nothing");
    assert!(read.looks.during && read.rolls_back == RollsBack::Always);
    assert_eq!(read.method[1].name, "is it");
    assert!(read.method[0].background);
    assert_eq!(read.method[0].pauses.0, Duration::from_millis(500));
    assert!(parse(&good()).unwrap().needs_a_target());
}

#[test]
fn what_is_no_json_is_named_with_line_and_column() {
    let wrong = Experiment::parse("{\n  \"title\": \"x\",\n}", &environment()).unwrap_err();
    assert_eq!(wrong.place, "line 3, column 1");
    assert!(Experiment::parse("", &environment()).is_err());
    assert_eq!(
        Experiment::parse("[]", &environment()).unwrap_err().place,
        "$"
    );
}
