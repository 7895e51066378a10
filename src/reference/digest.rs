//! SHA-256 in hex, over bytes and over the RFC 8785 form of a JSON value.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of bytes, lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("a string takes what is written");
    }
    hex
}

/// SHA-256 of the RFC 8785 form of a value.
pub fn canonical_sha256(value: &Value) -> String {
    let bytes = serde_json_canonicalizer::to_vec(value).expect("a JSON value has a canonical form");
    sha256(&bytes)
}
