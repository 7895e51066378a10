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

async fn play(playing: Playing, to: &Spoken, stop: &mut Stop) -> Result<(), Unavailable> {
    let id = playing.id.clone();
    let id = id.as_deref();
    let mut cut = Cut::new(playing);
    let (mut frames, mut bytes) = (0, 0);
    loop {
        // Asked before every frame: what is synthesized all at once can be stopped too.
        let next = tokio::select! {
            biased;
            reason = stop.asked() => {
                if frames > 0 {
                    to.say("speech.stopped", id, json!({"reason": reason})).await;
                }
                return Ok(());
            }
            next = cut.next() => next?,
        };
        let Some(frame) = next else {
            if frames > 0 {
                let payload = json!({"frames": frames, "bytes": bytes});
                to.say("speech.ended", id, payload).await;
            }
            return Ok(());
        };
        if frames == 0 {
            to.say("speech.started", id, json!({})).await;
        }
        (frames, bytes) = (frames + 1, bytes + frame.len());
        to.play(frame).await;
    }
}

/// Speech cut into frames.
struct Cut {
    playing: Playing,
    /// What came and is not played yet.
    rest: BytesMut,
    /// Whether nothing more comes.
    over: bool,
}

impl Cut {
    fn new(playing: Playing) -> Self {
        Self {
            playing,
            rest: BytesMut::new(),
            over: false,
        }
    }

    /// The next frame: a whole one, or what is left at the end. Nothing is lost by not waiting for it.
    async fn next(&mut self) -> Result<Option<Bytes>, Unavailable> {
        let size = self.playing.frame_bytes;
        while self.rest.len() < size && !self.over {
            let next = tokio::time::timeout(self.playing.patience, self.playing.pcm.next());
            let chunk = next.await;
            let chunk = chunk.map_err(|_| Unavailable("nothing more came in time".to_owned()))?;
            self.over = chunk.is_none();
            self.rest
                .extend_from_slice(&chunk.transpose()?.unwrap_or_default());
        }
        let frame = self.rest.split_to(size.min(self.rest.len())).freeze();
        Ok(Some(frame).filter(|frame| !frame.is_empty()))
    }
}
