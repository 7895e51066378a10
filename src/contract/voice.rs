//! `GET /voice/backends` of pipecat.

use serde::{Deserialize, Serialize};

/// What hears, what speaks, and what tells speech from silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceBackends {
    /// Hears.
    pub asr: VoiceBackend,
    /// Speaks.
    pub tts: VoiceBackend,
    /// Tells speech from silence.
    pub vad: Detector,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceBackend {
    /// Its name; none when nobody chose one and none was found.
    pub provider: Option<String>,
    /// Whether it can be used.
    pub available: bool,
    /// `config`, `environment` or `discovery`.
    pub chosen_by: String,
    /// Why it is not available.
    pub reason: Option<String>,
}

/// What tells speech from silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detector {
    /// `energy`.
    pub provider: String,
    /// Whether it can be used.
    pub available: bool,
    /// The root of the mean square from which on a frame is speech.
    pub threshold: u64,
    /// So much silence ends an utterance.
    pub silence_ms: u64,
}
