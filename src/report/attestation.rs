//! `gate-report.intoto.jsonl`: what the report says, as in-toto Statements v1 in DSSE envelopes, a
//! line each: test-result v0.1 and SLSA VSA v1. Their subjects are the bytes of the report and of the
//! binary that was judged.

use dsse::Ed25519Signer;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::gate_report::GateReport;
use super::{MATRIX_FILE, REPORT_FILE};
use crate::base::json::sha256_hex;
use crate::model::{Status, Verdict};

/// The file's name.
pub const ATTESTATION_FILE: &str = "gate-report.intoto.jsonl";
/// The type of what is signed.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The type of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Which gates passed and which failed.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// What the release came to, under which policy.
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// Who verified; not an address that anybody has to reach.
const VERIFIER: &str = "https://sonia.local/sonia-gate";

/// The statements about a report of these bytes.
#[must_use]
pub fn statements(report: &GateReport, report_sha256: &str) -> [Value; 2] {
    let named = |status| -> Vec<&str> {
        let rows = report.gates.iter().filter(|row| row.status == status);
        rows.map(|row| row.name.as_str()).collect()
    };
    let promoted = report.verdict == Verdict::Promote;
    let result = if promoted { "PASSED" } else { "FAILED" };
    let mut subject = vec![json!({"name": REPORT_FILE, "digest": {"sha256": report_sha256}})];
    if let Some(binary) = &report.target.binary_sha256 {
        subject.push(json!({"name": report.target.name, "digest": {"sha256": binary}}));
    }
    let statement = |kind: &str, predicate: Value| {
        json!({
            "_type": STATEMENT_TYPE,
            "subject": subject,
            "predicateType": kind,
            "predicate": predicate,
        })
    };
    let sources = json!({"name": "sources", "digest": {"sha256": report.source_digest}});
    let mut configuration = vec![sources];
    let mut inputs = Vec::new();
    if let Some(matrix) = &report.proof.matrix_sha256 {
        let digest = json!({"sha256": matrix});
        configuration.push(json!({"name": MATRIX_FILE, "digest": digest}));
        inputs.push(json!({"uri": MATRIX_FILE, "digest": digest}));
    }
    let level = format!(
        "SONIA_GATES_{}",
        report.release.replace('.', "_").to_uppercase()
    );
    let tests = json!({
        "result": result,
        "configuration": configuration,
        "passedTests": named(Status::Pass),
        "failedTests": named(Status::Fail),
        "https://sonia.local/undecidedTests": named(Status::Unknown),
        "https://sonia.local/skippedTests": named(Status::Skip),
        "https://sonia.local/seed": report.seed,
    });
    let mut summary = json!({
        "verifier": {"id": VERIFIER, "version": {"sonia-gate": env!("CARGO_PKG_VERSION")}},
        "timeVerified": report.timestamp.to_string(),
        "resourceUri": format!("https://sonia.local/releases/{}", report.version),
        "policy": {
            "uri": format!("https://sonia.local/gates/{}", report.release),
            "digest": {"sha256": report.source_digest},
        },
        "verificationResult": result,
        "verifiedLevels": [if promoted { level } else { "FAILED".to_owned() }],
        "slsaVersion": "1.1",
    });
    if !inputs.is_empty() {
        summary["inputAttestations"] = json!(inputs);
    }
    [statement(TEST_RESULT, tests), statement(SUMMARY, summary)]
}

/// The signed lines.
///
/// # Errors
/// When the key signs nothing.
pub fn attestation(
    report: &GateReport,
    report_sha256: &str,
    key: &SigningKey,
) -> Result<String, dsse::Error> {
    let statements = statements(report, report_sha256);
    let lines = statements.iter().map(|statement| envelope(statement, key));
    lines.collect()
}

/// A statement in its envelope, as a line.
pub(super) fn envelope(statement: &Value, key: &SigningKey) -> Result<String, dsse::Error> {
    let id = sha256_hex(key.verifying_key().as_bytes());
    let signer = Ed25519Signer::from_bytes(key.as_bytes())?.with_key_id(id);
    let payload = statement.to_string();
    let envelope = dsse::sign(PAYLOAD_TYPE, payload.as_bytes(), &signer)?.to_json()?;
    Ok(format!("{}\n", String::from_utf8_lossy(&envelope)))
}
