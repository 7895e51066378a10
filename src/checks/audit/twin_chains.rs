//! Chains and checkpoints for evidence that is written by hand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::json::hex;
use crate::contract::audit::{GENESIS, hash_of};
use crate::contract::checkpoint::{head_of, origin};

/// `n` entries with right hashes and no field that is null, each of a request of its own.
pub(crate) fn chain(name: &str, n: usize, actor: &str) -> Vec<Value> {
    let text = include_str!("../../../fixtures/contract/samples/audit-export.json");
    let sample: Value = serde_json::from_str(text).unwrap();
    let mut prev = GENESIS.to_owned();
    let entry = |seq| {
        let mut entry = sample["answer"]["body"]["entries"][0].clone();
        entry["chain"] = json!(name);
        entry["service"] = json!(name);
        entry["seq"] = json!(seq);
        entry["actor_id"] = json!(actor);
        entry["via"] = json!("_service");
        entry["causal_parent"] = json!(format!("eva-os/{seq}/00"));
        entry["resource"] = json!(format!("session/ses_{seq}"));
        entry["correlation_id"] = json!(format!("cor_{name}_{seq}"));
        entry["prev_hash"] = json!(prev);
        entry["hash"] = json!(hash_of(&entry));
        prev = entry["hash"].as_str().unwrap().to_owned();
        entry
    };
    (0..n).map(entry).collect()
}

/// The checkpoint of these entries, signed with the key made of this byte.
pub(super) fn note(chain: &str, entries: &[Value], secret: u8) -> String {
    let key = SigningKey::from_bytes(&[secret; 32]);
    let head = head_of(entries).unwrap();
    let name = origin(chain);
    let root = STANDARD.encode(head.root);
    let text = format!("{name}\n{}\n{root}\n", head.size);
    let hash = Sha256::new().chain_update(name.as_bytes());
    let hash = hash.chain_update([b'\n', 1]);
    let digest = hash.chain_update(key.verifying_key().as_bytes()).finalize();
    let signature = [&digest[..4], &key.sign(text.as_bytes()).to_bytes()].concat();
    format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature))
}

/// The public half of that key, in hexadecimal digits.
pub(super) fn public(secret: u8) -> String {
    hex(SigningKey::from_bytes(&[secret; 32])
        .verifying_key()
        .as_bytes())
}
