//! The frames of WebSocket routes: `{type, turn_id, payload}` in text. What is not understood gets an
//! error frame, and the socket stays open.

use axum::extract::ws::{Message, WebSocket};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// A frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// `control.ping`.
    pub kind: String,
    /// Whose it is, if somebody's.
    pub turn_id: Option<String>,
    /// What it carries.
    pub payload: Value,
}

impl Frame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// The error frame that answers what is none.
    pub fn read(text: &str) -> Result<Self, Value> {
        let malformed = || {
            let message = "expected {type, turn_id, payload}";
            error(None, "FRAME_MALFORMED", message)
        };
        let frame: Value = serde_json::from_str(text).map_err(|_| malformed())?;
        let turn_id = match &frame["turn_id"] {
            Value::Null => None,
            Value::String(id) => Some(id.clone()),
            _ => return Err(malformed()),
        };
        match &frame["type"] {
            Value::String(kind) => Ok(Self {
                kind: kind.clone(),
                turn_id,
                payload: frame["payload"].clone(),
            }),
            _ => Err(malformed()),
        }
    }

    /// Says that it was heard.
    pub fn ack(&self) -> Value {
        json!({"type": "ack", "turn_id": self.turn_id, "payload": {"of": self.kind}})
    }

    /// Says that there is no such frame here.
    pub fn unknown(&self) -> Value {
        let message = format!("no frame {}", self.kind);
        error(self.turn_id.as_deref(), "FRAME_UNKNOWN", message)
    }
}

/// An error frame.
pub fn error(turn_id: Option<&str>, code: &str, message: impl Into<String>) -> Value {
    failure(turn_id, code, message, false)
}

/// An error frame that says whether the same may go better later.
pub fn failure(
    turn_id: Option<&str>,
    code: &str,
    message: impl Into<String>,
    retryable: bool,
) -> Value {
    let message = message.into();
    json!({
        "type": "error",
        "turn_id": turn_id,
        "payload": {"code": code, "message": message, "retryable": retryable},
    })
}

/// Answers every message with what `answer` makes of it, until the socket is closed.
pub async fn answer_each<F>(mut socket: WebSocket, mut answer: F)
where
    F: FnMut(Message) -> BoxFuture<'static, Option<Value>>,
{
    while let Some(Ok(message)) = socket.recv().await {
        // Pings are answered below this.
        if matches!(message, Message::Close(_)) {
            return;
        }
        let Some(frame) = answer(message).await else {
            continue;
        };
        let sent = socket.send(Message::text(frame.to_string()));
        if sent.await.is_err() {
            return;
        }
    }
}

/// What every socket makes of a text frame that is about nothing but the socket.
pub fn control(text: &str) -> Value {
    match Frame::read(text) {
        Err(refusal) => refusal,
        Ok(frame) if frame.kind == "control.ping" => frame.ack(),
        Ok(frame) => frame.unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_answered_as_the_contract_says() {
        let text = include_str!("../../fixtures/contract/frames.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let asked = file["asked"].as_array().unwrap();
        assert!(asked.len() >= 3);
        for pair in asked {
            let frame = match &pair["frame"] {
                Value::String(text) => text.clone(),
                frame => frame.to_string(),
            };
            assert_eq!(control(&frame), pair["answer"], "{frame}");
        }
    }
}
