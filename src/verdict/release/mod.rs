//! A release bundle as whoever was handed one reads it: every file against the manifest, the manifest
//! against the report that it is about, and the signature over it against the keys that the reader
//! trusts. Whether the release may be promoted is not asked here: that is `verdict`, over the same
//! files.

mod contents;
#[cfg(test)]
mod tests;

use ed25519_dalek::VerifyingKey;

use super::signed;
use crate::base::json::sha256_hex;
use crate::contract::bundle::{Found, Problem, Wrong, compare};
use crate::model::Model;
use crate::report::release::{MANIFEST_FILE, ReleaseManifest, SIGNATURE_FILE, bundle_statement};

/// What a reading of a bundle came to.
#[derive(Clone, Debug, Default)]
pub struct BundleReading {
    /// What it says that it is; none when there is no manifest that could be read.
    pub manifest: Option<ReleaseManifest>,
    /// What is changed, missing, there in excess, or says something else than the rest.
    pub problems: Vec<Problem>,
    /// Why nobody whom the reader trusts answers for it, as far as nobody does.
    pub unvouched: Vec<String>,
}

/// Reads a bundle as an adversary's.
#[must_use]
pub fn read_bundle(found: &Found, model: &Model, keys: &[VerifyingKey]) -> BundleReading {
    let mut reading = BundleReading {
        problems: found.problems.clone(),
        ..BundleReading::default()
    };
    let told = |problems: &[Problem]| problems.iter().any(|one| one.file == MANIFEST_FILE);
    let Some(bytes) = found.files.get(MANIFEST_FILE) else {
        if !told(&reading.problems) {
            let missing = Problem::new(MANIFEST_FILE, Wrong::Missing, "there is no manifest");
            reading.problems.push(missing);
        }
        return reading;
    };
    let manifest: ReleaseManifest = match serde_json::from_slice(bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            let detail = format!("no manifest: {error}");
            let problem = Problem::new(MANIFEST_FILE, Wrong::Unreadable, detail);
            reading.problems.push(problem);
            return reading;
        }
    };
    let own = [MANIFEST_FILE, SIGNATURE_FILE];
    compare(&manifest.files, &own, found, &mut reading.problems);
    signature(&manifest, bytes, found, keys, &mut reading);
    contents::check(&manifest, found, model, keys, &mut reading);
    reading.problems.sort_by(|one, other| {
        let key = |of: &Problem| (of.file.clone(), of.problem, of.detail.clone());
        key(one).cmp(&key(other))
    });
    reading.problems.dedup();
    reading.manifest = Some(manifest);
    reading
}

/// Whether a trusted key signed for exactly these bytes of the manifest. No signature is a lack, and
/// one that proves nothing is a fault: it was made by whoever made these files.
fn signature(
    manifest: &ReleaseManifest,
    bytes: &[u8],
    found: &Found,
    keys: &[VerifyingKey],
    reading: &mut BundleReading,
) {
    let Some(signed) = found.files.get(SIGNATURE_FILE) else {
        let why = format!("the bundle is not signed: no {SIGNATURE_FILE}");
        return reading.unvouched.push(why);
    };
    if keys.is_empty() {
        let why = "no key is trusted, so no signature is".to_owned();
        return reading.unvouched.push(why);
    }
    let mut wrong = |detail: String| {
        let problem = Problem::new(SIGNATURE_FILE, Wrong::Signature, detail);
        reading.problems.push(problem);
    };
    let text = String::from_utf8_lossy(signed);
    let lines: Vec<&str> = text.lines().collect();
    let [line] = lines.as_slice() else {
        return wrong(format!("{} lines, expected 1", lines.len()));
    };
    match signed::opened(line, keys) {
        Err(why) => wrong(why),
        Ok(statement) if statement == bundle_statement(manifest, &sha256_hex(bytes)) => {}
        Ok(_) => wrong("it is of something else than this manifest".to_owned()),
    }
}
