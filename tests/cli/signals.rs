//! Runs that are cut short: they leave a report and no process.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{DEADLINE, command, report};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A process that is killed when the test ends, however it ends.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(super) fn ended(&mut self) -> Option<i32> {
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
pub(super) fn targets_in(folder: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(folder))
        .count()
}

pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
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
    running(
        folder,
        &["gate", "v4.7", "approval-race-safe", "--out", "out"],
    )
}

fn running(folder: &Path, arguments: &[&str]) -> Running {
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = command(folder, arguments);
    command
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = Running(command.spawn().unwrap());
    let place = temporary.to_str().unwrap().to_owned();
    wait_until("a target runs", || targets_in(&place) > 0);
    child
}

pub(super) fn signal(child: &Running, signal: nix::sys::signal::Signal) {
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

#[test]
fn an_interrupted_drill_leaves_a_journal_as_far_as_it_got_and_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["chaos", "degrade-cycle", "--journal", "journal.json"];
    let mut child = running(folder.path(), &arguments);
    let journal = folder.path().join("journal.json");
    let read =
        || -> Option<serde_json::Value> { serde_json::from_slice(&fs::read(&journal).ok()?).ok() };
    // Before anything is done it says that the drill was cut short: should it be killed, that is so.
    wait_until("a first journal is there", || read().is_some());
    assert_eq!(read().unwrap()["status"], "interrupted");
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.ended(), Some(3));
    let place = folder.path().join("tmp");
    wait_until("no target is left", || {
        targets_in(place.to_str().unwrap()) == 0
    });
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    let journal = read().unwrap();
    assert_eq!(
        (&journal["status"], &journal["sonia"]["verdict"]),
        (&"interrupted".into(), &"UNKNOWN".into())
    );
}
