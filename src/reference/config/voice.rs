//! `voice.*`: what hears, what speaks, and how long each may take.

use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voice {
    pub asr: Asr,
    pub tts: Tts,
    pub vad: VadKeys,
    /// The longest piece of audio that a client may send at once.
    pub frame_bytes: usize,
    /// The pieces of speech that it gets.
    pub tts_frame_bytes: usize,
    /// How long the gateway may take for a turn.
    pub turn_timeout_ms: u64,
    /// How long a backend may take to say that it is there.
    pub probe_ms: u64,
    /// Between two looks.
    pub probe_interval_ms: u64,
}

/// What hears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asr {
    /// `http`, `keyed`, `builtin`, `none`, or anything, which is unavailable then; without one it
    /// is the environment's.
    pub provider: Option<String>,
    /// What the environment says; without it the provider is found.
    pub environment: Option<String>,
    /// Holds the key, relative to the config file's folder.
    pub key_file: Option<String>,
    /// The key itself.
    pub key: Option<Secret>,
    /// For each piece of an utterance.
    pub timeout_ms: u64,
}

/// What speaks; its keys are as those of [`Asr`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tts {
    pub provider: Option<String>,
    pub environment: Option<String>,
    /// For the first piece of speech, and for each after it.
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VadKeys {
    /// The root of the mean square of 20 ms from which on they are speech.
    pub threshold: u64,
    /// So much silence ends an utterance.
    pub silence_ms: u64,
}

/// What is read and never written.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            asr: Asr {
                provider: None,
                environment: None,
                key_file: None,
                key: None,
                timeout_ms: 5000,
            },
            tts: Tts {
                provider: None,
                environment: None,
                timeout_ms: 5000,
            },
            vad: VadKeys {
                threshold: 500,
                silence_ms: 500,
            },
            frame_bytes: 65_536,
            tts_frame_bytes: 640,
            turn_timeout_ms: 35_000,
            probe_ms: 1000,
            probe_interval_ms: 5000,
        }
    }
}
