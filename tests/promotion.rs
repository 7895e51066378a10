//! A real release, promoted, and then edited in every way that somebody might think of. Each edit is
//! held, and for the right reason; most of them by whoever edits being able to sign anew, too.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use sonia_gate::base::json::sha256_hex;
use sonia_gate::model::{Model, NULL_TARGETS, Plan, Selection, Verdict};
use sonia_gate::mutants;
use sonia_gate::report::{
    ATTESTATION_FILE, GateReport, MATRIX_FILE, REPORT_FILE, attestation, write_json,
};
use sonia_gate::verdict::{Dossier, Kind, Promotion, Trust, verify};

const COMMIT: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn plan() -> Plan {
    let model = Model::embedded().unwrap();
    model.plan("v4.7", &Selection::default()).unwrap()
}

/// The matrix of a proof that came to what is declared.
fn matrix(digest: &str) -> Value {
    let plan = plan();
    let rows: Vec<Value> = mutants::all()
        .iter()
        .map(|one| {
            let planned = |name: &&String| plan.gates.iter().any(|gate| gate.spec.name == **name);
            let failed = one.must.iter().filter(planned);
            let results: BTreeMap<&String, &str> = failed.map(|name| (name, "FAIL")).collect();
            json!({
                "name": one.name, "lever": one.lever, "must": one.must, "may": one.may,
                "results": results,
            })
        })
        .collect();
    let names = plan.gates.iter().map(|gate| gate.spec.name.as_str());
    let control: BTreeMap<&str, &str> = names.map(|name| (name, "PASS")).collect();
    let gates = plan.gates.iter().map(|gate| {
        let name = &gate.spec.name;
        let killed: Vec<&Value> = rows
            .iter()
            .filter(|row| row["results"][name] == "FAIL")
            .map(|row| &row["name"])
            .collect();
        json!({"name": name, "checked": true, "killed_by": killed})
    });
    json!({
        "release": "v4.7", "proof_digest": digest, "commit": null, "seed": "1",
        "control": control, "mutants": rows, "gates": gates.collect::<Vec<_>>(),
        "null_targets": NULL_TARGETS.map(|name| json!({"name": name, "passed": []})),
    })
}

/// A folder of a release.
struct Release(tempfile::TempDir);

impl Release {
    /// Gates the release for real, on a proof that is as declared, from a commit that is clean.
    fn gated() -> Self {
        let release = Self(tempfile::tempdir().unwrap());
        let proof = release.0.path().join("proof.json");
        let digest = Model::embedded().unwrap().proof_digest().unwrap();
        write_json(&proof, &matrix(&digest)).unwrap();
        let mut gate = assert_cmd::Command::new(env!("CARGO_BIN_EXE_sonia-gate"));
        gate.current_dir(release.0.path());
        gate.args(["gate", "v4.7", "--quiet", "--seed", "7", "--out", "."]);
        let ran = gate.arg("--proof").arg(&proof).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(ran.status.code(), Some(0), "{said}");
        assert!(
            said.contains("PROMOTE v4.7") && said.contains("Unsigned"),
            "{said}"
        );
        fs::remove_file(proof).unwrap();
        release.report(|report| report["git"] = json!({"commit": COMMIT, "dirty": false}));
        release.sign(&key());
        release
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    fn copy(&self) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        copied(self.0.path(), copy.0.path());
        copy
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path(file);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        write_json(&path, &value).unwrap();
    }

    fn report(&self, change: impl FnOnce(&mut Value)) {
        self.edit(REPORT_FILE, change);
    }

    /// Edits the matrix, and makes the report rest on it.
    fn matrix(&self, change: impl FnOnce(&mut Value)) {
        self.edit(MATRIX_FILE, change);
        let digest = sha256_hex(&fs::read(self.path(MATRIX_FILE)).unwrap());
        self.report(|report| report["proof"]["matrix_sha256"] = json!(digest));
    }

    /// Edits the evidence of a gate, and makes the report name it.
    fn evidence(&self, gate: &str, change: impl FnOnce(&mut Value)) {
        let file = format!("evidence/{gate}/evidence.json");
        self.edit(&file, change);
        self.name(gate, &file);
    }

