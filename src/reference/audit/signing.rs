//! The key that signs what the audit log says of itself. It is a file outside the data directory,
//! made by whoever starts the process; whoever verifies has pinned the public key.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// The type byte of an Ed25519 key in a signed note (C2SP signed-note).
const ED25519: u8 = 0x01;

/// Why a key cannot be used, and so why nothing starts.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct KeyError {
    /// The key file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// The signing key of all chains of a deployment; each chain signs under a name of its own.
pub struct AuditKey {
    key: SigningKey,
}

impl AuditKey {
    /// Reads an Ed25519 key, PKCS#8 in PEM.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let wrong = |message: String| KeyError {
            path: path.to_owned(),
            message,
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let key = SigningKey::from_pkcs8_pem(&text)
            .map_err(|error| wrong(format!("no Ed25519 key in PKCS#8 PEM: {error}")))?;
        Ok(Self { key })
    }

    /// The key itself, for whoever signs something other than a note.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// `sonia.local/<chain>`: the origin of a chain's checkpoints, and its key's name.
    pub fn origin(chain: &str) -> String {
        format!("sonia.local/{chain}")
    }

    /// The public key of a chain as a verifier pins it: `<origin>+<key id>+<base64>` (C2SP
    /// signed-note, "verifier keys").
    pub fn verifier(&self, chain: &str) -> String {
        use std::fmt::Write as _;
        let origin = Self::origin(chain);
        let mut id = String::with_capacity(8);
        for byte in self.id(&origin) {
            write!(id, "{byte:02x}").expect("a string takes what is written");
        }
        format!("{origin}+{id}+{}", STANDARD.encode(self.typed_public_key()))
    }

    /// A note signed under a chain's name: `text` has to end with a newline.
    pub fn sign_note(&self, chain: &str, text: &str) -> String {
        let origin = Self::origin(chain);
        let mut signature = self.id(&origin).to_vec();
        signature.extend(self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {origin} {}\n", STANDARD.encode(signature))
    }

    /// Whether `note` is this text with the signature of a key under a chain's name, and that alone.
    pub fn signed(key: &VerifyingKey, chain: &str, text: &str, note: &str) -> bool {
        let line = format!("{text}\n\u{2014} {} ", Self::origin(chain));
        let signature = note
            .strip_prefix(&line)
            .and_then(|rest| rest.strip_suffix('\n'));
        let bytes = signature.and_then(|base64| STANDARD.decode(base64).ok());
        // The first four bytes say which key it is; the one that is pinned is known.
        let signature = bytes.and_then(|bytes| Signature::from_slice(bytes.get(4..)?).ok());
        signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok())
    }

    fn typed_public_key(&self) -> Vec<u8> {
        let mut typed = vec![ED25519];
        typed.extend(self.key.verifying_key().to_bytes());
        typed
    }

    fn id(&self, name: &str) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(name.as_bytes());
        hash.update(b"\n");
        hash.update(self.typed_public_key());
        let digest = hash.finalize();
        *digest
            .first_chunk::<4>()
            .expect("a SHA-256 digest has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use signed_note::{Note, StandardVerifier, VerifierList};

    use super::*;

    fn key() -> (tempfile::TempDir, AuditKey) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.pem");
        let pem = SigningKey::from_bytes(&[7; 32])
            .to_pkcs8_pem(LineEnding::LF)
            .unwrap();
        std::fs::write(&path, pem.as_bytes()).unwrap();
        let key = AuditKey::load(&path).unwrap();
        (folder, key)
    }

    #[test]
    fn a_note_verifies_with_the_key_it_announces_by_other_peoples_code() {
        let (_folder, key) = key();
        let note = key.sign_note("api-gateway", "hello\n");
        let verify = |vkey: &str, note: &str| {
            let verifier = StandardVerifier::new(vkey).unwrap();
            let known = VerifierList::new(vec![Box::new(verifier)]);
            Note::from_bytes(note.as_bytes())
                .unwrap()
                .verify(&known)
                .is_ok()
        };
        assert!(verify(&key.verifier("api-gateway"), &note));
        assert!(!verify(&key.verifier("eva-os"), &note));
        let changed = note.replace("hello", "hullo");
        assert!(!verify(&key.verifier("api-gateway"), &changed));
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.pem");
        assert!(AuditKey::load(&path).is_err());
        std::fs::write(&path, "no key").unwrap();
        let error = AuditKey::load(&path).err().unwrap();
        assert!(error.to_string().contains("audit.pem"), "{error}");
    }
}
