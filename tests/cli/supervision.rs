//! A supervisor and its services, as processes: whatever ends it ends them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::signals::{Running, signal, targets_in, wait_until};
use super::{command, sonia_in};

/// SHA-256 of `key-op-1`.
const KEY: &str = "6fe3444b9c96951c0fcd88b7230857cc90dadef039ce93c8b42e7eaf1dc097bf";
const SERVICES: [&str; 2] = ["memory-engine", "openclaw"];

/// A config for those two, all on any port.
fn write_config(folder: &Path, patch: &Value) {
    let operator = json!({"actor_id": "op-1", "role": "operator", "key_sha256": KEY});
    let keys = json!({"service_token": "svc_test", "operators": [operator]});
    fs::write(folder.join("keys.json"), keys.to_string()).unwrap();
    let ports: Value = ["eva-os", "orchestrator"]
        .iter()
        .chain(&SERVICES)
        .map(|name| (*name, json!({"port": 0})))
        .collect();
    let mut config = json!({
        "services": ports,
        "auth": {"key_file": "keys.json"},
        "supervisor": {"services": SERVICES},
    });
    sonia_gate::base::json::merge(&mut config, patch);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

const SERVE: [&str; 5] = ["serve", "--supervise", "--config", "config.json", "--data"];

/// Starts it, and waits until everybody is ready: the lines that it says.
fn supervisor(folder: &Path) -> (Running, Vec<Value>, BufReader<ChildStdout>) {
    write_config(folder, &json!({}));
    let data = folder.join("data");
    let mut arguments = SERVE.to_vec();
    arguments.push(data.to_str().unwrap());
    let mut command = command(folder, &arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = Running(command.spawn().unwrap());
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let line = |out: &mut BufReader<ChildStdout>| -> Value {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let lines = vec![line(&mut out), line(&mut out)];
    (child, lines, out)
}

#[test]
fn the_first_line_names_everybody_and_a_kill_leaves_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, lines, _out) = supervisor(folder.path());
    let names: Vec<&String> = lines[0]["services"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["eva-os", "memory-engine", "openclaw"]);
    assert_eq!(lines[0]["databases"].as_object().unwrap().len(), 4);
    assert_eq!(lines[1], json!({"event": "ready"}));
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    assert_eq!(targets_in(data), 3);
    signal(&child, Signal::SIGKILL);
    assert_eq!(child.ended(), None);
    wait_until("no service is left", || targets_in(data) == 0);
}

#[test]
fn a_stop_by_signal_ends_everybody_and_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _, _out) = supervisor(folder.path());
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.ended(), Some(0));
    let data = folder.path().join("data");
    assert_eq!(targets_in(data.to_str().unwrap()), 0);
}

#[test]
fn a_service_that_does_not_start_ends_everybody_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    write_config(
        folder.path(),
        &json!({"services": {"openclaw": {"port": port}}}),
    );
    let data = folder.path().join("data");
    let mut arguments = SERVE.to_vec();
    arguments.push(data.to_str().unwrap());
    let ran = sonia_in(folder.path(), &arguments);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("openclaw did not start"), "{}", ran.err);
    assert!(ran.out.is_empty(), "{}", ran.out);
    wait_until("no service is left", || {
        targets_in(data.to_str().unwrap()) == 0
    });
}

#[test]
fn the_orchestrator_is_asked_for_of_a_supervisor() {
    let ran = super::sonia(&[
        "serve",
        "--with-orchestrator",
        "--data",
        "d",
        "--config",
        "c",
    ]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("--supervise"), "{}", ran.err);
}
