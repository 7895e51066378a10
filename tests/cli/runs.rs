//! Runs of gates that nothing is started for: rows, reports, proofs and where they go.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Ran, report, sonia, sonia_in};

/// Two gates that no check will ever be written for.
const UNCHECKED: &str = r#"[release]
name = "v1.0"
version = "1.0.0"
schema = "1.0"
floor = 0
delta = 2

[[epic]]
id = "A"
title = "Things nobody looks at"

[[gate]]
id = "A1"
name = "never-looked-at"
epic = "A"
subject = "nothing"
claim = "The first thing is what it is."
needs = []
deadline_s = 1
exercised = { looks = 1 }
mutants = ["first-is-not-what-it-is"]

[[gate]]
id = "A2"
name = "never-looked-for"
epic = "A"
subject = "nothing"
claim = "The second thing is what it is."
needs = []
deadline_s = 1
exercised = { looks = 1 }
mutants = ["second-is-not-what-it-is"]
"#;

/// A folder with [`UNCHECKED`] below `gates`.
fn unchecked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("gates")).unwrap();
    fs::write(folder.path().join("gates/v1.0.toml"), UNCHECKED).unwrap();
    folder
}

#[test]
fn a_selection_is_partial_keeps_every_row_and_never_writes_to_releases() {
    let folder = unchecked();
    let arguments = ["gate", "v1.0", "A2", "--seed", "0x10", "--gates", "gates"];
    let ran = sonia_in(folder.path(), &arguments);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "        Seed 16");
    assert_eq!(
        lines[1],
        "     UNKNOWN [         ] (1/1) v1.0/A2 never-looked-for  no check yet"
    );
    assert!(
        lines[lines.len() - 2].starts_with("     Summary ["),
        "{}",
        ran.out
    );
    assert_eq!(
        lines[lines.len() - 1],
        "     PARTIAL v1.0: 1 of 2 gates selected: 1 undecided"
    );
    assert!(!folder.path().join("releases").exists());
    let report = report(&folder.path().join("target/sonia/v1.0.0"));
    assert_eq!(report["schema_version"], "1.0");
    assert_eq!(report["version"], "1.0.0");
    assert_eq!(report["verdict"], "PARTIAL");
    assert_eq!(report["seed"], "16");
    let statuses: Vec<&Value> = report["gates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(statuses, ["SKIP", "UNKNOWN"]);
    let count = |field: &str| report["summary"][field].as_u64().unwrap();
    assert_eq!((count("unknown"), count("skip"), count("total")), (1, 1, 2));
}

#[test]
fn a_whole_run_without_checks_is_held_unproven_and_written_to_releases() {
    let folder = unchecked();
    let ran = sonia_in(
        folder.path(),
        &["gate", "v1.0", "--gates", "gates", "--quiet"],
    );
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.out.ends_with("HOLD v1.0: 2 undecided, 2 unproven\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("hint: sonia-gate prove v1.0\n"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("UNKNOWN"), "{}", ran.out);
    let report = report(&folder.path().join("releases/v1.0.0"));
    assert_eq!(report["verdict"], "HOLD");
    assert_eq!(report["unproven"].as_array().unwrap().len(), 2);
    let summary = &report["summary"];
    assert_eq!(
        (&summary["floor_total"], &summary["delta_total"]),
        (&0.into(), &2.into())
    );
}

#[test]
fn a_proof_of_nothing_stays_open_and_is_no_proof_of_other_gates() {
    let folder = unchecked();
    let prove = sonia_in(folder.path(), &["prove", "v1.0", "--gates", "gates"]);
    assert_eq!(prove.code, Some(3), "{}", prove.err);
    assert!(
        prove.out.ends_with("OPEN v1.0: something stayed open\n"),
        "{}",
        prove.out
    );
    let matrix = folder.path().join("releases/v1.0.0/kill-matrix.json");
    let text = fs::read(&matrix).unwrap();
    let written: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(written["release"], "v1.0");
    assert_eq!(written["gates"][0]["checked"], false);
    assert_eq!(written["control"], serde_json::json!({}));
    assert!(
        prove.out.contains("; control: 0 of 0 gates pass; "),
        "{}",
        prove.out
    );
    assert_eq!(written["mutants"].as_array().unwrap().len(), 2);
    let gate = ["gate", "v1.0", "--gates", "gates"];
    sonia_in(folder.path(), &gate);
    let accepted = report(&folder.path().join("releases/v1.0.0"));
    assert!(
        accepted["proof"]["matrix_sha256"].is_string(),
        "{}",
        accepted["proof"]
    );
    // One number of one gate is another, and the proof is of other gates.
    let raised = UNCHECKED.replacen("looks = 1", "looks = 2", 1);
    fs::write(folder.path().join("gates/v1.0.toml"), raised).unwrap();
    sonia_in(folder.path(), &gate);
    let refused = report(&folder.path().join("releases/v1.0.0"));
    assert_eq!(refused["proof"]["matrix_sha256"], Value::Null);
    let why = refused["proof"]["why_not"].as_str().unwrap();
    assert!(why.contains("is the proof of other sources"), "{why}");
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
fn an_out_folder_without_a_place_for_evidence_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    fs::write(folder.path().join("out/evidence"), "").unwrap();
    let ran = sonia_in(folder.path(), &["gate", "v4.7", "wal-mode", "--out", "out"]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(
        ran.err.contains("error: cannot write out/evidence: "),
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

/// Whoever is refused finds everything as it was, and has read no listening line.
#[test]
fn a_database_that_cannot_be_used_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("eva-os.db"), "").unwrap();
    let newer = rusqlite::Connection::open(data.join("vision-capture.db")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let files = || -> std::collections::BTreeMap<_, _> {
        let all = fs::read_dir(&data).unwrap().map(Result::unwrap);
        all.map(|file| (file.file_name(), fs::read(file.path()).unwrap()))
            .collect()
    };
    let back = ["serve", "--data", "data", "--migrate-to", "v4.6"];
    let refused = |hint: &str| {
        let before = files();
        let config = r#"{"auth": {"enabled": false}}"#;
        for ran in [serve(folder.path(), config), sonia_in(folder.path(), &back)] {
            assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
            assert!(ran.err.contains("vision-capture.db"), "{}", ran.err);
            assert!(ran.err.contains(hint), "{}", ran.err);
        }
        assert!(files() == before, "something was changed");
    };
    refused("needs a newer program");
    fs::write(data.join("vision-capture.db"), "no database".repeat(100)).unwrap();
    refused("restore it, or move it away");
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
