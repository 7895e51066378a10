//! The manifest, and the rule by which it is made and held against what is there.

use std::collections::BTreeSet;

use dsse::{Ed25519Signer, Ed25519Verifier, Envelope};
use serde::{Deserialize, Serialize};

use crate::reference::digest;

/// The file that holds the envelope.
pub const MANIFEST_FILE: &str = "manifest.dsse.json";
/// What the envelope says that it holds.
pub const PAYLOAD_TYPE: &str = "application/vnd.sonia.bundle-manifest+json";

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub version: u32,
    /// `incident`.
    pub kind: String,
    /// `inc_…`.
    pub bundle_id: String,
    /// RFC 3339, UTC, microseconds.
    pub created_at: String,
    /// Every other file, in the order of the paths.
    pub files: Vec<FileRow>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    /// Relative, with forward slashes.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// How a manifest is made and held against what is there. Export and verification ask the same
/// rule.
pub trait BundleRule: Send + Sync {
    /// The digest of a file.
    fn digest(&self, _path: &str, content: &[u8]) -> String {
        digest::sha256(content)
    }

    /// Signs a manifest.
    ///
    /// # Errors
    /// See [`dsse::sign`].
    fn seal(&self, manifest: &[u8], signer: &Ed25519Signer) -> dsse::Result<Envelope> {
        dsse::sign(PAYLOAD_TYPE, manifest, signer)
    }

    /// Gives out a manifest that this key signed.
    ///
    /// # Errors
    /// See [`dsse::verify`].
    fn open(&self, envelope: &Envelope, key: &Ed25519Verifier) -> dsse::Result<Vec<u8>> {
        Ok(dsse::verify(envelope, &[key], 1)?.payload)
    }

    /// Files that are there and that the manifest does not name.
    fn extra(&self, listed: &BTreeSet<&str>, there: &[&str]) -> Vec<String> {
        let unlisted = there.iter().filter(|path| !listed.contains(**path));
        unlisted.map(|path| (*path).to_owned()).collect()
    }
}

/// SHA-256 of contents, and a signature over the whole manifest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signed;

impl BundleRule for Signed {}
