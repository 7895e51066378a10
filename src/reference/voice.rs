//! `WS /v1/voice/{session_id}`: the socket of a voice session. No provider is wired yet, and it says
//! so to every piece of audio.

pub mod vad;

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};

use super::frames::{self, answer_each};
use super::service::Service;
use super::web::{Call, Reply, Row, handler, may_open, socket};

/// The route.
pub fn routes() -> Vec<Row> {
    vec![
        Row::socket(
            "pipecat",
            "/v1/voice/{session_id}",
            "v4.4",
            handler(open),
            socket(speak),
        )
        .about("The audio and the frames of a voice session, over a WebSocket."),
    ]
}

async fn open(_svc: Arc<Service>, _call: Call) -> Reply {
    may_open()
}

async fn speak(_svc: Arc<Service>, _call: Call, socket: WebSocket) {
    let answer = |message| match message {
        Message::Text(text) => Some(frames::control(&text)),
        Message::Binary(_) => {
            let message = "no speech provider";
            Some(frames::error(None, "ASR_UNAVAILABLE", message))
        }
        _ => None,
    };
    answer_each(socket, |message| {
        Box::pin(std::future::ready(answer(message)))
    })
    .await;
}
