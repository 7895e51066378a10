//! The credentials a harness makes for its target: two operators, an observer and the service
//! token. The target only ever sees the hashes of the keys; evidence only ever sees the names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use rand::Rng;
use serde_json::{Value, json};

use crate::base::json::{hex, sha256_hex};
use crate::base::{Seed, random_id};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Operator `op-1` or `op-2`.
    Operator(u8),
    /// Observer `ob-1`.
    Observer,
    /// The service token, as one service shows it to another.
    Service,
    /// No credentials at all.
    None,
    /// This text as the bearer key, known to the target or not.
    Raw(String),
}

impl Credential {
    /// The actor and role that an audit entry of this credential's request names, if it is one
    /// that the harness made.
    #[must_use]
    pub fn actor(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Operator(number) => Some((format!("op-{number}"), "operator")),
            Self::Observer => Some(("ob-1".to_owned(), "observer")),
            Self::Service => Some(("_service".to_owned(), "operator")),
            Self::None | Self::Raw(_) => None,
        }
    }

    /// What evidence shows instead of the secret.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Operator(number) => format!("<op-{number}>"),
            Self::Observer => "<ob-1>".to_owned(),
            Self::Service => "<service token>".to_owned(),
            Self::None => "<none>".to_owned(),
            Self::Raw(_) => "<raw>".to_owned(),
        }
    }
}

/// The secrets behind the credentials, made from a seed.
#[derive(Clone)]
pub struct Keys {
    operators: [String; 2],
    observer: String,
    service: String,
    audit: SigningKey,
}

impl Keys {
    /// The keys of this seed.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        let mut rng = seed.child("keys").rng();
        let mut key = |prefix: &str| {
            let head = random_id(prefix, &mut rng);
            random_id(&head, &mut rng)
        };
        let (operators, observer) = ([key("key_"), key("key_")], key("key_"));
        let service = key("svc_");
        let mut secret = [0; 32];
        seed.child("audit key").rng().fill_bytes(&mut secret);
        Self {
            operators,
            observer,
            service,
            audit: SigningKey::from_bytes(&secret),
        }
    }

    /// The key that the target signs with, as the file it is given: PKCS#8 in PEM.
    ///
    /// # Panics
    /// Never: an Ed25519 key can be written.
    #[must_use]
    pub fn audit_pem(&self) -> String {
        let pem = self.audit.to_pkcs8_pem(LineEnding::LF);
        pem.expect("an Ed25519 key can be written").to_string()
    }

    /// The public half, which verifiers pin: known from here, not from what the target says.
    #[must_use]
    pub fn audit_public(&self) -> VerifyingKey {
        self.audit.verifying_key()
    }

    /// Signs as the target does: for documents that are rightly signed and wrong.
    #[must_use]
    pub fn audit_sign(&self, message: &[u8]) -> [u8; 64] {
        self.audit.sign(message).to_bytes()
    }

    /// The secrets that `text` gives away, by name.
    #[must_use]
    pub fn given_away(&self, text: &[u8]) -> Vec<&'static str> {
        let raw = self.audit.to_bytes();
        let pem = self.audit_pem();
        // Its first line holds the whole secret; the rest of it is public.
        let first = pem.lines().nth(1).unwrap_or_default().to_owned();
        let secrets = [
            ("the key of op-1", self.operators[0].clone()),
            ("the key of op-2", self.operators[1].clone()),
            ("the key of ob-1", self.observer.clone()),
            ("the service token", self.service.clone()),
            ("the signing key", first),
            ("the signing key", hex(&raw)),
            ("the signing key", STANDARD.encode(raw)),
        ];
        let inside = |secret: &str| memchr::memmem::find(text, secret.as_bytes()).is_some();
        let mut names: Vec<_> = secrets
            .iter()
            .filter(|(_, secret)| inside(secret))
            .map(|(name, _)| *name)
            .collect();
        names.dedup();
        names
    }

    /// The key file that the target is given.
    #[must_use]
    pub fn file(&self) -> Value {
        let row = |actor: &str, role: &str, key: &str| json!({"actor_id": actor, "role": role, "key_sha256": sha256_hex(key.as_bytes())});
        json!({
            "service_token": self.service,
            "operators": [
                row("op-1", "operator", &self.operators[0]),
                row("op-2", "operator", &self.operators[1]),
                row("ob-1", "observer", &self.observer),
            ],
        })
    }

    /// The header that carries the credential: name and value; none for [`Credential::None`].
    #[must_use]
    pub fn header(&self, credential: &Credential) -> Option<(&'static str, String)> {
        let key = match credential {
            Credential::Operator(2) => &self.operators[1],
            Credential::Operator(_) => &self.operators[0],
            Credential::Observer => &self.observer,
            Credential::Service => return Some(("x-service-token", self.service.clone())),
            Credential::Raw(text) => text,
            Credential::None => return None,
        };
        Some(("authorization", format!("Bearer {key}")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Credential, Keys};
    use crate::base::Seed;
    use crate::base::json::sha256_hex;

    #[test]
    fn every_secret_is_known_again_and_nothing_else_is() {
        let keys = Keys::new(Seed(3));
        assert_eq!(
            keys.given_away(keys.file().to_string().as_bytes()),
            ["the service token"]
        );
        assert_eq!(
            keys.given_away(keys.audit_pem().as_bytes()),
            ["the signing key"]
        );
        let (_, value) = keys.header(&Credential::Operator(2)).unwrap();
        assert_eq!(keys.given_away(value.as_bytes()), ["the key of op-2"]);
        let (_, other) = Keys::new(Seed(4)).header(&Credential::Observer).unwrap();
        assert!(keys.given_away(other.as_bytes()).is_empty());
    }

    #[test]
    fn the_file_holds_hashes_of_distinct_keys_and_never_a_key() {
        let keys = Keys::new(Seed(3));
        let file = keys.file();
        let text = file.to_string();
        let mut seen = Vec::new();
        for (row, who) in [
            Credential::Operator(1),
            Credential::Operator(2),
            Credential::Observer,
        ]
        .iter()
        .enumerate()
        {
            let (_, value) = keys.header(who).unwrap();
            let key = value.strip_prefix("Bearer ").unwrap().to_owned();
            assert_eq!(
                file["operators"][row]["key_sha256"],
                sha256_hex(key.as_bytes())
            );
            assert!(!text.contains(&key));
            assert!(!seen.contains(&key));
            seen.push(key);
        }
        assert_eq!(keys.header(&Credential::None), None);
    }
}
