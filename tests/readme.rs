//! The README is held against the program: its commands exist, and what it shows of their output
//! is what they print, numbers aside.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use sonia_gate::report::KillMatrix;

const README: &str = include_str!("../README.md");

/// A line without what differs from run to run: each number is one `#`, each blank is one, and
/// places are not padded.
fn stable(line: &str) -> String {
    let mut kept = String::new();
    for letter in line
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
    {
        match letter {
            '0'..='9' | '.' if kept.ends_with('#') => {}
            '0'..='9' => kept.push('#'),
            other => kept.push(other),
        }
    }
    kept.replace("( #", "(#").replace("[ #", "[#")
}

/// A line up to what a gate says of its numbers: status, time, place, id and name.
fn head(line: &str) -> String {
    let line = stable(line);
    match line.starts_with("PASS") {
        true => line.split(' ').take(5).collect::<Vec<_>>().join(" "),
        false => line,
    }
}

/// The lines that the README shows as the output of `name`.
fn shown(name: &str) -> Vec<&'static str> {
    let start = format!("<!-- output: {name} -->\n```text\n");
    let (_, rest) = README.split_once(&start).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let lines = block.lines();
    lines
        .filter(|line| !line.is_empty() && line.trim() != "...")
        .collect()
}

/// The arguments of every `cargo run -- ...` in the README.
fn commands() -> BTreeSet<Vec<&'static str>> {
    let words = |text: &'static str| {
        let end = text.find(['\n', '`']).unwrap();
        text[..end].split_whitespace().collect()
    };
    README.split("cargo run -- ").skip(1).map(words).collect()
}

fn sonia_gate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonia-gate"));
    command.env("NO_COLOR", "1");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}

#[test]
fn numbers_differ_and_words_do_not() {
    assert_eq!(
        stable("  PASS [  0.036s] ( 1/84) v4.7/B1"),
        "PASS [#s] (#/#) v#/B#"
    );
    assert_eq!(stable("[ 10.036s] (10/84)"), "[#s] (#/#)");
    assert_ne!(stable("PASS 1"), stable("FAIL 1"));
}

#[test]
fn every_command_is_one_that_the_program_knows() {
    let commands = commands();
    assert!(
        commands.len() >= 6,
        "got {} commands, expected 6 or more",
        commands.len()
    );
    for arguments in commands {
        sonia_gate()
            .args(&arguments)
            .arg("--help")
            .assert()
            .success();
    }
    let unknown = ["gate", "v4.7", "--no-such-option", "--help"];
    sonia_gate().args(unknown).assert().code(2);
}

#[test]
fn the_release_is_gated_as_shown() {
    let out = tempfile::tempdir().unwrap();
    let mut command = sonia_gate();
    let run = command
        .args(["gate", "v4.7", "--out"])
        .arg(out.path())
        .assert();
    let printed = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    // A change that is not proven yet is held, whatever its gates say.
    let unproven = printed.contains("is the proof of other sources");
    run.code(if unproven { 3 } else { 0 });
    let printed: BTreeSet<_> = printed.lines().map(head).collect();
    let shown = shown("gate");
    assert!(
        shown.len() >= 9,
        "got {} lines, expected 9 or more",
        shown.len()
    );
    let verdict = |line: &String| line.trim_start().starts_with("PROMOTE");
    let shown = shown.into_iter().map(head);
    for line in shown.filter(|line| !(unproven && verdict(line))) {
        assert!(printed.contains(&line), "not printed: {line}\n{printed:#?}");
    }
}

#[test]
fn the_proof_is_the_one_that_is_shown() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("releases/v4.7.0/kill-matrix.json");
    let matrix = KillMatrix::read(&file).unwrap();
    let run = matrix
        .mutants
        .iter()
        .filter(|mutant| !mutant.results.is_empty())
        .count();
    let (count, shown) = (
        format!("{run} mutants: {run} killed"),
        shown("prove").join("\n"),
    );
    assert!(
        shown.contains(&count),
        "the matrix has {count}, the README shows\n{shown}"
    );
    for null in &matrix.null_targets {
        assert!(
            null.passed.is_empty(),
            "{} passed {:?}",
            null.name,
            null.passed
        );
    }
}
