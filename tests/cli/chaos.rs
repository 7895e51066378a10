//! Drills from outside: what there is, good and bad files, and how each ends.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Ran, refused, sonia, sonia_in};

fn journal(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn step(kind: &str, act: &str, arguments: &Value) -> Value {
    let provider = json!({"type": "sonia", kind: act, "arguments": arguments});
    json!({"type": kind, "name": act, "provider": provider})
}

/// An experiment that looks for a mode and then does these steps.
fn experiment(mode: &str, method: &[Value]) -> Value {
    let mut probe = step("probe", "mode", &json!({}));
    probe["tolerance"] = mode.into();
    json!({
        "title": "A file of one's own",
        "description": "It is run as it stands.",
        "steady-state-hypothesis": {"title": "The mode is known.", "probes": [probe]},
        "method": method,
        "rollbacks": [step("action", "heal", &json!({}))],
    })
}

/// Runs it in a folder of its own, and gives what it said and its journal.
fn drilled(experiment: &Value, arguments: &[&str]) -> (Ran, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.json");
    fs::write(&file, experiment.to_string()).unwrap();
    let all = [&["chaos", "own.json", "--journal", "j.json"], arguments].concat();
    let ran = sonia_in(folder.path(), &all);
    let journal = journal(&folder.path().join("j.json"));
    (ran, journal)
}

#[test]
fn the_list_names_each_drill_and_what_it_is_for() {
    let ran = sonia(&["chaos", "list"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for name in ["approval-storm", "crash-restart", "degrade-cycle"] {
        let line = ran.out.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.len() > name.len() + 10),
            "{}",
            ran.out
        );
    }
}

#[test]
fn a_drill_that_holds_ends_with_0_and_leaves_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let ran = sonia_in(folder.path(), &["chaos", "crash-restart", "--seed", "0x10"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "        Seed 16");
    let kills = lines
        .iter()
        .filter(|line| line.starts_with("        Kill "));
    assert_eq!(kills.count(), 4, "{}", ran.out);
    let hint = "hint: sonia-gate chaos crash-restart --seed 16";
    assert!(lines.contains(&hint), "{}", ran.out);
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("        PASS [") && last.contains("4 kills"),
        "{last}"
    );
    let journal = journal(
        &folder
            .path()
            .join("target/sonia/chaos/crash-restart/journal.json"),
    );
    assert_eq!(
        (&journal["status"], &journal["deviated"]),
        (&"completed".into(), &false.into())
    );
    for when in ["before", "after"] {
        assert_eq!(
            journal["steady_states"][when]["steady_state_met"], true,
            "{when}"
        );
    }
    let statuses: Vec<&Value> = journal["run"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["status"])
        .collect();
    assert_eq!(statuses, ["succeeded"; 4]);
    assert_eq!(journal["sonia"]["verdict"], "PASS");
    assert_eq!(journal["sonia"]["seed"], "16");
}

#[test]
fn a_mutant_turns_it_red_with_1_and_one_that_it_cannot_see_is_no_success() {
    let red = sonia(&[
        "chaos",
        "crash-restart",
        "--mutant",
        "idempotency-memory-map",
    ]);
    assert_eq!(red.code, Some(1), "{}{}", red.out, red.err);
    let hint = red.out.lines().find(|line| line.starts_with("hint: "));
    assert!(
        hint.unwrap().ends_with(" --mutant idempotency-memory-map"),
        "{}",
        red.out
    );
    assert!(
        red.out
            .lines()
            .last()
            .unwrap()
            .starts_with("        FAIL ["),
        "{}",
        red.out
    );
    let unseen = sonia(&["chaos", "crash-restart", "--mutant", "slo-manual-reset"]);
    assert_eq!(unseen.code, Some(3), "{}{}", unseen.out, unseen.err);
    assert!(
        unseen.out.contains("wrong on purpose held"),
        "{}",
        unseen.out
    );
}

#[test]
fn a_hypothesis_that_is_not_met_before_ends_with_1_and_nothing_is_done() {
    let kill = step("action", "kill", &json!({}));
    let (ran, journal) = drilled(&experiment("degraded", &[kill]), &[]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("`mode` got \"normal\", expected \"degraded\""),
        "{}",
        ran.out
    );
    assert_eq!(journal["status"], "completed");
    assert_eq!(journal["run"], json!([]));
    assert_eq!(journal["steady_states"]["after"], Value::Null);
    assert_eq!(journal["rollbacks"][0]["status"], "succeeded");
}

#[test]
fn an_action_that_fails_ends_with_3_and_the_rollbacks_are_done() {
    let start = step("action", "start", &json!({}));
    let kill = step("action", "kill", &json!({}));
    let (ran, journal) = drilled(&experiment("normal", &[start, kill]), &[]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("the target runs already"), "{}", ran.out);
    assert_eq!(journal["status"], "aborted");
    assert_eq!(journal["run"].as_array().unwrap().len(), 1);
    assert_eq!(journal["run"][0]["status"], "failed");
    assert_eq!(journal["rollbacks"][0]["status"], "succeeded");
}

#[test]
fn a_hypothesis_that_cannot_be_looked_at_afterwards_ends_with_3() {
    let kill = step("action", "kill", &json!({}));
    let (ran, journal) = drilled(&experiment("normal", &[kill]), &[]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert_eq!(journal["deviated"], true);
    assert_eq!(
        journal["steady_states"]["after"]["probes"][0]["status"],
        "failed"
    );
}

#[test]
fn latency_that_meets_nobody_and_a_method_without_a_fault_end_with_3() {
    let traffic = step("action", "traffic", &json!({"windows": 1}));
    let inject = step("action", "inject-latency", &json!({"at": "double"}));
    let heal = step("action", "heal", &json!({}));
    for (method, why) in [
        (
            vec![inject, heal, traffic.clone()],
            "no turn certainly met it",
        ),
        (vec![traffic], "the method has no fault"),
    ] {
        let (ran, journal) = drilled(&experiment("normal", &method), &[]);
        assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(why), "{}", ran.out);
        assert_eq!(journal["status"], "completed");
    }
}

#[test]
fn a_target_that_is_only_a_url_or_no_target_is_undecided() {
    let kill = step("action", "kill", &json!({}));
    let own = experiment("normal", &[kill]);
    let (ran, _) = drilled(&own, &["--target", "http://127.0.0.1:9"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("nothing can be injected there"),
        "{}",
        ran.out
    );
    let (ran, journal) = drilled(&own, &["--target", "empty"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert_eq!(journal["status"], "failed");
}

#[test]
fn what_is_not_there_or_malformed_is_refused_with_place_and_hint() {
    refused(
        &["chaos", "degrade-cycl"],
        "no drill and no file `degrade-cycl`",
        "did you mean `degrade-cycle`?",
    );
    refused(
        &["chaos", "degrade-cycle", "--mutant", "nobody"],
        "unknown mutant `nobody`",
        "",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.json");
    let path = file.to_str().unwrap();
    let mut bad = experiment("normal", &[step("action", "explode", &json!({}))]);
    for (text, what) in [
        (
            bad.to_string(),
            "$.method[0].provider.action: got \"explode\", expected one of",
        ),
        ("{".to_owned(), "line 1, column 1: no JSON"),
        (
            {
                bad["method"][0]["provider"] =
                    json!({"type": "python", "module": "os", "func": "abort"});
                bad.to_string()
            },
            "a provider of type `python` is not run here",
        ),
    ] {
        fs::write(&file, text).unwrap();
        refused(&["chaos", path], what, "scenarios/ has examples");
    }
    let ran = sonia(&["chaos"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}
