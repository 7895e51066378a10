//! How a message of a voice socket is read: binary is audio, text is a frame. It never closes the
//! socket, whatever comes.

use axum::extract::ws::Message;
use serde_json::Value;

use crate::reference::frames::{Frame, error};

/// How a message is read; the number is the longest piece of audio, in bytes.
pub type Framing = fn(Message, usize) -> Inbound;

/// What a message is.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// PCM.
    Audio(Vec<u8>),
    /// A text frame.
    Frame(Frame),
    /// Neither; the error frame that answers it.
    Refused(Value),
    /// Nothing to answer.
    Nothing,
    /// The end.
    Close,
}

/// Reads a message.
pub fn read(message: Message, longest: usize) -> Inbound {
    match message {
        Message::Text(text) => match Frame::read(&text) {
            Ok(frame) => Inbound::Frame(frame),
            Err(refusal) => Inbound::Refused(refusal),
        },
        Message::Binary(pcm) => audio(pcm.into(), longest),
        // Pings are answered below this.
        Message::Ping(_) | Message::Pong(_) => Inbound::Nothing,
        Message::Close(_) => Inbound::Close,
    }
}

/// Half a sample is none.
fn audio(pcm: Vec<u8>, longest: usize) -> Inbound {
    let bytes = pcm.len();
    if bytes > longest {
        let message = format!("{bytes} bytes of audio in one frame, expected at most {longest}");
        return Inbound::Refused(error(None, "AUDIO_TOO_LARGE", message));
    }
    if bytes % 2 == 1 {
        let message = format!("{bytes} bytes of audio, expected pairs of 16-bit samples");
        return Inbound::Refused(error(None, "AUDIO_MALFORMED", message));
    }
    Inbound::Audio(pcm)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn binary_is_audio_whatever_it_looks_like_and_text_is_a_frame() {
        let ping = r#"{"type":"control.ping","payload":{}}"#;
        let bytes = ping.as_bytes().to_vec();
        assert_eq!(bytes.len() % 2, 0);
        let read = |message| read(message, 64);
        assert_eq!(
            read(Message::binary(bytes.clone())),
            Inbound::Audio(bytes.clone())
        );
        assert!(
            matches!(read(Message::text(ping)), Inbound::Frame(frame) if frame.kind == "control.ping")
        );
        let code = |message| match read(message) {
            Inbound::Refused(frame) => frame["payload"]["code"].clone(),
            other => json!(format!("{other:?}")),
        };
        assert_eq!(code(Message::binary(vec![0; 63])), "AUDIO_MALFORMED");
        assert_eq!(code(Message::binary(vec![0; 66])), "AUDIO_TOO_LARGE");
        assert_eq!(code(Message::text("{")), "FRAME_MALFORMED");
        assert_eq!(read(Message::binary(vec![])), Inbound::Audio(vec![]));
    }
}
