//! A conversation over a voice socket: what was sent and what came, in one order. Whoever sends
//! audio says how long it is by its samples: half a second of silence is sent in no time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::Clock;
use crate::checks::{Cx, Undecided};
use crate::target::{Client, Heard, NotOpen, Socket};

/// The longest that anything on a voice socket may take.
pub const BOUND: Duration = Duration::from_secs(10);
/// How long somebody is listened to who was silent for all of [`BOUND`] before.
const RESIGNED: Duration = Duration::from_millis(500);

/// Who said a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The harness.
    Us,
    /// The target.
    Target,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it was handed over or came, in microseconds on the clock of the run.
    pub at_us: u64,
    /// Who said it.
    pub by: By,
    /// The `type` of a text frame, `audio` of a binary one, `closed` of the end; empty for what is
    /// no frame of JSON.
    pub kind: String,
    /// The `turn_id` of a text frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    /// The `payload` of a text frame.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub payload: Value,
    /// The bytes of a binary frame, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pcm: String,
}

impl Line {
    /// A binary frame.
    #[must_use]
    pub fn audio(at_us: u64, by: By, pcm: &[u8]) -> Self {
        Self {
            at_us,
            by,
            kind: "audio".to_owned(),
            turn_id: None,
            payload: Value::Null,
            pcm: STANDARD.encode(pcm),
        }
    }

    /// A text frame, or the end.
    #[must_use]
    pub fn text(at_us: u64, by: By, frame: &Value) -> Self {
        let word = |field: &str| frame[field].as_str().map(str::to_owned);
        Self {
            at_us,
            by,
            kind: word("type").unwrap_or_default(),
            turn_id: word("turn_id"),
            payload: frame["payload"].clone(),
            pcm: String::new(),
        }
    }

    /// The bytes of a binary frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.pcm).unwrap_or_default()
    }

    /// Whether the target said this.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.by == By::Target && self.kind == kind
    }

    /// `payload.text`, or the empty string.
    #[must_use]
    pub fn said(&self) -> &str {
        self.payload["text"].as_str().unwrap_or_default()
    }

    /// `payload.code` of an error, or the empty string.
    #[must_use]
    pub fn code(&self) -> &str {
        self.payload["code"].as_str().unwrap_or_default()
    }
}

/// An open voice socket, and what was said over it.
pub struct Talk {
    socket: Socket,
    clock: Clock,
    patience: Duration,
    /// The conversation so far.
    pub lines: Vec<Line>,
}

impl Talk {
    /// Opens the voice socket of a session.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn open(cx: &Cx, client: &Client, session: &str) -> Result<Self, Undecided> {
        Self::on(cx, client, "pipecat", &format!("/v1/voice/{session}")).await
    }

    /// The same under a correlation id of the caller's.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn under(
        cx: &Cx,
        client: &Client,
        session: &str,
        correlation_id: &str,
    ) -> Result<Self, Undecided> {
        let path = format!("/v1/voice/{session}");
        let socket = client.open_under(correlation_id, "pipecat", &path, BOUND);
        Self::opened(cx, &path, socket.await)
    }

    /// Opens any other socket of a service.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn on(
        cx: &Cx,
        client: &Client,
        service: &str,
        path: &str,
    ) -> Result<Self, Undecided> {
        Self::opened(cx, path, client.open(service, path, BOUND).await)
    }

    fn opened(cx: &Cx, path: &str, socket: Result<Socket, NotOpen>) -> Result<Self, Undecided> {
        let socket = socket.map_err(|why| {
            Undecided(match why {
                NotOpen::Refused(status) => format!("{path} was answered {status}"),
                NotOpen::Failed(why) => format!("{path} is not open: {why}"),
            })
        })?;
        Ok(Self {
            socket,
            clock: cx.clock,
            patience: BOUND,
            lines: Vec::new(),
        })
    }

    /// Sends a text frame. A socket that is gone shows in what is heard.
    pub async fn say(&mut self, kind: &str, payload: Value) {
        self.say_as(kind, None, payload).await;
    }

    /// The same about a turn.
    pub async fn say_as(&mut self, kind: &str, turn_id: Option<&str>, payload: Value) {
        let frame = json!({"type": kind, "turn_id": turn_id, "payload": payload});
        let line = Line::text(self.clock.now_us(), By::Us, &frame);
        self.lines.push(line);
        let _ = self.socket.say(&frame.to_string()).await;
    }

    /// Sends a text as it stands, likewise.
    pub async fn write(&mut self, text: &str) {
        let frame = serde_json::from_str(text).unwrap_or(Value::Null);
        let line = Line::text(self.clock.now_us(), By::Us, &frame);
        self.lines.push(line);
        let _ = self.socket.say(text).await;
    }

    /// Sends a binary frame, likewise.
    pub async fn play(&mut self, pcm: Vec<u8>) {
        let line = Line::audio(self.clock.now_us(), By::Us, &pcm);
        self.lines.push(line);
        let _ = self.socket.send_bytes(pcm).await;
    }

    /// Plays an utterance piece by piece, and says that it is over.
    pub async fn utter(&mut self, pieces: impl IntoIterator<Item = Vec<u8>>) {
        for piece in pieces {
            self.play(piece).await;
        }
        self.say("input.audio.end", json!({})).await;
    }

    /// Listens until a line of the target is what is awaited; false when it is not within
    /// [`BOUND`], or the socket is closed. Lines that came before do not count. Who was waited for
    /// in vain once is not waited for so long again.
    pub async fn until(&mut self, mut awaited: impl FnMut(&Line) -> bool) -> bool {
        let end = tokio::time::Instant::now() + self.patience;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let heard = self.socket.hear(left).await;
            let at_us = self.clock.now_us();
            let line = match heard {
                Heard::Nothing => {
                    self.patience = RESIGNED;
                    return false;
                }
                Heard::Frame(frame) => Line::text(at_us, By::Target, &frame),
                Heard::Bytes(bytes) => Line::audio(at_us, By::Target, &bytes),
                Heard::Closed(code) => {
                    let frame = json!({"type": "closed", "payload": {"code": code}});
                    Line::text(at_us, By::Target, &frame)
                }
            };
            let (closed, found) = (line.is("closed"), awaited(&line));
            self.lines.push(line);
            if closed || found {
                return found;
            }
        }
    }

    /// [`Talk::until`] for a kind of frame.
    pub async fn until_kind(&mut self, kind: &str) -> bool {
        self.until(|line| line.is(kind)).await
    }

    /// Asks whether it is still there, and listens until it says so. What it had to say of messages
    /// that it answers itself has come before.
    pub async fn ping(&mut self) -> bool {
        self.say("control.ping", json!({})).await;
        self.until(|line| line.is("ack") && line.payload["of"] == "control.ping")
            .await
    }

    /// [`Talk::until_kind`], unless it has come already since there were so many lines.
    pub async fn since(&mut self, from: usize, kind: &str) -> bool {
        let came = self.lines[from..].iter().any(|line| line.is(kind));
        came || self.until_kind(kind).await
    }
}
