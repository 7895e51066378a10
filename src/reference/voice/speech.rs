//! How speech is played: in frames of one size, as it is made, until it is over, nothing more comes
//! in time, or somebody stops it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::Unavailable;
use super::conversation::{Spoken, Stop};
use super::tts::Pcm;

/// What is played, and how.
pub struct Playing {
    /// What its frames carry as `turn_id`.
    pub id: Option<String>,
    /// The speech.
    pub pcm: Pcm,
    /// Bytes of a frame.
    pub frame_bytes: usize,
    /// The longest wait for more.
    pub patience: Duration,
}

/// How speech is played.
pub trait Speech: Send + Sync {
    /// Plays it to the end, or to a stop.
    fn play<'a>(
        &'a self,
        playing: Playing,
        to: &'a Spoken,
        stop: &'a mut Stop,
    ) -> BoxFuture<'a, Result<(), Unavailable>>;
}

/// Every frame as soon as it is whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsItComes;

impl Speech for AsItComes {
    fn play<'a>(
        &'a self,
        playing: Playing,
        to: &'a Spoken,
        stop: &'a mut Stop,
    ) -> BoxFuture<'a, Result<(), Unavailable>> {
        Box::pin(play(playing, to, stop))
    }
}

async fn play(mut playing: Playing, to: &Spoken, stop: &mut Stop) -> Result<(), Unavailable> {
    let id = playing.id.as_deref();
    let size = playing.frame_bytes;
    let (mut rest, mut frames, mut bytes) = (BytesMut::new(), 0, 0);
    loop {
        let next = tokio::time::timeout(playing.patience, playing.pcm.next());
        let chunk = tokio::select! {
            biased;
            reason = stop.asked() => {
                if frames > 0 {
                    to.say("speech.stopped", id, json!({"reason": reason})).await;
                }
                return Ok(());
            }
            chunk = next => chunk,
        };
        let chunk = chunk.map_err(|_| Unavailable("nothing more came in time".to_owned()))?;
        let over = chunk.is_none();
        rest.extend_from_slice(&chunk.transpose()?.unwrap_or_default());
        while rest.len() >= size || (over && !rest.is_empty()) {
            let frame: Bytes = rest.split_to(size.min(rest.len())).freeze();
            if frames == 0 {
                to.say("speech.started", id, json!({})).await;
            }
            (frames, bytes) = (frames + 1, bytes + frame.len());
            to.play(frame).await;
        }
        if over {
            if frames > 0 {
                let payload = json!({"frames": frames, "bytes": bytes});
                to.say("speech.ended", id, payload).await;
            }
            return Ok(());
        }
    }
}
