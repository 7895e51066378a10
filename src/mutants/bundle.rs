//! Defects of the incident bundle: how its manifest is made, and held against what is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dsse::{Ed25519Signer, Ed25519Verifier, Envelope};
use serde_json::Value;

use super::Mutant;
use super::levers::Levers;
use crate::reference::bundle::{BundleRule, Signed};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "bundle-hashes-names-only",
        must: &["bundle-manifest-signed"],
        may: &[],
        apply: |levers| rule(levers, Arc::new(NamesOnly)),
    },
    Mutant {
        name: "bundle-unsigned-fields",
        must: &["bundle-manifest-signed"],
        may: &[],
        apply: |levers| rule(levers, Arc::new(OnlyFilesSigned)),
    },
    Mutant {
        name: "bundle-extra-files-ignored",
        must: &["bundle-manifest-signed"],
        may: &[],
        apply: |levers| rule(levers, Arc::new(ExtraIgnored)),
    },
];

fn rule(levers: &mut Levers, rule: Arc<dyn BundleRule>) {
    levers.part(|parts| parts.bundle = rule);
}

/// The digest of a file is that of its name.
struct NamesOnly;

impl BundleRule for NamesOnly {
    fn digest(&self, path: &str, _content: &[u8]) -> String {
        Signed.digest(path, path.as_bytes())
    }
}

/// The list of files is signed; which bundle it is of, and when it was made, is not.
struct OnlyFilesSigned;

impl OnlyFilesSigned {
    fn signed(manifest: &[u8]) -> Vec<u8> {
        let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
        manifest["files"].to_string().into_bytes()
    }
}

impl BundleRule for OnlyFilesSigned {
    fn seal(&self, manifest: &[u8], signer: &Ed25519Signer) -> dsse::Result<Envelope> {
        let mut envelope = Signed.seal(&Self::signed(manifest), signer)?;
        envelope.payload = STANDARD.encode(manifest);
        Ok(envelope)
    }

    fn open(&self, envelope: &Envelope, key: &Ed25519Verifier) -> dsse::Result<Vec<u8>> {
        let manifest = STANDARD.decode(&envelope.payload).unwrap_or_default();
        let mut signed = envelope.clone();
        signed.payload = STANDARD.encode(Self::signed(&manifest));
        Signed.open(&signed, key)?;
        Ok(manifest)
    }
}

/// What the manifest does not name is not looked at.
struct ExtraIgnored;

impl BundleRule for ExtraIgnored {
    fn extra(&self, _listed: &BTreeSet<&str>, _there: &[&str]) -> Vec<String> {
        Vec::new()
    }
}
