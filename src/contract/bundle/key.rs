//! The public key that whoever verifies has pinned: a file or a verifier key as text.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;

use crate::contract::note::Pinned;

/// Why there is no key to pin.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    /// It is no key by itself, and no file that can be read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path}: no Ed25519 public key", path = .0.display())]
    NoKey(PathBuf),
}

/// The key in `given`: a verifier key `NAME+ID+BASE64`, or a file with one or with a PEM
/// (`BEGIN PUBLIC KEY`). Whatever its name, it is the key that counts.
///
/// # Errors
/// See [`KeyRefused`].
pub fn pinned(given: &str) -> Result<VerifyingKey, KeyRefused> {
    let by_name = |text: &str| Pinned::parse(text).map(|pinned| *pinned.key());
    if let Some(key) = by_name(given) {
        return Ok(key);
    }
    let path = Path::new(given).to_owned();
    match std::fs::read_to_string(&path) {
        Err(source) => Err(KeyRefused::File { path, source }),
        Ok(text) => VerifyingKey::from_public_key_pem(&text)
            .ok()
            .or_else(|| by_name(text.trim()))
            .ok_or(KeyRefused::NoKey(path)),
    }
}
