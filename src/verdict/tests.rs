//! A promoted release, made by hand, and what an adversary may do to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::*;
use crate::base::Seed;
use crate::base::json::sha256_hex;
use crate::model::{Model, MutantSpec, NULL_TARGETS, Plan, Selection, TargetSpec, Verdict};
use crate::report::{
    ATTESTATION_FILE, GateReport, MATRIX_FILE, REPORT_FILE, attestation, write_json,
};

const COMMIT: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const SOURCES: &str = "5011d";
const NOW: &str = "2026-11-25T12:00:00Z";

pub(super) fn model() -> Model {
    Model::embedded().unwrap()
}

pub(super) fn plan() -> Plan {
    model().plan("v4.7", &Selection::default()).unwrap()
}

pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(super) fn trust() -> Trust {
    Trust {
        source_digest: SOURCES.to_owned(),
        keys: vec![key().verifying_key()],
        now: NOW.parse().unwrap(),
        max_age: None,
        rederive: false,
        binary_sha256: None,
        commit: None,
        declared: declared(),
    }
}

/// The mutants of the matrix, as if the sources declared them.
fn declared() -> Vec<MutantSpec> {
    let rows = matrix()["mutants"].as_array().unwrap().clone();
    let spec = |row: &Value| MutantSpec {
        name: row["name"].as_str().unwrap().to_owned(),
        lever: "part".to_owned(),
        must: serde_json::from_value(row["must"].clone()).unwrap(),
        may: Vec::new(),
        target: TargetSpec::reference(),
    };
    rows.iter().map(spec).collect()
}

/// A kill matrix in which every mutant of every row was killed.
fn matrix() -> Value {
    let plan = plan();
    let mut mutants: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for gate in &plan.gates {
        for mutant in &gate.spec.mutants {
            let gates = mutants.entry(mutant.clone()).or_default();
            gates.push(gate.spec.name.clone());
        }
    }
    let row = |(name, gates): (&String, &Vec<String>)| {
        let results: BTreeMap<&String, &str> = gates.iter().map(|gate| (gate, "FAIL")).collect();
        json!({"name": name, "lever": "part", "must": gates, "may": [], "results": results})
    };
    let control: BTreeMap<&str, &str> = plan
        .gates
        .iter()
        .map(|gate| (gate.spec.name.as_str(), "PASS"))
        .collect();
    let gates = plan.gates.iter().map(
        |gate| json!({"name": gate.spec.name, "checked": true, "killed_by": gate.spec.mutants}),
    );
    json!({
        "release": "v4.7", "proof_digest": SOURCES, "commit": null, "seed": "1",
        "control": control,
        "mutants": mutants.iter().map(row).collect::<Vec<_>>(),
        "gates": gates.collect::<Vec<_>>(),
        "null_targets": NULL_TARGETS.map(|name| json!({"name": name, "passed": []})),
    })
}

/// A report in which every gate passed, on this matrix.
fn report(matrix_sha256: &str) -> Value {
    let (plan, seed) = (plan(), Seed(7));
    let row = |gate: &crate::model::PlannedGate| {
        let name = &gate.spec.name;
        let evidence = evidence(name);
        json!({
            "name": name, "class": gate.class, "epic": gate.epic, "status": "PASS",
            "detail": "all well", "duration_s": 1.0, "id": gate.spec.full_id(),
            "violations": [], "undecided": [],
            "exercised": gate.spec.exercised, "minimum": gate.spec.exercised,
            "attempts": [{"seed": seed.child(name).to_string(), "status": "PASS",
                          "detail": "all well", "duration_s": 1.0}],
            "mutants": gate.spec.mutants,
            "evidence": [{"path": format!("evidence/{name}/evidence.json"),
                          "sha256": sha256_hex(evidence.as_bytes())}],
        })
    };
    json!({
        "schema_version": "14.0", "version": "4.7.0", "verdict": "PROMOTE",
        "timestamp": "2026-11-25T11:00:00Z", "elapsed_s": 20.0,
        "summary": {
            "pass": 84, "fail": 0, "skip": 0, "total": 84, "floor_pass": 66, "floor_fail": 0,
            "floor_total": 66, "delta_pass": 18, "delta_fail": 0, "delta_total": 18,
            "floor_regression": false, "unknown": 0, "unproven": 0,
        },
        "gates": plan.gates.iter().map(row).collect::<Vec<_>>(),
        "format": 1, "release": "v4.7", "seed": "7",
        "target": {"name": "reference", "url": null, "binary_sha256": "b1", "mutated": false},
        "source_digest": SOURCES, "git": {"commit": COMMIT, "dirty": false},
        "proof": {"matrix_sha256": matrix_sha256, "why_not": null},
        "interrupted": false, "blockers": [], "undecided": [], "unproven": [], "remarks": [],
    })
}

