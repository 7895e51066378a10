//! The public key that a verification pins.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;

use crate::reference::digest;

/// Why there is no key to pin.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    /// Neither a verifier key nor a file that can be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// What was given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path}: no Ed25519 public key, PEM or verifier key")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

/// A verifier key (C2SP signed-note), or a file with one or with a PEM.
///
/// # Errors
/// See [`KeyRefused`].
pub fn pinned(given: &str) -> Result<VerifyingKey, KeyRefused> {
    if let Some(key) = verifier(given) {
        return Ok(key);
    }
    let path = Path::new(given).to_owned();
    match std::fs::read_to_string(&path) {
        Err(source) => Err(KeyRefused::Unreadable { path, source }),
        Ok(text) => VerifyingKey::from_public_key_pem(&text)
            .ok()
            .or_else(|| verifier(text.trim()))
            .ok_or(KeyRefused::NoKey { path }),
    }
}

fn verifier(text: &str) -> Option<VerifyingKey> {
    let (name, rest) = text.split_once('+')?;
    let (id, typed) = rest.split_once('+')?;
    let typed = STANDARD.decode(typed).ok()?;
    let named = [name.as_bytes(), b"\n", &typed].concat();
    let [1, key @ ..] = typed.as_slice() else {
        return None;
    };
    let key = VerifyingKey::try_from(key).ok()?;
    (digest::sha256(&named).get(..8) == Some(id)).then_some(key)
}
