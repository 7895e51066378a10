//! What is in a bundle, against what a bundle of this release has to hold. A manifest that was signed
//! over half of a release is whole by itself; it is held against the report, which names the rest.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;

use super::BundleReading;
use crate::base::json::sha256_hex;
use crate::contract::bundle::{Found, Problem, Wrong};
use crate::model::Model;
use crate::report::release::{MANIFEST_FILE, ReleaseManifest, SIGNATURE_FILE, is_evidence};
use crate::report::{
    ATTESTATION_FILE, GateReport, JUNIT_FILE, MATRIX_FILE, PAGE_FILE, REPORT_FILE, SARIF_FILE,
};
use crate::verdict::dossier::Sealed;
use crate::verdict::signed;

/// What has to be there, whatever the release.
const REQUIRED: [&str; 4] = [REPORT_FILE, MATRIX_FILE, "CHANGELOG.md", "Cargo.lock"];
/// What may be there beside it.
const OPTIONAL: [&str; 4] = [ATTESTATION_FILE, PAGE_FILE, JUNIT_FILE, SARIF_FILE];

/// Looks at the files of a bundle.
pub(super) fn check(
    manifest: &ReleaseManifest,
    found: &Found,
    model: &Model,
    keys: &[VerifyingKey],
    reading: &mut BundleReading,
) {
    belongs(manifest, found, model, &mut reading.problems);
    let Some(bytes) = found.files.get(REPORT_FILE) else {
        return;
    };
    let report: GateReport = match serde_json::from_slice(bytes) {
        Ok(report) => report,
        Err(error) => {
            let detail = format!("no report: {error}");
            let problem = Problem::new(REPORT_FILE, Wrong::Unreadable, detail);
            return reading.problems.push(problem);
        }
    };
    agree(manifest, &report, &mut reading.problems);
    evidence(&report, found, &mut reading.problems);
    let sealed = Sealed {
        sha256: sha256_hex(bytes),
        value: report,
    };
    let attestation = found.files.get(ATTESTATION_FILE).cloned();
    let (unsigned, mut findings) = (attestation.is_none() || keys.is_empty(), Vec::new());
    signed::check(&Ok(attestation), &sealed, keys, &mut findings);
    for finding in findings {
        if unsigned {
            reading.unvouched.push(finding.text);
        } else {
            let problem = Problem::new(ATTESTATION_FILE, Wrong::Signature, finding.text);
            reading.problems.push(problem);
        }
    }
}

/// Everything that a bundle has to hold, and nothing else.
fn belongs(manifest: &ReleaseManifest, found: &Found, model: &Model, problems: &mut Vec<Problem>) {
    let mut required: BTreeSet<String> = REQUIRED.map(str::to_owned).into();
    match model.release(&manifest.release) {
        Err(error) => {
            problems.push(Problem::new(
                MANIFEST_FILE,
                Wrong::Unreadable,
                error.to_string(),
            ));
        }
        Ok(release) => required.extend(
            model
                .lineage(release)
                .iter()
                .map(|release| format!("gates/{}.toml", release.name)),
        ),
    }
    for path in &required {
        if !found.files.contains_key(path) {
            problems.push(Problem::new(
                path,
                Wrong::Missing,
                "a release has to have it",
            ));
        }
    }
    if !found
        .files
        .keys()
        .any(|path| path.starts_with("scenarios/"))
    {
        let detail = "a release has to have some";
        problems.push(Problem::new("scenarios/", Wrong::Missing, detail));
    }
    let known = |path: &str| {
        required.contains(path)
            || OPTIONAL.contains(&path)
            || [MANIFEST_FILE, SIGNATURE_FILE].contains(&path)
            || is_evidence(path)
            || (path.starts_with("gates/") && path.ends_with(".toml"))
            || (path.starts_with("scenarios/") && path.ends_with(".json"))
    };
    for path in found.files.keys().filter(|path| !known(path)) {
        problems.push(Problem::new(path, Wrong::Extra, "no part of a release"));
    }
}

/// What the manifest says of the report, against the report.
fn agree(manifest: &ReleaseManifest, report: &GateReport, problems: &mut Vec<Problem>) {
    let expected = ReleaseManifest::of(report, &std::collections::BTreeMap::new());
    let commit = |of: &ReleaseManifest| of.commit.clone().unwrap_or_else(|| "none".to_owned());
    for (what, got, expected) in [
        (
            "format",
            manifest.format.to_string(),
            expected.format.to_string(),
        ),
        ("kind", manifest.kind.clone(), expected.kind.clone()),
        (
            "release",
            manifest.release.clone(),
            expected.release.clone(),
        ),
        (
            "version",
            manifest.version.clone(),
            expected.version.clone(),
        ),
        (
            "verdict",
            manifest.verdict.to_string(),
            expected.verdict.to_string(),
        ),
        (
            "timestamp",
            manifest.timestamp.to_string(),
            expected.timestamp.to_string(),
        ),
        ("commit", commit(manifest), commit(&expected)),
        (
            "source_digest",
            manifest.source_digest.clone(),
            expected.source_digest.clone(),
        ),
    ] {
        if got != expected {
            let detail = format!("{what} is {got}, and the report's {expected}");
            problems.push(Problem::new(MANIFEST_FILE, Wrong::Changed, detail));
        }
    }
}

/// Evidence and matrix, against the digests that the report names.
fn evidence(report: &GateReport, found: &Found, problems: &mut Vec<Problem>) {
    let rows = report.gates.iter().flat_map(|row| &row.evidence);
    let evidence = rows.map(|file| (file.path.as_str(), file.sha256.as_str()));
    let matrix = report.proof.matrix_sha256.as_deref();
    let mut named = BTreeSet::new();
    for (path, expected) in evidence.chain(matrix.map(|digest| (MATRIX_FILE, digest))) {
        named.insert(path);
        match found.files.get(path).map(|content| sha256_hex(content)) {
            None => {
                let detail = "the report names it";
                problems.push(Problem::new(path, Wrong::Missing, detail));
            }
            Some(got) if got != expected => {
                let detail = format!("SHA-256 is {got}, and the report names {expected}");
                problems.push(Problem::new(path, Wrong::Changed, detail));
            }
            Some(_) => {}
        }
    }
    let kept = found.files.keys().filter(|path| is_evidence(path));
    for path in kept.filter(|path| !named.contains(path.as_str())) {
        let detail = "evidence that the report does not name";
        problems.push(Problem::new(path, Wrong::Extra, detail));
    }
}