fn evidence(gate: &str) -> String {
    format!("{{\"gate\": \"{gate}\"}}")
}

/// Puts a promoted release into the folder.
pub(super) fn promoted(folder: &Path) {
    for gate in &plan().gates {
        let own = folder.join("evidence").join(&gate.spec.name);
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("evidence.json"), evidence(&gate.spec.name)).unwrap();
    }
    write_json(&folder.join(MATRIX_FILE), &matrix()).unwrap();
    let bytes = fs::read(folder.join(MATRIX_FILE)).unwrap();
    write_json(&folder.join(REPORT_FILE), &report(&sha256_hex(&bytes))).unwrap();
    sign(folder, &key());
}

/// Signs what the report says now.
pub(super) fn sign(folder: &Path, key: &SigningKey) {
    let bytes = fs::read(folder.join(REPORT_FILE)).unwrap();
    let report: GateReport = serde_json::from_slice(&bytes).unwrap();
    let lines = attestation(&report, &sha256_hex(&bytes), key).unwrap();
    fs::write(folder.join(ATTESTATION_FILE), lines).unwrap();
}

pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    write_json(path, &value).unwrap();
}

fn read(folder: &Path) -> Promotion {
    verify(&Dossier::read(folder), &model(), &trust())
}

/// What is found in a promoted release after this edit, signed again by the right key.
fn after(change: impl FnOnce(&Path)) -> Promotion {
    let folder = tempfile::tempdir().unwrap();
    promoted(folder.path());
    change(folder.path());
    if fs::read(folder.path().join(REPORT_FILE))
        .is_ok_and(|bytes| serde_json::from_slice::<GateReport>(&bytes).is_ok())
    {
        sign(folder.path(), &key());
    }
    read(folder.path())
}

fn of_report(change: impl FnOnce(&mut Value)) -> Promotion {
    after(|folder| edit(&folder.join(REPORT_FILE), change))
}

/// The matrix is edited, and the report names its new digest.
fn of_matrix(change: impl FnOnce(&mut Value)) -> Promotion {
    after(|folder| {
        edit(&folder.join(MATRIX_FILE), change);
        let digest = sha256_hex(&fs::read(folder.join(MATRIX_FILE)).unwrap());
        edit(&folder.join(REPORT_FILE), |report| {
            report["proof"]["matrix_sha256"] = json!(digest);
        });
    })
}

#[track_caller]
fn held(promotion: &Promotion, kind: Kind, words: &str) {
    let texts: Vec<String> = promotion
        .findings
        .iter()
        .map(|one| format!("{}: {}", one.kind, one.text))
        .collect();
    assert_eq!(promotion.verdict, Verdict::Hold, "{texts:#?}");
    let said = promotion
        .findings
        .iter()
        .any(|one| one.kind == kind && one.text.contains(words));
    assert!(said, "no {kind} with `{words}` in {texts:#?}");
}

#[test]
fn a_release_that_is_as_it_was_left_is_promoted() {
    let folder = tempfile::tempdir().unwrap();
    promoted(folder.path());
    let promotion = read(folder.path());
    assert_eq!(promotion.findings, []);
    assert_eq!(promotion.verdict, Verdict::Promote);
    assert!(promotion.invariants.iter().all(|one| one.holds));
    assert_eq!(promotion.invariants.len(), 6);
}

