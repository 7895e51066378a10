//! The attestation of a report: signed by a key that the reader trusts, about these very bytes, and
//! saying what they say.

use std::collections::BTreeSet;

use dsse::{Ed25519Verifier, Envelope};
use ed25519_dalek::VerifyingKey;
use serde_json::Value;

use super::dossier::Sealed;
use super::finding::{Finding, Kind};
use crate::report::{ATTESTATION_FILE, GateReport, PAYLOAD_TYPE, statements};

/// What is wrong with the attestation of this report. It is made again from the report's content and
/// digest: what is signed has to be that and nothing else.
pub(super) fn check(
    attestation: &Result<Option<Vec<u8>>, String>,
    report: &Sealed<GateReport>,
    keys: &[VerifyingKey],
    found: &mut Vec<Finding>,
) {
    let mut say = |text: String| found.push(Finding::new(Kind::Signature, text));
    let bytes = match attestation {
        Err(why) => return say(why.clone()),
        Ok(None) => return say(format!("the report is not signed: no {ATTESTATION_FILE}")),
        Ok(Some(bytes)) => bytes,
    };
    if keys.is_empty() {
        return say("no key is trusted, so no signature is".to_owned());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return say(format!("{ATTESTATION_FILE} is no text"));
    };
    let mut signed = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        match opened(line, keys) {
            Err(why) => say(format!("{ATTESTATION_FILE}:{number}: {why}")),
            Ok(statement) => {
                signed.insert(statement.to_string());
            }
        }
    }
    for expected in statements(&report.value, &report.sha256) {
        if !signed.remove(&expected.to_string()) {
            let kind = expected["predicateType"].as_str().unwrap_or_default();
            say(format!("no trusted key signed {kind} of this report"));
        }
    }
    if !signed.is_empty() {
        let count = signed.len();
        say(format!(
            "{count} statements are of something else than this report"
        ));
    }
}

/// The statement of a line that one of the keys signed.
pub(super) fn opened(line: &str, keys: &[VerifyingKey]) -> Result<Value, String> {
    let envelope = Envelope::from_json(line.as_bytes()).map_err(|error| error.to_string())?;
    let verified = keys.iter().find_map(|key| {
        let verifier = Ed25519Verifier::from_bytes(key.as_bytes()).ok()?;
        dsse::verify(&envelope, &[&verifier], 1).ok()
    });
    let verified = verified.ok_or("no trusted key signed it")?;
    if verified.payload_type != PAYLOAD_TYPE {
        return Err(format!("it is signed as {}", verified.payload_type));
    }
    serde_json::from_slice(&verified.payload).map_err(|error| error.to_string())
}
