//! `WS /v3/stream/{session_id}`: the socket of a session. It says that it is there; turns on it are
//! not served yet.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};

use super::frames::{self, answer_each};
use super::service::Service;
use super::sessions;
use super::web::{Call, Refusal, Reply, Row, Twin, handler, may_open, socket};

/// The route.
pub fn routes() -> Vec<Row> {
    vec![
        Row::socket(
            "api-gateway",
            "/v3/stream/{session_id}",
            "v4.3",
            handler(open),
            socket(speak),
        )
        .about("The frames of a session, over a WebSocket.")
        .twin(Twin::Deprecated),
    ]
}

/// A stream belongs to an active session.
async fn open(svc: Arc<Service>, call: Call) -> Reply {
    let (id, now) = (call.param("session_id").to_owned(), svc.now());
    let idle_ms = svc.config().sessions.idle_ms;
    let found = svc
        .store
        .read(move |conn| sessions::active(conn, &id, now, idle_ms));
    match found.await {
        Ok(Some(_)) => may_open(),
        Ok(None) => sessions::unknown(call.param("session_id")).reply(&call.correlation_id),
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

async fn speak(_svc: Arc<Service>, _call: Call, socket: WebSocket) {
    let answer = |message| match message {
        Message::Text(text) => Some(frames::control(&text)),
        Message::Binary(_) => Some(frames::control("")),
        _ => None,
    };
    answer_each(socket, |message| {
        Box::pin(std::future::ready(answer(message)))
    })
    .await;
}
