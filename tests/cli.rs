//! The binary from outside: what it says and how it ends, on good and on bad input.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot unwrap fails, as it should"
)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than anything here takes; a stop, not a measure.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

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
    let Output {
        status,
        stdout,
        stderr,
    } = assert_cmd::Command::from_std(command(folder, arguments))
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

#[test]
fn help_and_version_are_answers() {
    for arguments in [["--help"].as_slice(), &["gate", "--help"], &["--version"]] {
        let ran = sonia(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!ran.out.is_empty());
    }
    for command in ["gate", "list", "explain", "prove", "serve"] {
        let ran = sonia(&[command, "--help"]);
        assert!(
            ran.out.contains(&format!("Example: sonia-gate {command}")),
            "{}",
            ran.out
        );
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        [].as_slice(),
        &["gat"],
        &["gate"],
        &["gate", "v4.7", "--jobs", "0"],
        &["gate", "v4.7", "--seed", "x"],
        &["gate", "v4.7", "--target", "liar", "--mutant", "x"],
    ] {
        let ran = sonia(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    refused(
        &["gate", "v4.8"],
        "unknown release `v4.8`",
        "v4.3, v4.4, v4.5, v4.6, v4.7",
    );
    refused(&["list", "4.7"], "unknown release `4.7`", "v4.7");
    refused(
        &["gate", "v4.7", "aproval-race-safe"],
        "unknown gate `aproval-race-safe`",
        "did you mean `approval-race-safe`?",
    );
    refused(
        &["explain", "wall-mode"],
        "unknown gate `wall-mode`",
        "did you mean `wal-mode`?",
    );
    refused(
        &["gate", "v4.6", "approval-race-safe"],
        "unknown gate",
        "sonia-gate list v4.6",
    );
    refused(
        &["gate", "v4.7", "--epic", "Z"],
        "unknown epic `Z`",
        "v4.3-A",
    );
    refused(
        &["gate", "v4.7", "--floor-only", "--delta-only"],
        "nothing of v4.7",
        "drop a filter",
    );
    refused(
        &["gate", "v4.7", "--target", "lair"],
        "unknown target `lair`",
        "did you mean `liar`?",
    );
    refused(
        &["gate", "v4.7", "--target", "http://example.com:7000"],
        "is not on loopback",
        "\"destructive\": true",
    );
    refused(
        &["gate", "v4.7", "--mutant", "nothing-wrong"],
        "unknown mutant",
        "explain",
    );
    refused(&["prove", "v9.9"], "unknown release", "v4.7");
    refused(
        &["gate", "v4.7", "--proof", "none.json"],
        "cannot read none.json",
        "kill-matrix.json",
    );
}

#[test]
fn list_shows_every_gate_in_the_order_of_the_report() {
    let ran = sonia(&["list"]);
    assert_eq!(ran.code, Some(0));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 84);
    assert!(
        lines[0].starts_with("v4.3/G1  file-exists "),
        "{}",
        lines[0]
    );
    assert!(
        lines[83].starts_with("v4.7/C6  slo-config-dynamic "),
        "{}",
        lines[83]
    );
    assert_eq!(sonia(&["list", "v4.3"]).out.lines().count(), 18);
}

#[test]
fn explain_says_what_is_known_of_a_gate() {
    let by_id = sonia(&["explain", "B1"]);
    assert_eq!(by_id.code, Some(0));
    for text in [
        "v4.7/B1 approval-race-safe",
        "exactly one wins",
        "overlapping_pairs 1000",
        "src/checks/policy/approval_race_safe.rs",
        "gates/v4.7.toml:",
        "approval-check-then-set",
    ] {
        assert!(by_id.out.contains(text), "expected `{text}`: {}", by_id.out);
    }
    assert_eq!(by_id.out, sonia(&["explain", "approval-race-safe"]).out);
    let other = sonia(&["explain", "v4.4/B1"]).out;
    assert!(
        other.contains("backends-wired") && other.contains("none yet"),
        "{other}"
    );
}

#[test]
fn output_that_is_piped_is_plain() {
    for arguments in [["explain", "B1"].as_slice(), &["list"], &["gate", "v4.8"]] {
        let ran = sonia(arguments);
        assert!(
            !ran.out.contains('\x1b') && !ran.err.contains('\x1b'),
            "{arguments:?}"
        );
    }
}

/// A folder with a copy of the gates, one of them changed.
fn gates(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("gates");
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
    dir
}

#[test]
fn a_broken_gates_folder_is_refused_with_file_line_and_what_to_do() {
    let broken = |from: &str, to: &str, what: &str, hint: &str| {
        let dir = gates("v4.7.toml", from, to);
        let folder = dir.path().to_str().unwrap();
        refused(&["list", "--gates", folder], what, hint);
        refused(&["gate", "v4.7", "--gates", folder], "v4.7.toml:", hint);
    };
    broken(
        "claim = ",
        "clam = ",
        "v4.7.toml:29: unknown field `clam`",
        "write `claim`",
    );
    broken(
        "delta = 18",
        "delta = 19",
        "v4.7.toml:10: delta says 19, counted 18",
        "missing",
    );
    broken(
        "floor = 66",
        "floor = 65",
        "v4.7.toml:9: floor says 65, counted 66",
        "missing",
    );
    broken(
        "\"approval-race-safe\"",
        "\"wal-mode\"",
        "gate `wal-mode` is there twice",
        "rename",
    );
    broken(
        "\"v4.6\"",
        "\"v4.7\"",
        "in a circle: v4.7",
        "remove its `inherits`",
    );
    broken("\"v4.6\"", "\"v4.2\"", "no such release", "v4.6");
    refused(
        &["list", "--gates", "nowhere"],
        "nowhere: cannot be read",
        "gates files",
    );
    let empty = tempfile::tempdir().unwrap();
    refused(
        &["list", "--gates", empty.path().to_str().unwrap()],
        "no gates file",
        ".toml",
    );
}

#[test]
fn a_copy_of_the_gates_is_read_as_the_built_in_ones() {
    let dir = gates("v4.7.toml", "floor", "floor");
    let copied = sonia(&["list", "--gates", dir.path().to_str().unwrap()]);
    assert_eq!(copied.out, sonia(&["list"]).out);
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("gate-report.json")).unwrap()).unwrap()
}

