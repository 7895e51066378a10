//! DSSE v1.0.2 envelopes: the bytes that are signed, and whether a pinned Ed25519 key signed them.
//! Only what was signed is given out, and it is decoded once.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

/// More signatures than anybody makes: each costs a verification.
const MAX_SIGNATURES: usize = 64;

/// An envelope as it is written. Members that it does not name are let be, as the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Base64 of what is signed.
    pub payload: String,
    /// What that is; signed too.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// By whom.
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Which key: a hint that nothing protects, and that nothing here believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyid: Option<String>,
    /// Base64 of the signature.
    pub sig: String,
}

/// Why an envelope gives out nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is none.
    Unreadable(String),
    /// It is none of the pinned key's.
    Signature(String),
}

/// The pre-authentication encoding, which is what is signed: lengths count bytes, so that no other
/// type and payload have the same.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (of_type, of_payload) = (payload_type.len(), payload.len());
    let mut signed = format!("DSSEv1 {of_type} {payload_type} {of_payload} ").into_bytes();
    signed.extend_from_slice(payload);
    signed
}

/// The payload, when the key signed it as one of this type.
pub(super) fn open(
    bytes: &[u8],
    payload_type: &str,
    key: &VerifyingKey,
) -> Result<Vec<u8>, Refused> {
    let envelope: Envelope = serde_json::from_slice(bytes)
        .map_err(|error| Refused::Unreadable(format!("no DSSE envelope: {error}")))?;
    let payload = decode(&envelope.payload)
        .ok_or_else(|| Refused::Unreadable("its payload is no base64".to_owned()))?;
    let count = envelope.signatures.len();
    if count == 0 {
        return Err(Refused::Signature("it is not signed".to_owned()));
    }
    if count > MAX_SIGNATURES {
        let why = format!("{count} signatures, at most {MAX_SIGNATURES} are looked at");
        return Err(Refused::Signature(why));
    }
    let signed = pae(&envelope.payload_type, &payload);
    let ours = |signature: &Signature| verifies(signature, &signed, key);
    if !envelope.signatures.iter().any(ours) {
        let why = format!("none of {count} signatures is the pinned key's over this manifest");
        return Err(Refused::Signature(why));
    }
    // Signed, but as something else: a signature must never be lent to another kind of document.
    if envelope.payload_type != payload_type {
        let got = envelope.payload_type;
        return Err(Refused::Unreadable(format!(
            "payloadType is `{got}`, expected `{payload_type}`"
        )));
    }
    Ok(payload)
}

fn verifies(signature: &Signature, signed: &[u8], key: &VerifyingKey) -> bool {
    let bytes = decode(&signature.sig);
    let signature = bytes.and_then(|bytes| ed25519_dalek::Signature::from_slice(&bytes).ok());
    signature.is_some_and(|signature| key.verify_strict(signed, &signature).is_ok())
}

/// Both alphabets, as verifiers must; only the one spelling that an encoder gives.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()
}
