//! The fault proxy from outside: how it starts and ends, and that clients which are not ours drive it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::foreign::left_out;
use super::signals::Running;
use super::{command, refused, sonia};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where `.ci/run` installs what other people wrote.
const INSTALLED: &str = "target/sonia";

/// A proxy that runs, and what it said first.
struct Proxy {
    running: Running,
    line: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Proxy {
    fn start(arguments: &[&str]) -> Self {
        let folder = std::env::temp_dir();
        let arguments = [&["proxy", "--port", "0"], arguments].concat();
        let mut command = command(&folder, &arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running(command.spawn().unwrap());
        let mut rest = BufReader::new(running.0.stdout.take().unwrap());
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        Self {
            running,
            line,
            rest,
        }
    }

    /// Host and port.
    fn address(&self) -> String {
        let (_, rest) = self.line.split_once("http://").unwrap();
        rest.split(',').next().unwrap().to_owned()
    }

    fn ask(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Ends it by a signal: its exit code, and what else it said.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_raw(self.running.0.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        let code = self.running.ended();
        let mut rest = String::new();
        self.rest.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

#[test]
fn it_says_where_it_listens_and_its_seed_and_ends_when_it_is_told() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let proxy = Proxy::start(&["--seed", "0xff"]);
        assert!(
            proxy
                .line
                .trim_start()
                .starts_with("Listening http://127.0.0.1:"),
            "{}",
            proxy.line
        );
        assert!(proxy.line.ends_with(", seed 255\n"), "{}", proxy.line);
        assert_eq!(proxy.ask("/seed"), json!({"seed": 255}));
        // A client that stays is no reason to stay.
        let idle = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(proxy.end(signal), (Some(0), String::new()));
        drop(idle);
    }
}

#[test]
fn a_config_file_makes_the_first_proxies() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("toxiproxy.json");
    let toxic = json!({"type": "latency", "attributes": {"latency": 5}});
    let proxies = json!([
        {"name": "one", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "enabled": true},
        {"name": "two", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "toxics": [toxic]},
    ]);
    fs::write(&config, proxies.to_string()).unwrap();
    let config = config.display().to_string();
    let proxy = Proxy::start(&["--config", &config]);
    let all = proxy.ask("/proxies");
    assert_eq!(all["one"]["enabled"], true);
    assert_eq!(all["two"]["toxics"][0]["name"], "latency_downstream");
    assert_eq!(proxy.end(Signal::SIGTERM).0, Some(0));
    for (text, what) in [
        ("{}", "bad request body: "),
        (
            r#"[{"name": "one"}]"#,
            "missing required field: upstream at proxy 1",
        ),
        (
            r#"[{"name": "one", "upstream": "x:1", "toxics": [{"type": "latncy"}]}]"#,
            "invalid toxic type",
        ),
    ] {
        fs::write(&config, text).unwrap();
        let arguments = ["proxy", "--port", "0", "--config", &config];
        refused(&arguments, what, "JSON array");
    }
}

#[test]
fn what_cannot_be_used_is_a_usage_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(
        &["proxy", "--port", &port],
        &format!("cannot listen on 127.0.0.1:{port}"),
        "--port",
    );
    refused(
        &["proxy", "--port", "0", "--config", "/nowhere.json"],
        "/nowhere.json",
        "--config",
    );
    for wrong in [["--port", "70000"], ["--seed", "many"], ["--prot", "1"]] {
        let ran = sonia(&[&["proxy"], &wrong[..]].concat());
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.err);
    }
    let help = sonia(&["proxy", "--help"]);
    assert_eq!(help.code, Some(0));
    for words in ["Exit codes: 0", "Example: sonia-gate proxy"] {
        assert!(help.out.contains(words), "no `{words}` in {}", help.out);
    }
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Lets a client drive a proxy; what it did.
fn drive(command: &mut Command) -> Vec<String> {
    let proxy = Proxy::start(&[]);
    let address = proxy.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let output = command.args([host, port]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(proxy.end(Signal::SIGTERM).0, Some(0));
    let done = String::from_utf8(output.stdout).unwrap();
    done.lines().map(str::to_owned).collect()
}

/// What each client does.
const DONE: [&str; 11] = [
    "version",
    "create",
    "latency",
    "limit_data",
    "reset_peer",
    "bandwidth",
    "slicer",
    "slow_close",
    "timeout",
    "down",
    "populate",
];

fn foreign(script: &str) -> PathBuf {
    Path::new(ROOT).join("tests/foreign").join(script)
}

#[test]
fn toxiproxy_python_drives_it_unmodified() {
    let python = Path::new(ROOT).join(INSTALLED).join("python/bin/python");
    let candidates = [python, PathBuf::from("python3")];
    let mut candidates = candidates.iter();
    let Some(python) =
        candidates.find(|python| runs(Command::new(python).args(["-c", "import toxiproxy"])))
    else {
        return left_out("toxiproxy-python: no Python that has it");
    };
    let done = drive(Command::new(python).arg(foreign("toxiproxy_clients.py")));
    assert_eq!(done, DONE);
}

#[test]
fn toxiproxy_node_client_drives_it_unmodified() {
    let client = Path::new(ROOT)
        .join(INSTALLED)
        .join("node_modules/toxiproxy-node-client");
    if !client.is_dir() || !runs(Command::new("node").arg("--version")) {
        return left_out("toxiproxy-node-client: it is not installed, or there is no node");
    }
    let mut node = Command::new("node");
    node.arg(foreign("toxiproxy_clients.js")).arg(&client);
    assert_eq!(drive(&mut node), DONE);
}
