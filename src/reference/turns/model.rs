//! The call of the model backend.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Failure, Turn};
use crate::reference::backpressure::{Lane, Shed};
use crate::reference::outbound::{Outbound, Sent};
use crate::reference::service::Service;

/// The model's answer to a turn. A first try is not repeated: its client waits and can ask again.
/// A resumed one has nobody who could, and is repeated under the same key for a while.
pub(super) async fn ask(svc: &Service, turn: &Turn) -> Result<Value, Failure> {
    let config = svc.config();
    let detail = &turn.detail;
    let outbound = Outbound {
        url: format!("{}/chat", config.backends.models.url.trim_end_matches('/')),
        operation_id: turn.operation_id.clone(),
        correlation_id: turn.origin.correlation_id.clone(),
        causal_parent: turn.causal_parent.clone(),
        replay_generation: turn.origin.replay_generation,
        on_behalf_of: None,
        body: json!({
            "turn_id": detail.turn_id,
            "session_id": detail.session_id,
            "input_text": detail.input_text,
        }),
        timeout: Duration::from_millis(config.backends.models.timeout_ms),
    };
    // Nobody would hear that a resumed turn is shed.
    let _permit = if turn.resumed {
        None
    } else {
        Some(svc.queue(Lane::Model).called().await.map_err(shed)?)
    };
    let answer = insist(svc, &outbound, turn.resumed).await;
    answer.map_err(|why| unavailable(format!("the model backend did not answer: {why}")))
}

/// What the model answers; why not, when it does not. Only a resumed call is repeated.
pub(in crate::reference) async fn insist(
    svc: &Service,
    outbound: &Outbound,
    resumed: bool,
) -> Result<Value, String> {
    let config = svc.config();
    let retry = Duration::from_millis(config.operations.retry_ms);
    let give_up = Instant::now() + Duration::from_millis(config.operations.give_up_ms);
    let http = svc.toward("models");
    loop {
        let why = match outbound.send(&http, outbound.timeout).await {
            Sent::Answered(200, answer) => return Ok(answer),
            Sent::Answered(status, _) => format!("status {status}"),
            Sent::NotSent(why) | Sent::InDoubt(why) => why,
        };
        if !resumed || Instant::now() + retry >= give_up {
            return Err(why);
        }
        tokio::time::sleep(retry).await;
    }
}

fn shed(shed: Shed) -> Failure {
    Failure {
        code: Shed::CODE,
        message: shed.message(),
    }
}

/// The failure of a turn whose model is of no use.
pub(super) fn unavailable(message: String) -> Failure {
    Failure {
        code: "MODEL_UNAVAILABLE",
        message,
    }
}
