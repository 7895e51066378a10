//! The content of a file as it is kept in evidence: text where it is text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// Any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl Content {
    /// As JSON, null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }
}

impl From<&Value> for Content {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Text(String),
    Bytes { base64: String },
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = match std::str::from_utf8(&self.0) {
            Ok(text) => Kept::Text(text.to_owned()),
            Err(_) => Kept::Bytes {
                base64: STANDARD.encode(&self.0),
            },
        };
        kept.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Kept::deserialize(deserializer)? {
            Kept::Text(text) => Ok(Self(text.into_bytes())),
            Kept::Bytes { base64 } => STANDARD.decode(base64).map(Self).map_err(de::Error::custom),
        }
    }
}
