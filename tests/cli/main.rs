//! The binary from outside: what it says and how it ends, on good and on bad input.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot unwrap fails, as it should"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

#[path = "../foreign/mod.rs"]
mod foreign;

mod bundles;
mod chaos;
mod chaos_toolkit;
mod cleanroom;
mod drills;
mod history;
mod proxy;
mod runs;
mod signals;
mod supervision;
mod usage;
mod verdicts;

/// Far more than anything here takes; a stop, not a measure.
const DEADLINE: Duration = Duration::from_secs(60);

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonia-gate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR");
    command
}

fn sonia_in(folder: &Path, arguments: &[&str]) -> Ran {
    sonia_under(folder, arguments, &[])
}

/// The same with more in its environment.
fn sonia_under(folder: &Path, arguments: &[&str], environment: &[(&str, String)]) -> Ran {
    let mut command = command(folder, arguments);
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    let Output {
        status,
        stdout,
        stderr,
    } = assert_cmd::Command::from_std(command)
        .timeout(DEADLINE)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: status.code(),
        out: text(stdout),
        err: text(stderr),
    }
}

fn sonia(arguments: &[&str]) -> Ran {
    sonia_in(tempfile::tempdir().unwrap().path(), arguments)
}

fn refused(arguments: &[&str], what: &str, hint: &str) {
    let ran = sonia(arguments);
    assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains(what),
        "{arguments:?}: {}",
        ran.err
    );
    let told = lines
        .iter()
        .any(|line| line.starts_with("hint: ") && line.contains(hint));
    assert!(told, "{arguments:?}, expected `{hint}`: {}", ran.err);
    assert!(ran.out.is_empty(), "{arguments:?}: {}", ran.out);
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("gate-report.json")).unwrap()).unwrap()
}
