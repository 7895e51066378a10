//! How an utterance is understood: piece by piece, by the provider in force.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::Unavailable;
use super::providers::{Choice, Kind, key};
use crate::reference::http::Fault;
use crate::reference::service::Service;

/// Bytes of a second of audio.
const BYTES_PER_SECOND: usize = 32_000;

/// A piece of an utterance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The utterance.
    pub stream: String,
    /// From 0.
    pub sequence: u64,
    /// Whether it is the last.
    pub last: bool,
    /// The new bytes, exactly as they came.
    pub pcm: Vec<u8>,
    /// Bytes of the pieces before.
    pub before: usize,
    /// Of the socket.
    pub correlation_id: String,
}

/// All that was understood of an utterance so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// In words.
    pub text: String,
}

/// What is said of an utterance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transcript {
    /// There may be more.
    Partial(String),
    /// That was all.
    Final(String),
}

/// What is said once a piece is heard, from what was understood of its utterance and what was said
/// of it before.
pub type Transcribe = fn(&Piece, &Understood, &str) -> Vec<Transcript>;

/// What is new, and at the end the whole. What was said once is not taken back before the end.
pub fn transcribe(piece: &Piece, understood: &Understood, said: &str) -> Vec<Transcript> {
    let text = understood.text.clone();
    match piece.last {
        true => vec![Transcript::Final(text)],
        false if text.len() > said.len() => vec![Transcript::Partial(text)],
        false => Vec::new(),
    }
}

/// How an utterance is understood.
pub trait Ears: Send + Sync {
    /// Hears the next piece; what was understood of the utterance so far.
    fn hear<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        piece: &'a Piece,
    ) -> BoxFuture<'a, Result<Understood, Unavailable>>;
}

/// The provider in force hears it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByProvider;

impl Ears for ByProvider {
    fn hear<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        piece: &'a Piece,
    ) -> BoxFuture<'a, Result<Understood, Unavailable>> {
        Box::pin(async move {
            match choice.usable()? {
                "builtin" => Ok(length(piece)),
                "keyed" => ask(svc, Some(key(svc)?), piece).await,
                _ => ask(svc, None, piece).await,
            }
        })
    }
}

/// The same for the same audio, and without a network.
fn length(piece: &Piece) -> Understood {
    let bytes = piece.before + piece.pcm.len();
    let ms = bytes * 1000 / BYTES_PER_SECOND;
    Understood {
        text: format!("{ms} ms of speech"),
    }
}

async fn ask(svc: &Service, key: Option<String>, piece: &Piece) -> Result<Understood, Unavailable> {
    let config = svc.config();
    let url = config.backends.asr.url.trim_end_matches('/');
    let http = svc.toward("asr");
    let mut request = http
        .post(format!("{url}{}", Kind::Asr.path()))
        .header("content-type", "application/octet-stream")
        .header("x-correlation-id", &piece.correlation_id)
        .header("x-audio-stream", &piece.stream)
        .header("x-audio-sequence", piece.sequence)
        .header("x-audio-final", piece.last.to_string())
        .body(piece.pcm.clone());
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let timeout = Duration::from_millis(config.voice.asr.timeout_ms);
    let text = match http.send(request, timeout).await {
        Ok((200, bytes)) => {
            let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            answer["text"].as_str().map(str::to_owned)
        }
        Ok((status, _)) => return Err(Unavailable(format!("status {status}"))),
        Err(Fault::NotSent(why) | Fault::InDoubt(why)) => return Err(Unavailable(why)),
    };
    let text = text.ok_or_else(|| Unavailable("its answer has no text".to_owned()))?;
    Ok(Understood { text })
}
