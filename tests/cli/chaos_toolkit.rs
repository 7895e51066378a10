//! Experiments for Chaos Toolkit: run here and by the real `chaos`, they leave the same journal, but
//! for what only a clock, a machine or a traceback says. Without `chaos` the journals are held against
//! what it was seen to write.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::sonia_in;

/// The tool, where `.ci/run` installs it.
const CHAOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/sonia/python/bin/chaos");

/// How an experiment ends, strictly and leniently, and the status in its journal.
struct Case {
    name: &'static str,
    experiment: Value,
    strict: i32,
    lenient: i32,
    status: &'static str,
    deviated: bool,
}

fn step(kind: &str, name: &str, provider: Value) -> Value {
    json!({"type": kind, "name": name, "provider": provider})
}

fn shell(kind: &str, name: &str, script: &str) -> Value {
    step(
        kind,
        name,
        json!({"type": "process", "path": "sh", "arguments": ["-c", script]}),
    )
}

fn http(kind: &str, name: &str, path: &str) -> Value {
    let url = format!("${{url}}{path}");
    step(
        kind,
        name,
        json!({"type": "http", "url": url, "timeout": [5, 5]}),
    )
}

fn with(mut of: Value, name: &str, value: Value) -> Value {
    of[name] = value;
    of
}

fn experiment(probes: Vec<Value>, method: Vec<Value>) -> Value {
    json!({
        "version": "1.0.0",
        "title": "About ${who}",
        "description": "An experiment with the providers that both tools have.",
        "tags": ["compatible"],
        "configuration": {
            "who": "both",
            "three": {"type": "env", "key": "DRILL_THREE", "default": "3", "env_var_type": "int"},
            "url": {"type": "env", "key": "DRILL_URL"},
        },
        "secrets": {"scope": {"token": {"type": "env", "key": "DRILL_TOKEN"}}},
        "steady-state-hypothesis": {"title": "It is as it should be.", "probes": probes},
        "method": method,
        "rollbacks": [shell("action", "roll back", "echo and back it went")],
    })
}

/// Exits with 0, 1, 2, ... by a file in the working directory: how often it was asked. (Not by what it
/// prints: of a few bytes the other tool guesses the encoding, and takes `7.5` for Chinese.)
const COUNT: &str = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; exit $n";

fn fine() -> Vec<Value> {
    vec![with(
        shell("probe", "true", "exit 0"),
        "tolerance",
        json!(0),
    )]
}

/// A probe with every sort of tolerance, each met.
fn tolerated() -> Vec<Value> {
    let stdout =
        |kind: &str, key: &str, what: Value| json!({"type": kind, key: what, "target": "stdout"});
    let out = |script: &str, tolerance: Value| {
        with(shell("probe", script, script), "tolerance", tolerance)
    };
    vec![
        out(
            "echo it is ready now",
            stdout("regex", "pattern", json!("re[ad]+y")),
        ),
        out(
            "exit 7",
            json!({"type": "range", "range": [7, 8], "target": "status"}),
        ),
        out("exit 4", json!([2, 4, 6])),
        out("exit ${three}", json!(3)),
        out(
            "echo '{\"a\": [{\"b\": 1}, {\"b\": 2}]}'",
            json!({"type": "jsonpath", "path": "$.a[*].b", "target": "stdout", "expect": [1, 2]}),
        ),
        out(
            "echo '{\"a\": [1, 2]}'",
            json!({"type": "jsonpath", "path": "$.a[*]", "target": "stdout", "count": 2}),
        ),
        with(
            http("probe", "json", "/json"),
            "tolerance",
            json!([200, 204]),
        ),
        with(
            http("probe", "json inside", "/json"),
            "tolerance",
            json!({"type": "jsonpath", "path": "$.is.it", "target": "body", "expect": "json"}),
        ),
    ]
}

/// Every sort of step and tolerance, nothing wrong.
fn all_sorts() -> Value {
    let mut form = http("action", "a form", "/echo");
    form["provider"]["method"] = json!("POST");
    form["provider"]["arguments"] = json!({"a": "b c", "n": "${three}"});
    form["provider"]["headers"] = json!({"X-Token": "${token}"});
    let mut query = http("probe", "a query", "/echo?x=y");
    query["provider"]["arguments"] = json!({"a": "b c", "n": "${three}"});
    let text = "-c 'echo $who ${who} $$DRILL_TOKEN ${nobody:-none} ${token}'";
    let method = vec![
        form,
        query,
        with(
            shell(
                "action",
                "behind",
                "sleep 0.4; echo it was behind the others",
            ),
            "background",
            json!(true),
        ),
        with(
            shell("action", "after a while", "echo it came after a while >&2"),
            "pauses",
            json!({"before": 0.1, "after": 0.1}),
        ),
        step(
            "action",
            "a text",
            json!({"type": "process", "path": "sh", "arguments": text}),
        ),
        step(
            "action",
            "pairs",
            json!({"type": "process", "path": "printf", "arguments": {"%s, said the printer of pairs\n": "${three}"}}),
        ),
        shell("action", "by a signal", "kill -TERM $$"),
        json!({"ref": "exit 4"}),
    ];
    experiment(tolerated(), method)
}

