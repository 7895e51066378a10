//! The release bundle: what a promotion rests on, in one archive that anybody can check without this
//! machine. The report, its attestation, its evidence, the kill matrix, the gates and scenarios it was
//! judged by, changelog and lock file, and a signed manifest with size and digest of each. The same
//! inputs give the same bytes. It decides nothing: a release that is held can be bundled too, and its
//! manifest says that it is.

mod archive;
mod contents;
mod manifest;

use std::io;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;

pub use archive::packed;
pub use contents::Contents;
pub use manifest::{BUNDLE_TYPE, ReleaseManifest, bundle_statement};

use crate::base::json::sha256_hex;
use crate::report::attestation::envelope;

/// The file that names all others.
pub const MANIFEST_FILE: &str = "release-manifest.json";
/// Its signature: an in-toto statement in a DSSE envelope.
pub const SIGNATURE_FILE: &str = "release-manifest.intoto.jsonl";
/// The most bytes that all evidence of a release may have, packed.
pub const MAX_EVIDENCE_BYTES: u64 = 5 << 20;

/// A bundle, made.
#[derive(Clone, Debug)]
pub struct ReleaseBundle {
    /// What it holds.
    pub manifest: ReleaseManifest,
    /// The bytes of [`MANIFEST_FILE`].
    pub manifest_bytes: Vec<u8>,
    /// The `.tar.gz`.
    pub archive: Vec<u8>,
    /// How many bytes the evidence alone takes, packed.
    pub evidence_bytes: u64,
    /// Whether a key signed the manifest.
    pub signed: bool,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file that belongs in it cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no report, or it is none.
    #[error("{path}: {why}", path = .path.display())]
    NoReport {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is the report of other sources than those beside it.
    #[error("the report is of the sources {got}, and here are {expected}")]
    OtherSources {
        /// What the report names.
        got: String,
        /// What is here.
        expected: String,
    },
    /// The target was made wrong on purpose: what it came to is never signed nor handed over.
    #[error("the target {0} was made wrong on purpose")]
    MadeWrong(String),
    /// A file is another than the report names.
    #[error("{path} has the digest {got}, and the report names {expected}")]
    Changed {
        /// Which.
        path: String,
        /// What it has.
        got: String,
        /// What it should have.
        expected: String,
    },
    /// There is more evidence than a bundle may hold.
    #[error("the evidence is {got} bytes when packed, at most {MAX_EVIDENCE_BYTES} go in")]
    TooMuchEvidence {
        /// How many bytes.
        got: u64,
    },
    /// The key signs nothing.
    #[error("the manifest cannot be signed: {0}")]
    Sign(#[from] dsse::Error),
    /// A file cannot be packed, such as one with too long a path.
    #[error("{path} cannot be packed: {source}")]
    Pack {
        /// Which.
        path: String,
        /// What the format says.
        source: io::Error,
    },
}

impl Contents {
    /// The bundle of these files.
    ///
    /// # Errors
    /// See [`ReleaseError`].
    pub fn bundle(self, key: Option<&SigningKey>) -> Result<ReleaseBundle, ReleaseError> {
        let evidence = self.files.iter().filter(|(path, _)| is_evidence(path));
        let evidence_bytes = packed(evidence)?.len() as u64;
        if evidence_bytes > MAX_EVIDENCE_BYTES {
            let got = evidence_bytes;
            return Err(ReleaseError::TooMuchEvidence { got });
        }
        let manifest = ReleaseManifest::of(&self.report, &self.files);
        let manifest_bytes = manifest.bytes();
        let mut files = self.files;
        if let Some(key) = key {
            let statement = bundle_statement(&manifest, &sha256_hex(&manifest_bytes));
            let signature = envelope(&statement, key)?;
            files.insert(SIGNATURE_FILE.to_owned(), signature.into_bytes());
        }
        files.insert(MANIFEST_FILE.to_owned(), manifest_bytes.clone());
        Ok(ReleaseBundle {
            manifest,
            manifest_bytes,
            archive: packed(&files)?,
            evidence_bytes,
            signed: key.is_some(),
        })
    }
}

/// Whether this file of a bundle is evidence.
#[must_use]
pub fn is_evidence(path: &str) -> bool {
    path.starts_with("evidence/")
}
