//! What the parts of a conversation share: the way to the client, and the word to stop.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::extract::ws::Message;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::Unavailable;

/// The way to the client; what goes in comes out in order.
pub struct Spoken {
    out: mpsc::Sender<Message>,
    playing: AtomicBool,
}

impl Spoken {
    /// To whatever takes messages at the other end.
    pub fn new(out: mpsc::Sender<Message>) -> Self {
        let playing = AtomicBool::new(false);
        Self { out, playing }
    }

    /// Sends a frame as it is.
    pub async fn frame(&self, frame: &Value) {
        // The other end is gone only when the conversation is over.
        let _ = self.out.send(Message::text(frame.to_string())).await;
    }

    /// Sends `{type, turn_id, payload}`.
    pub async fn say(&self, kind: &str, id: Option<&str>, payload: Value) {
        let frame = json!({"type": kind, "turn_id": id, "payload": payload});
        self.frame(&frame).await;
    }

    /// Says that something did not work and may another time.
    pub async fn unavailable(&self, id: Option<&str>, code: &str, Unavailable(why): &Unavailable) {
        let payload = json!({"code": code, "message": why, "retryable": true});
        self.say("error", id, payload).await;
    }

    /// Sends audio.
    pub async fn play(&self, pcm: Bytes) {
        self.playing.store(true, Relaxed);
        let _ = self.out.send(Message::Binary(pcm)).await;
    }

    /// Nothing is played any more.
    pub fn quiet(&self) {
        self.playing.store(false, Relaxed);
    }

    /// Whether something is played.
    pub fn is_playing(&self) -> bool {
        self.playing.load(Relaxed)
    }
}

/// Who can stop what is said.
#[derive(Default)]
pub struct Stopper(watch::Sender<&'static str>);

impl Stopper {
    /// Stops everything that is or is to be said until now.
    pub fn stop(&self, reason: &'static str) {
        self.0.send_replace(reason);
    }

    /// The word to stop what is said from now on.
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

/// The word to stop.
pub struct Stop(watch::Receiver<&'static str>);

impl Stop {
    /// Whether it was given.
    pub fn was_asked(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits for it; why.
    pub async fn asked(&mut self) -> &'static str {
        match self.0.changed().await {
            Ok(()) => *self.0.borrow(),
            // Nobody is left who could give it.
            Err(_) => std::future::pending().await,
        }
    }
}