fn fault() -> Value {
    shell("action", "fault", "echo the fault is done")
}

/// A probe that says how often it was asked before, and is tolerated up to this.
fn counted(limit: u32) -> Value {
    let tolerance = json!({"type": "range", "range": [0, limit], "target": "status"});
    with(shell("probe", "count", COUNT), "tolerance", tolerance)
}

/// A probe of a port where nobody is.
fn nobody() -> Value {
    let provider = json!({"type": "http", "url": "http://127.0.0.1:1/", "timeout": 5});
    step("probe", "nobody", provider)
}

impl Case {
    /// One that goes on to its end as the other tool sees it, and how it ends here.
    fn completed(name: &'static str, strict: i32, experiment: Value) -> Self {
        Self {
            name,
            experiment,
            strict,
            lenient: 0,
            status: "completed",
            deviated: false,
        }
    }
}

fn cases() -> Vec<Case> {
    let unmet = with(shell("probe", "no", "exit 1"), "tolerance", json!(0));
    let broken = with(nobody(), "tolerance", json!(200));
    let slow = json!({"type": "process", "path": "sleep", "arguments": ["60"], "timeout": 0.2});
    let never = json!({
        "rollbacks": {"strategy": "never"}, "hypothesis": {"strategy": "after-method-only"},
    });
    let failing = vec![nobody(), step("action", "slow", slow), fault()];
    let garbled = vec![http("action", "no json", "/garbled"), fault()];
    let no_fault = vec![shell("action", "fault", "exit 1"), fault()];
    vec![
        Case::completed("all-sorts", 3, all_sorts()),
        Case::completed("good", 0, experiment(fine(), vec![fault()])),
        Case::completed("not-met-before", 1, experiment(vec![unmet], vec![fault()])),
        Case::completed("fault-did-not-happen", 3, experiment(fine(), no_fault)),
        Case::completed("step-failed", 3, experiment(fine(), failing)),
        Case::completed(
            "never-rolled-back",
            0,
            with(
                experiment(vec![counted(0)], vec![fault()]),
                "runtime",
                never,
            ),
        ),
        Case {
            lenient: 1,
            status: "failed",
            ..Case::completed("failed", 3, experiment(vec![broken], vec![fault()]))
        },
        Case {
            lenient: 1,
            deviated: true,
            ..Case::completed("deviated", 1, experiment(vec![counted(0)], vec![fault()]))
        },
        Case {
            lenient: 1,
            status: "aborted",
            ..Case::completed("aborted", 3, experiment(fine(), garbled))
        },
    ]
}

/// Answers what the experiments ask for, on a port of its own, as long as the test lasts.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let request = request(&mut stream);
                let path = request.split(' ').nth(1).unwrap_or("/");
                let kind = if path.starts_with("/echo") {
                    "text/plain; charset=utf-8"
                } else {
                    "application/json"
                };
                let body = match path {
                    "/json" => "{\"is\": {\"it\": \"json\"}}".to_owned(),
                    "/garbled" => "{".to_owned(),
                    _ => {
                        let token = request
                            .lines()
                            .find(|line| line.to_lowercase().starts_with("x-token"));
                        let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
                        format!("{path} {} {body}", token.unwrap_or("-"))
                    }
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nX-ODD-Case: yes\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            });
        }
    });
    url
}

fn request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut more = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut more) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&more[..read]),
            _ => return text,
        }
    }
}

