//! `release-manifest.json`, and what is signed of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::MANIFEST_FILE;
use crate::contract::bundle::FileRow;
use crate::model::Verdict;
use crate::report::{GateReport, STATEMENT_TYPE};

/// What a statement about a bundle says: this manifest is that of the release.
pub const BUNDLE_TYPE: &str = "https://sonia.local/attestation/release-bundle/v1";
/// The version of [`ReleaseManifest`].
const FORMAT: u32 = 1;

/// The file's content. Everything in it comes from the bundled files, so that it can be compared with
/// them, and nothing from the machine that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseManifest {
    /// Always 1.
    pub format: u32,
    /// `release`.
    pub kind: String,
    /// `v4.7`.
    pub release: String,
    /// `4.7.0`.
    pub version: String,
    /// What the report says.
    pub verdict: Verdict,
    /// When the report was written, RFC 3339.
    pub timestamp: Timestamp,
    /// The commit that was judged.
    pub commit: Option<String>,
    /// The digest of the sources that judged.
    pub source_digest: String,
    /// Every file but this one and its signature, sorted by path.
    pub files: Vec<FileRow>,
}

impl ReleaseManifest {
    /// The manifest of a report and the files that are bundled with it.
    #[must_use]
    pub fn of(report: &GateReport, files: &BTreeMap<String, Vec<u8>>) -> Self {
        let rows = files
            .iter()
            .map(|(path, content)| FileRow::of(path, content));
        Self {
            format: FORMAT,
            kind: "release".to_owned(),
            release: report.release.clone(),
            version: report.version.clone(),
            verdict: report.verdict,
            timestamp: report.timestamp,
            commit: report.git.as_ref().map(|git| git.commit.clone()),
            source_digest: report.source_digest.clone(),
            files: rows.collect(),
        }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        text.push(b'\n');
        text
    }
}

/// What is signed about a manifest of this digest.
#[must_use]
pub fn bundle_statement(manifest: &ReleaseManifest, sha256: &str) -> Value {
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": MANIFEST_FILE, "digest": {"sha256": sha256}}],
        "predicateType": BUNDLE_TYPE,
        "predicate": {
            "release": manifest.release,
            "version": manifest.version,
            "verdict": manifest.verdict,
            "sourceDigest": {"sha256": manifest.source_digest},
            "files": manifest.files.len(),
        },
    })
}