#[test]
fn gates_without_a_check_are_unknown_and_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    let ran = sonia_in(
        folder.path(),
        &["gate", "v4.7", "wal-mode", "v4.4/A1", "--seed", "0x10"],
    );
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "        Seed 16");
    assert_eq!(
        lines[1],
        "     UNKNOWN [         ] (1/2) v4.3/A2 wal-mode  no check yet"
    );
    assert!(
        lines[lines.len() - 2].starts_with("     Summary ["),
        "{}",
        ran.out
    );
    assert_eq!(
        lines[lines.len() - 1],
        "     PARTIAL v4.7: 2 of 84 gates selected: 2 undecided"
    );
    // A part of a release never writes to releases/.
    assert!(!folder.path().join("releases").exists());
    let report = report(&folder.path().join("target/sonia/v4.7.0"));
    assert_eq!(report["schema_version"], "14.0");
    assert_eq!(report["version"], "4.7.0");
    assert_eq!(report["verdict"], "PARTIAL");
    assert_eq!(report["seed"], "16");
    assert_eq!(report["gates"].as_array().unwrap().len(), 84);
    let count = |field: &str| report["summary"][field].as_u64().unwrap();
    assert_eq!(
        (count("unknown"), count("skip"), count("total")),
        (2, 82, 84)
    );
    assert_eq!(
        count("pass") + count("fail") + count("skip") + count("unknown"),
        count("total")
    );
}