    /// Makes the report name a file of evidence as it is now.
    fn name(&self, gate: &str, file: &str) {
        let digest = sha256_hex(&fs::read(self.path(file)).unwrap());
        self.row(gate, |row| {
            for part in row["evidence"].as_array_mut().unwrap() {
                if part["path"] == file {
                    part["sha256"] = json!(digest);
                }
            }
        });
    }

    fn row(&self, gate: &str, change: impl FnOnce(&mut Value)) {
        self.report(|report| {
            let mut rows = report["gates"].as_array_mut().unwrap().iter_mut();
            change(rows.find(|row| row["name"] == gate).unwrap());
        });
    }

    fn sign(&self, key: &SigningKey) {
        let bytes = fs::read(self.path(REPORT_FILE)).unwrap();
        let Ok(report) = serde_json::from_slice::<GateReport>(&bytes) else {
            return;
        };
        let lines = attestation(&report, &sha256_hex(&bytes), key).unwrap();
        fs::write(self.path(ATTESTATION_FILE), lines).unwrap();
    }

    fn read(&self) -> Promotion {
        let model = Model::embedded().unwrap();
        let report = fs::read(self.path(REPORT_FILE)).unwrap_or_default();
        let report: Value = serde_json::from_slice(&report).unwrap_or_default();
        let now = report["timestamp"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let trust = Trust {
            source_digest: model.proof_digest().unwrap(),
            keys: vec![key().verifying_key()],
            now: now.unwrap_or_else(jiff::Timestamp::now),
            max_age: None,
            rederive: true,
            binary_sha256: None,
            commit: Some(COMMIT.to_owned()),
            declared: mutants::all(),
        };
        verify(&Dossier::read(self.0.path()), &model, &trust)
    }
}

fn copied(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copied(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// An edit: what somebody does, what is found, and in which words.
type Edit = (fn(&Release), Kind, &'static str);

/// Edits after which the report is signed anew, by the key that is trusted.
const RESIGNED: [Edit; 44] = [
    // The rows.
    (
        |one| one.row("wal-mode", |row| row["status"] = json!("FAIL")),
        Kind::Fail,
        "wal-mode",
    ),
    (
        |one| one.row("wal-mode", |row| row["status"] = json!("UNKNOWN")),
        Kind::Undecided,
        "wal-mode",
    ),
    (
        |one| one.row("wal-mode", |row| row["status"] = json!("SKIP")),
        Kind::Counts,
        "verdict: the report says PROMOTE",
    ),
    (
        |one| one.report(|report| drop(report["gates"].as_array_mut().unwrap().remove(3))),
        Kind::Gates,
        "wal-mode has no row",
    ),
    (
        |one| {
            one.report(|report| {
                let row = report["gates"][3].clone();
                report["gates"].as_array_mut().unwrap().push(row);
            })
        },
        Kind::Gates,
        "wal-mode has two rows",
    ),
    (
        |one| one.report(|report| report["gates"].as_array_mut().unwrap().swap(3, 4)),
        Kind::Gates,
        "not in the order",
    ),
    (
        |one| one.row("wal-mode", |row| row["name"] = json!("wal-mod")),
        Kind::Gates,
        "wal-mod is no gate",
    ),
    (
        |one| one.row("wal-mode", |row| row["id"] = json!("v4.3/A9")),
        Kind::Gates,
        "the id is v4.3/A9",
    ),
    (
        |one| one.row("wal-mode", |row| row["minimum"] = json!({})),
        Kind::Gates,
        "the minimum is",
    ),
    (
        |one| one.row("wal-mode", |row| row["mutants"] = json!([])),
        Kind::Gates,
        "the list of mutants",
    ),
    (
        |one| one.row("wal-mode", |row| row["attempts"] = json!([])),
        Kind::Row,
        "PASS without a drive",
    ),
    (
        |one| one.row("wal-mode", |row| row["violations"] = json!(["lost"])),
        Kind::Row,
        "PASS with 1 violations",
    ),
    (
        |one| one.row("wal-mode", |row| row["duration_s"] = json!(-1.0)),
        Kind::Row,
        "it took -1",
    ),
    (
        |one| one.report(|report| report["elapsed_s"] = json!(-5.0)),
        Kind::Row,
        "the run took -5",
    ),
    (
        |one| one.report(|report| report["seed"] = json!("8")),
        Kind::Row,
        "has the seed",
    ),
    // The counts.
    (
        |one| one.report(|report| report["summary"]["pass"] = json!(85)),
        Kind::Counts,
        "summary",
    ),
    (
        |one| one.report(|report| report["verdict"] = json!("PARTIAL")),
        Kind::Counts,
        "verdict",
    ),
    (
        |one| one.report(|report| report["blockers"] = json!(["wal-mode"])),
        Kind::Counts,
        "blockers",
    ),
    // The evidence.
    (
        |one| fs::write(one.path("evidence/wal-mode/evidence.json"), "{}").unwrap(),
        Kind::Evidence,
        "has the digest",
    ),
    (
        |one| fs::remove_file(one.path("evidence/wal-mode/evidence.json")).unwrap(),
        Kind::Evidence,
        "is missing",
    ),
    (
        |one| fs::write(one.path("evidence/wal-mode/more.json"), "{}").unwrap(),
        Kind::Evidence,
        "named nowhere",
    ),
    (
        |one| {
            one.evidence("wal-mode", |evidence| {
                evidence["gate"] = json!("file-exists")
            })
        },
        Kind::Rederived,
        "wal-mode: the evidence gives UNKNOWN",
    ),
    (
        |one| one.evidence("wal-mode", |evidence| evidence["seen"] = json!({})),
        Kind::Rederived,
        "wal-mode: the evidence gives UNKNOWN",
    ),
    (
        |one| one.evidence("wal-mode", |evidence| evidence["seed"] = json!("1")),
        Kind::Rederived,
        "is of the seed 1",
    ),
    (
        |one| {
            one.evidence("wal-mode", |evidence| {
                evidence["stopped"] = json!("in its middle")
            })
        },
        Kind::Rederived,
        "gives UNKNOWN",
    ),
    (swapped, Kind::Rederived, "no evidence of wal-mode"),
    (
        |one| one.row("wal-mode", inflated),
        Kind::Rederived,
        "what was exercised",
    ),
    (
        |one| {
            one.row("wal-mode", |row| {
                row["detail"] = json!("a million databases")
            })
        },
        Kind::Rederived,
        "the line",
    ),
    // The run.
    (
        |one| one.report(|report| report["interrupted"] = json!(true)),
        Kind::Run,
        "interrupted",
    ),
    (
        |one| one.report(|report| report["target"]["mutated"] = json!(true)),
        Kind::Run,
        "wrong on purpose",
    ),
    (
        |one| one.report(|report| report["target"]["name"] = json!("v4.7-m0")),
        Kind::Run,
        "not what is released",
    ),
    (
        |one| one.report(|report| report["partition"] = json!({"number": 1, "of": 3})),
        Kind::Run,
        "part 1/3",
    ),
    (partial, Kind::Counts, "skip: 66"),
    // What it is of.
    (
        |one| one.report(|report| report["source_digest"] = json!("5".repeat(64))),
        Kind::Source,
        "of the sources 555",
    ),
    (
        |one| one.report(|report| report["git"]["dirty"] = json!(true)),
        Kind::Source,
        "not those of commit",
    ),
    (
        |one| one.report(|report| report["git"]["commit"] = json!("")),
        Kind::Source,
        "is no commit",
    ),
    (
        |one| one.report(|report| report["git"]["commit"] = json!("1".repeat(40))),
        Kind::Source,
        "is of commit 111",
    ),
    (
        |one| one.report(|report| report["format"] = json!(99)),
        Kind::Schema,
        "format is 99",
    ),
    (
        |one| one.report(|report| report["version"] = json!("4.8.0")),
        Kind::Schema,
        "version is 4.8.0",
    ),
    // The proof.
    (
        |one| one.matrix(|matrix| matrix["proof_digest"] = json!("5".repeat(64))),
        Kind::Proof,
        "the matrix is of the sources 555",
    ),
    (
        |one| one.matrix(|matrix| matrix["gates"] = json!([])),
        Kind::Proof,
        "has 0 rows in the matrix",
    ),
    (
        |one| one.matrix(|matrix| matrix["null_targets"][0]["passed"] = json!(["wal-mode"])),
        Kind::Proof,
        "wal-mode passes on the null target",
    ),
    (survived, Kind::Proof, "came to PASS, expected FAIL"),
    (allowed, Kind::Proof, "is declared otherwise"),
];

/// The evidence of two gates, one for the other.
fn swapped(one: &Release) {
    let (wal, other) = (
        "evidence/wal-mode/evidence.json",
        "evidence/file-exists/evidence.json",
    );
    fs::copy(one.path(other), one.path(wal)).unwrap();
    one.name("wal-mode", wal);
}

fn inflated(row: &mut Value) {
    for count in row["exercised"].as_object_mut().unwrap().values_mut() {
        *count = json!(count.as_u64().unwrap() * 1000);
    }
}

/// What a run of the delta alone leaves, called whole.
fn partial(one: &Release) {
    one.report(|report| {
        let rows = report["gates"].as_array_mut().unwrap();
        for row in rows.iter_mut().filter(|row| row["class"] == "A") {
            row["status"] = json!("SKIP");
            row["attempts"] = json!([]);
        }
        report["verdict"] = json!("PARTIAL");
    });
}

fn survived(one: &Release) {
    one.matrix(|matrix| {
        let results = matrix["mutants"][0]["results"].as_object_mut().unwrap();
        results
            .values_mut()
            .for_each(|status| *status = json!("PASS"));
    });
}

/// A bystander that is excused by whoever found it.
fn allowed(one: &Release) {
    one.matrix(|matrix| {
        let row = &mut matrix["mutants"][0];
        row["results"]["wal-mode"] = json!("FAIL");
        row["may"] = json!([{"gate": "wal-mode", "reason": "it is all right"}]);
    });
}

/// Edits of somebody who has no trusted key.
const UNSIGNED: [Edit; 6] = [
    (
        |one| fs::remove_file(one.path(ATTESTATION_FILE)).unwrap(),
        Kind::Signature,
        "not signed",
    ),
    (
        |one| one.sign(&SigningKey::from_bytes(&[8; 32])),
        Kind::Signature,
        "no trusted key signed it",
    ),
    (
        |one| one.report(|report| report["elapsed_s"] = json!(1.0)),
        Kind::Signature,
        "no trusted key signed",
    ),
    (cut_signature, Kind::Signature, "no trusted key signed"),
    (truncated, Kind::Unreadable, "gate-report.json"),
    (
        |one| fs::remove_file(one.path(REPORT_FILE)).unwrap(),
        Kind::Unreadable,
        "gate-report.json",
    ),
];

/// One of the two statements alone.
fn cut_signature(one: &Release) {
    let path = one.path(ATTESTATION_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.lines().next().unwrap()).unwrap();
}

fn truncated(one: &Release) {
    let path = one.path(REPORT_FILE);
    let bytes = fs::read(&path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Why an edit is not held as it should be, if it is not.
fn missed(promotion: &Promotion, (_, kind, words): &Edit) -> Option<String> {
    let findings = &promotion.findings;
    let said = |one: &sonia_gate::verdict::Finding| one.kind == *kind && one.text.contains(words);
    let held = promotion.verdict == Verdict::Hold && findings.iter().any(said);
    (!held).then(|| format!("no {kind} with `{words}` in {findings:#?}"))
}

#[test]
fn every_edit_of_a_promoted_release_is_held_for_the_right_reason() {
    let release = Release::gated();
    let promotion = release.read();
    assert_eq!(promotion.findings, [], "nobody edited it yet");
    assert_eq!(
        (promotion.verdict, promotion.rederived),
        (Verdict::Promote, 84)
    );
    let mut all_missed = Vec::new();
    for (edits, signs_anew) in [(&RESIGNED[..], true), (&UNSIGNED, false)] {
        for edit in edits {
            let edited = release.copy();
            edit.0(&edited);
            if signs_anew {
                edited.sign(&key());
            }
            all_missed.extend(missed(&edited.read(), edit));
        }
    }
    // An old report, when the sources are others since.
    let model = Model::embedded().unwrap();
    let trust = Trust {
        source_digest: "5".repeat(64),
        keys: vec![key().verifying_key()],
        now: jiff::Timestamp::now(),
        max_age: None,
        rederive: false,
        binary_sha256: None,
        commit: None,
        declared: mutants::all(),
    };
    let old = verify(&Dossier::read(release.0.path()), &model, &trust);
    for (kind, words) in [
        (Kind::Source, "expected 555"),
        (Kind::Proof, "the matrix is of the sources"),
    ] {
        all_missed.extend(missed(&old, &(|_| {}, kind, words)));
    }
    let all_missed = all_missed.join("\n");
    assert!(all_missed.is_empty(), "{all_missed}");
}