#[test]
fn another_binary_than_the_one_that_was_gated_is_named() {
    let folder = tempfile::tempdir().unwrap();
    promoted(folder.path());
    for (binary, verdict) in [("b1", Verdict::Promote), ("b2", Verdict::Hold)] {
        let trust = Trust {
            binary_sha256: Some(binary.to_owned()),
            ..trust()
        };
        let promotion = verify(&Dossier::read(folder.path()), &model(), &trust);
        assert_eq!(promotion.verdict, verdict, "{:?}", promotion.findings);
    }
}

#[test]
fn an_inherited_gate_that_does_not_pass_is_a_regression() {
    let failed = of_report(|report| report["gates"][3]["status"] = json!("UNKNOWN"));
    assert_eq!(failed.regressions, ["wal-mode"]);
    let delta = of_report(|report| report["gates"][83]["status"] = json!("FAIL"));
    assert!(delta.regressions.is_empty(), "{:?}", delta.regressions);
}

#[test]
fn a_row_that_is_not_the_gates_is_named() {
    held(
        &of_report(|report| drop(report["gates"].as_array_mut().unwrap().remove(3))),
        Kind::Gates,
        "has no row",
    );
    held(
        &of_report(|report| {
            let row = report["gates"][3].clone();
            report["gates"].as_array_mut().unwrap().push(row);
        }),
        Kind::Gates,
        "has two rows",
    );
    held(
        &of_report(|report| report["gates"].as_array_mut().unwrap().swap(3, 4)),
        Kind::Gates,
        "not in the order",
    );
    held(
        &of_report(|report| report["gates"][3]["minimum"] = json!({})),
        Kind::Gates,
        "the minimum is",
    );
    held(
        &of_report(|report| report["gates"][80]["mutants"] = json!([])),
        Kind::Gates,
        "the list of mutants",
    );
    held(
        &of_report(|report| report["gates"][3]["class"] = json!("B")),
        Kind::Gates,
        "the class is",
    );
}

#[test]
fn a_row_that_contradicts_itself_is_named() {
    held(
        &of_report(|report| report["gates"][3]["violations"] = json!(["a row was lost"])),
        Kind::Row,
        "PASS with 1 violations",
    );
    held(
        &of_report(|report| report["gates"][3]["attempts"] = json!([])),
        Kind::Row,
        "PASS without a drive",
    );
    held(
        &of_report(|report| report["gates"][3]["attempts"][0]["status"] = json!("FAIL")),
        Kind::Row,
        "the last attempt has another status",
    );
    held(
        &of_report(|report| {
            let attempts = report["gates"][3]["attempts"].as_array_mut().unwrap();
            let mut failed = attempts[0].clone();
            failed["status"] = json!("FAIL");
            attempts.insert(0, failed);
        }),
        Kind::Row,
        "driven again after it was decided",
    );
    held(
        &of_report(|report| report["seed"] = json!("8")),
        Kind::Row,
        "attempt 1 has the seed",
    );
    held(
        &of_report(|report| {
            let row = &mut report["gates"][83];
            let name = row["minimum"]
                .as_object()
                .unwrap()
                .keys()
                .next()
                .unwrap()
                .clone();
            row["exercised"][&name] = json!(0);
        }),
        Kind::Row,
        "exercised 0",
    );
}

#[test]
fn a_count_or_a_verdict_that_the_rows_do_not_give_is_named() {
    let failed = of_report(|report| {
        report["gates"][3]["status"] = json!("FAIL");
        report["gates"][3]["violations"] = json!(["x"]);
        report["gates"][3]["attempts"][0]["status"] = json!("FAIL");
    });
    held(&failed, Kind::Counts, "verdict: the report says PROMOTE");
    held(&failed, Kind::Counts, "summary");
    held(&failed, Kind::Fail, "wal-mode");
    assert!(!failed.invariants[0].holds);
    for status in ["UNKNOWN", "SKIP"] {
        let open = of_report(|report| report["gates"][70]["status"] = json!(status));
        held(&open, Kind::Counts, "verdict");
    }
    held(
        &of_report(|report| report["summary"]["pass"] = json!(85)),
        Kind::Counts,
        "summary",
    );
}