/// What both tools have to say alike: all but times, tracebacks and the machine.
fn comparable(journal: &Value) -> Value {
    match journal {
        Value::Object(map) => {
            let own = [
                "start",
                "end",
                "duration",
                "node",
                "platform",
                "chaoslib-version",
                "sonia",
                "dry",
            ];
            let kept = map.iter().filter(|(name, _)| !own.contains(&name.as_str()));
            let kept = kept.map(|(name, value)| {
                let value = match name.as_str() {
                    "exception" => json!("an exception"),
                    _ => comparable(value),
                };
                (name.clone(), value)
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(comparable).collect(),
        plain => plain.clone(),
    }
}

fn journal(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Runs a case here; gives the exit code, what was said and the journal.
fn ours(case: &Case, url: &str, lenient: bool) -> (Option<i32>, String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let text = case.experiment.to_string();
    fs::write(folder.path().join("e.json"), text).unwrap();
    let mut arguments = vec!["chaos", "e.json", "--journal", "j.json"];
    arguments.extend(lenient.then_some("--lenient"));
    let ran = super::sonia_under(folder.path(), &arguments, &environment(url));
    let said = format!("{}{}", ran.out, ran.err);
    (ran.code, said, journal(&folder.path().join("j.json")))
}

fn environment(url: &str) -> [(&'static str, String); 2] {
    [
        ("DRILL_URL", url.to_owned()),
        ("DRILL_TOKEN", "t0ken".to_owned()),
    ]
}

/// The same by the other tool, where there is one.
fn theirs(case: &Case, url: &str) -> Option<(Option<i32>, Value)> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("e.json"), case.experiment.to_string()).unwrap();
    let ran = Command::new(CHAOS)
        .args(["run", "--journal-path", "j.json", "e.json"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .envs(environment(url))
        .output()
        .ok()?;
    Some((ran.status.code(), journal(&folder.path().join("j.json"))))
}

#[test]
fn each_experiment_ends_as_it_should_strictly_and_as_the_other_tool_does_leniently() {
    let url = serve();
    for case in cases() {
        let name = case.name;
        let (code, said, journal) = ours(&case, &url, false);
        assert_eq!(code, Some(case.strict), "{name}: {said}");
        assert_eq!(journal["status"], case.status, "{name}: {said}");
        assert_eq!(journal["deviated"], case.deviated, "{name}: {said}");
        let (code, said, _) = ours(&case, &url, true);
        assert_eq!(code, Some(case.lenient), "{name}, leniently: {said}");
    }
}

#[test]
fn the_journal_is_that_of_the_other_tool() {
    if !Path::new(CHAOS).exists() {
        return super::foreign::left_out("journals of the real chaos: it is not installed");
    }
    let url = serve();
    for case in cases() {
        let name = case.name;
        let (_, said, own) = ours(&case, &url, true);
        let (code, other) = theirs(&case, &url).expect("chaos can be run");
        assert_eq!(code, Some(case.lenient), "{name}: the other tool");
        let (own, other) = (comparable(&own), comparable(&other));
        let (keys, others) = (keys(&own), keys(&other));
        assert_eq!(keys, others, "{name}: {said}");
        for key in keys {
            assert_eq!(own[&key], other[&key], "{name}, {key}: {said}");
        }
    }
}

fn keys(of: &Value) -> Vec<String> {
    of.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_hypothesis_is_looked_at_while_the_method_goes_on_when_the_file_says_so() {
    let runtime = json!({"hypothesis": {"strategy": "continuously"}});
    let slow = || shell("action", "slow", "sleep 0.3");
    let case = |probe: Value| Case {
        name: "continuously",
        experiment: with(
            experiment(vec![probe], vec![slow()]),
            "runtime",
            runtime.clone(),
        ),
        strict: 0,
        lenient: 0,
        status: "completed",
        deviated: false,
    };
    let good = case(with(
        shell("probe", "fine", "exit 0"),
        "tolerance",
        json!(0),
    ));
    let (code, said, journal) = ours(&good, "http://127.0.0.1:1", false);
    assert_eq!(code, Some(0), "{said}");
    let during = journal["steady_states"]["during"].as_array().unwrap();
    assert!(
        !during.is_empty() && during[0]["steady_state_met"] == true,
        "{journal}"
    );
    // Met the first time, before the method, and not afterwards.
    let bad = case(counted(0));
    let (code, said, _) = ours(&bad, "http://127.0.0.1:1", false);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not met during the method"), "{said}");
}

#[test]
fn a_value_that_the_environment_does_not_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = experiment(fine(), vec![]).to_string();
    fs::write(folder.path().join("e.json"), text).unwrap();
    for (more, code) in [(None, 2), (Some("--lenient"), 1)] {
        let mut arguments = vec!["chaos", "e.json"];
        arguments.extend(more);
        let ran = sonia_in(folder.path(), &arguments);
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        let expected = "$.configuration.url: the environment has no DRILL_URL";
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}