#[test]
fn a_whole_release_without_checks_is_held_unproven_and_written_to_releases() {
    let folder = tempfile::tempdir().unwrap();
    let ran = sonia_in(folder.path(), &["gate", "v4.3", "--quiet"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.out.ends_with("HOLD v4.3: 18 undecided, 18 unproven\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("hint: sonia-gate prove v4.3\n"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("UNKNOWN"), "{}", ran.out);
    let report = report(&folder.path().join("releases/v4.3.0"));
    assert_eq!(report["verdict"], "HOLD");
    assert_eq!(report["unproven"].as_array().unwrap().len(), 18);
    let summary = &report["summary"];
    assert_eq!(
        (&summary["floor_total"], &summary["delta_total"]),
        (&0.into(), &18.into())
    );
}

#[test]
fn a_url_cannot_do_what_a_gate_needs() {
    let ran = sonia(&[
        "gate",
        "v4.7",
        "audit-chain-present",
        "--target",
        "http://127.0.0.1:9",
    ]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.out
            .contains("the target cannot do what it needs: restart"),
        "{}",
        ran.out
    );
}

#[test]
fn an_out_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let ran = sonia_in(
        folder.path(),
        &["gate", "v4.7", "wal-mode", "--out", "file/below"],
    );
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(
        ran.err
            .contains("error: cannot write file/below/gate-report.json"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("hint: ") && ran.err.contains("--out"),
        "{}",
        ran.err
    );
}

#[test]
fn a_config_file_with_a_typo_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"harness": {"targets": {"here": {"ulr": "http://127.0.0.1:1"}}}}"#;
    fs::write(folder.path().join("sonia-config.json"), config).unwrap();
    let ran = sonia_in(folder.path(), &["gate", "v4.7", "wal-mode"]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(
        ran.err.contains("harness.targets.here") && ran.err.contains("ulr"),
        "{}",
        ran.err
    );
}

#[test]
fn the_repository_config_holds_every_key_of_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| -> Value {
        serde_json::from_slice(&fs::read(root.join(path)).unwrap()).unwrap()
    };
    let mut ours = read("sonia-config.json");
    assert!(ours.as_object_mut().unwrap().remove("harness").is_some());
    assert_eq!(ours, read("fixtures/contract/config.json"));
}

fn serve(folder: &Path, config: &str) -> Ran {
    fs::write(folder.join("config.json"), config).unwrap();
    sonia_in(
        folder,
        &["serve", "--data", "data", "--config", "config.json"],
    )
}

#[test]
fn a_target_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (config, what) in [
        ("{", "config.json"),
        (r#"{"sloo": {}}"#, "sloo"),
        (
            r#"{"services": {"api-gateway": {"port": "7"}}}"#,
            "services.api-gateway.port",
        ),
        (r#"{"auth": {"key_file": "none.json"}}"#, "none.json"),
    ] {
        let ran = serve(folder.path(), config);
        assert_eq!(ran.code, Some(2), "{config}: {}", ran.err);
        assert!(ran.out.is_empty(), "{config}: {}", ran.out);
        assert!(
            ran.err.contains("error: ") && ran.err.contains(what),
            "{config}: {}",
            ran.err
        );
        assert!(ran.err.contains("hint: "), "{config}: {}", ran.err);
    }
}

/// A process that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < end,
                "still running after {} s",
                DEADLINE.as_secs()
            );
            std::thread::park_timeout(POLL);
        }
    }
}

/// Processes whose command line names this folder.
fn targets_in(folder: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(folder))
        .count()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(
            Instant::now() < end,
            "not within {} s: {what}",
            DEADLINE.as_secs()
        );
        std::thread::park_timeout(POLL);
    }
}

/// A gate run that has a target by now; its temporary files are in `folder`/tmp.
fn running_gate(folder: &Path) -> Running {
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = command(
        folder,
        &["gate", "v4.7", "approval-race-safe", "--out", "out"],
    );
    command
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = Running(command.spawn().unwrap());
    let place = temporary.to_str().unwrap().to_owned();
    wait_until("a target runs", || targets_in(&place) > 0);
    child
}

fn signal(child: &Running, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.0.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[test]
fn an_interrupted_run_leaves_a_report_and_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = running_gate(folder.path());
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.ended(), Some(3));
    let place = folder.path().join("tmp");
    wait_until("no target is left", || {
        targets_in(place.to_str().unwrap()) == 0
    });
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    let report = report(&folder.path().join("out"));
    assert_eq!(report["interrupted"], true);
    let row = report["gates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == "v4.7/B1")
        .unwrap();
    assert_eq!(
        (&row["status"], &row["detail"]),
        (&"UNKNOWN".into(), &"interrupted".into())
    );
}

#[test]
fn the_targets_of_a_killed_run_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = running_gate(folder.path());
    signal(&child, nix::sys::signal::Signal::SIGKILL);
    assert_eq!(child.ended(), None);
    let place = folder.path().join("tmp");
    wait_until("no target is left", || {
        targets_in(place.to_str().unwrap()) == 0
    });
}