#[test]
fn evidence_that_is_not_as_the_report_names_it_is_named() {
    let file = |folder: &Path| folder.join("evidence/wal-mode/evidence.json");
    held(
        &after(|folder| fs::write(file(folder), "{}").unwrap()),
        Kind::Evidence,
        "evidence/wal-mode/evidence.json has the digest",
    );
    held(
        &after(|folder| fs::remove_file(file(folder)).unwrap()),
        Kind::Evidence,
        "evidence/wal-mode/evidence.json is missing",
    );
    held(
        &after(|folder| fs::write(folder.join("evidence/more"), "").unwrap()),
        Kind::Evidence,
        "evidence/more is named nowhere",
    );
    held(
        &after(|folder| fs::remove_dir_all(folder.join("evidence")).unwrap()),
        Kind::Evidence,
        "evidence",
    );
    held(
        &of_report(|report| report["gates"][3]["evidence"] = json!([])),
        Kind::Row,
        "PASS without evidence",
    );
    held(
        &of_report(|report| {
            let other = report["gates"][4]["evidence"].clone();
            report["gates"][3]["evidence"] = other;
        }),
        Kind::Evidence,
        "which is not its own",
    );
}

#[test]
fn evidence_that_does_not_support_its_status_is_named_when_it_is_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    promoted(folder.path());
    let trust = Trust {
        rederive: true,
        binary_sha256: None,
        ..trust()
    };
    let promotion = verify(&Dossier::read(folder.path()), &model(), &trust);
    assert_eq!(promotion.rederived, 84);
    held(
        &promotion,
        Kind::Rederived,
        "approval-race-safe: the evidence gives UNKNOWN",
    );
}

#[test]
fn a_proof_that_does_not_prove_is_named() {
    held(
        &after(|folder| fs::remove_file(folder.join(MATRIX_FILE)).unwrap()),
        Kind::Proof,
        "kill-matrix.json",
    );
    held(
        &after(|folder| {
            edit(&folder.join(MATRIX_FILE), |matrix| {
                matrix["seed"] = json!("2")
            })
        }),
        Kind::Proof,
        "the matrix has the digest",
    );
    held(
        &of_matrix(|matrix| matrix["proof_digest"] = json!("0ther")),
        Kind::Proof,
        "of the sources 0ther",
    );
    held(
        &of_matrix(|matrix| drop(matrix["mutants"].as_array_mut().unwrap().remove(9))),
        Kind::Proof,
        "is not in the matrix",
    );
    held(
        &of_matrix(|matrix| {
            let results = matrix["mutants"][9]["results"].as_object_mut().unwrap();
            results
                .values_mut()
                .for_each(|status| *status = json!("PASS"));
        }),
        Kind::Proof,
        "came to PASS, expected FAIL",
    );
    held(
        &of_matrix(|matrix| matrix["mutants"][9]["results"]["some-other-gate"] = json!("FAIL")),
        Kind::Proof,
        "which does not name it",
    );
    held(
        &of_matrix(|matrix| matrix["null_targets"][0]["passed"] = json!(["wal-mode"])),
        Kind::Unproven,
        "wal-mode",
    );
    held(
        &of_matrix(|matrix| matrix["null_targets"] = json!([])),
        Kind::Proof,
        "was not run",
    );
    held(
        &of_matrix(|matrix| matrix["control"]["wal-mode"] = json!("UNKNOWN")),
        Kind::Unproven,
        "wal-mode",
    );
}

