//! What the doubles of the speech backends make of a call: the recogniser understands tones, and
//! what is synthesized is tones too, in chunks.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::tones;

/// One chunk of synthesized speech: 20 ms.
const CHUNK_BYTES: usize = tones::FRAME_BYTES;

/// A piece of a stream of audio as the ledger keeps it: the headers that say which piece it is, and
/// the bytes in base64.
pub(super) fn piece(headers: &BTreeMap<String, String>, pcm: &[u8]) -> Value {
    let header = |name: &str| headers.get(name).map(String::as_str);
    json!({
        "stream": header("x-audio-stream"),
        "sequence": header("x-audio-sequence").and_then(|text| text.parse::<u64>().ok()),
        "final": header("x-audio-final") == Some("true"),
        "pcm": STANDARD.encode(pcm),
    })
}

/// The bytes of a [`piece`].
#[must_use]
pub fn pcm_of(piece: &Value) -> Vec<u8> {
    let text = piece["pcm"].as_str().unwrap_or_default();
    STANDARD.decode(text).unwrap_or_default()
}

/// The audio of each stream so far.
#[derive(Default)]
pub(super) struct Hearing(BTreeMap<String, Vec<u8>>);

impl Hearing {
    /// What was understood of a stream, this piece included.
    pub(super) fn hear(&mut self, piece: &Value) -> Value {
        let stream = piece["stream"].as_str().unwrap_or_default().to_owned();
        let heard = self.0.entry(stream).or_default();
        heard.extend(pcm_of(piece));
        json!({"text": tones::hear(heard), "final": piece["final"]})
    }
}

/// What is said of an answer's text, chunk by chunk.
pub(super) fn chunks(answer: &Value) -> Vec<Bytes> {
    let pcm = Bytes::from(tones::speak(answer["text"].as_str().unwrap_or_default()));
    let starts = (0..pcm.len()).step_by(CHUNK_BYTES);
    starts
        .map(|at| pcm.slice(at..pcm.len().min(at + CHUNK_BYTES)))
        .collect()
}
