//! Questions, and wrong usage: each answer says what, where and what to do.

use std::fs;
use std::path::Path;

use super::{command, refused, sonia};

#[test]
fn help_and_version_are_answers() {
    for arguments in [["--help"].as_slice(), &["gate", "--help"], &["--version"]] {
        let ran = sonia(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!ran.out.is_empty());
    }
    for command in [
        "gate", "list", "explain", "prove", "bundle", "chaos", "history", "serve",
    ] {
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

/// What nobody could read was not said: `/dev/full` takes no byte.
#[test]
fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    for arguments in [&["list", "v4.7"][..], &["--help"]] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut list = command(Path::new("."), arguments);
        let ended = list.stdout(full).output().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{errors}");
        assert!(
            errors.starts_with("error: cannot write to stdout: "),
            "{errors}"
        );
        assert_eq!(errors.lines().count(), 2, "{errors}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command(Path::new("."), arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    }
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
        "  how       ",
    ] {
        assert!(by_id.out.contains(text), "expected `{text}`: {}", by_id.out);
    }
    assert_eq!(by_id.out, sonia(&["explain", "approval-race-safe"]).out);
    let other = sonia(&["explain", "v4.4/B1"]).out;
    assert!(
        other.contains("backends-wired")
            && other.contains("src/checks/voice/backends_wired.rs")
            && other.contains("voice-canned-result"),
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