#[test]
fn a_report_of_other_sources_another_time_or_a_wrong_run_is_named() {
    held(
        &of_report(|report| report["source_digest"] = json!("0ld")),
        Kind::Source,
        "of the sources 0ld",
    );
    held(
        &of_report(|report| report["git"]["dirty"] = json!(true)),
        Kind::Source,
        "not those of commit",
    );
    held(
        &of_report(|report| report["git"] = json!(null)),
        Kind::Source,
        "no commit",
    );
    held(
        &of_report(|report| report["target"]["mutated"] = json!(true)),
        Kind::Run,
        "made wrong on purpose",
    );
    held(
        &of_report(|report| report["interrupted"] = json!(true)),
        Kind::Run,
        "interrupted",
    );
    held(
        &of_report(|report| report["timestamp"] = json!("2027-01-01T00:00:00Z")),
        Kind::Age,
        "of a time to come",
    );
    held(
        &of_report(|report| report["schema_version"] = json!("13.0")),
        Kind::Schema,
        "schema_version is 13.0",
    );
    held(
        &of_report(|report| report["release"] = json!("v9.9")),
        Kind::Schema,
        "v9.9",
    );
    let folder = tempfile::tempdir().unwrap();
    promoted(folder.path());
    let trust = Trust {
        max_age: Some(std::time::Duration::from_secs(3_599)),
        ..trust()
    };
    held(
        &verify(&Dossier::read(folder.path()), &model(), &trust),
        Kind::Age,
        "3600 s old",
    );
}

#[test]
fn a_file_that_is_none_is_named() {
    let report = |text: &str| after(|folder| fs::write(folder.join(REPORT_FILE), text).unwrap());
    held(&report("{"), Kind::Unreadable, "gate-report.json");
    held(&report("{}"), Kind::Unreadable, "schema_version");
    held(
        &after(|folder| fs::remove_file(folder.join(REPORT_FILE)).unwrap()),
        Kind::Unreadable,
        "gate-report.json",
    );
    held(
        &after(|folder| {
            let path = folder.join(REPORT_FILE);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, format!("{text}{{}}")).unwrap();
        }),
        Kind::Unreadable,
        "trailing",
    );
    held(
        &of_report(|report| report["approved_by"] = json!("me")),
        Kind::Unreadable,
        "approved_by",
    );
}

#[test]
fn what_no_trusted_key_signed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let attestation_file = folder.path().join(ATTESTATION_FILE);
    promoted(folder.path());
    let signed = fs::read_to_string(&attestation_file).unwrap();
    let with = |lines: &str| {
        fs::write(&attestation_file, lines).unwrap();
        read(folder.path())
    };
    let one = signed.lines().next().unwrap();
    held(
        &with(one),
        Kind::Signature,
        "no trusted key signed https://slsa.dev",
    );
    held(
        &with(""),
        Kind::Signature,
        "no trusted key signed https://in-toto.io",
    );
    held(&with("{}"), Kind::Signature, "gate-report.intoto.jsonl:1");
    let twice = format!("{signed}{}", signed.replacen("ey", "eY", 1));
    held(&with(&twice), Kind::Signature, ":3: ");
    sign(folder.path(), &SigningKey::from_bytes(&[8; 32]));
    held(
        &read(folder.path()),
        Kind::Signature,
        "no trusted key signed it",
    );
    fs::remove_file(&attestation_file).unwrap();
    held(&read(folder.path()), Kind::Signature, "is not signed");
    fs::write(&attestation_file, &signed).unwrap();
    assert_eq!(read(folder.path()).verdict, Verdict::Promote);
    // The report is edited after it was signed, so that nothing else shows it.
    edit(&folder.path().join(REPORT_FILE), |report| {
        report["gates"][3]["detail"] = json!("better than it was");
    });
    held(
        &read(folder.path()),
        Kind::Signature,
        "something else than this report",
    );
    let none = Trust {
        keys: Vec::new(),
        ..trust()
    };
    let promotion = verify(&Dossier::read(folder.path()), &model(), &none);
    held(&promotion, Kind::Signature, "no key is trusted");
}

#[test]
fn a_comparison_names_what_broke_and_what_was_mended() {
    let one: GateReport = serde_json::from_value(report("m")).unwrap();
    let mut other = one.clone();
    assert_eq!(compare(&one, &other).regressions, []);
    other.gates[3].status = crate::model::Status::Fail;
    other.unproven = vec!["wal-mode".to_owned()];
    let gone = other.gates.remove(9).name;
    let compared = compare(&one, &other);
    assert_eq!(compared.regressions[0].gate, "wal-mode");
    assert_eq!(
        (compared.gone, compared.newly_unproven),
        (vec![gone.clone()], other.unproven.clone())
    );
    let back = compare(&other, &one);
    assert_eq!((back.fixes.len(), back.new), (1, vec![gone]));
}
