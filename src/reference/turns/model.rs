//! The call of the model backend.

use std::time::Duration;

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
    let answer = insist(svc, &outbound, turn.resumed).await;
    answer.map_err(|why| match why {
        Unanswered::Shed(shed) => Failure {
            code: Shed::CODE,
            message: shed.message(),
        },
        Unanswered::Failed(why) => unavailable(format!("the model backend did not answer: {why}")),
    })
}

/// Why the model has not answered.
pub(in crate::reference) enum Unanswered {
    /// It was not asked: the call was shed.
    Shed(Shed),
    /// What came instead.
    Failed(String),
}

/// What the model answers; why not, when it does not. Only a resumed call is repeated, and waits in
/// its queue anew each time, as the newest: nobody would hear that it is shed.
pub(in crate::reference) async fn insist(
    svc: &Service,
    outbound: &Outbound,
    resumed: bool,
) -> Result<Value, Unanswered> {
    svc.tries(resumed, || once(svc, outbound)).await
}

/// One try, in its turn.
async fn once(svc: &Service, outbound: &Outbound) -> Result<Value, Unanswered> {
    let permit = svc.queue(Lane::Model).await;
    let _permit = permit.map_err(Unanswered::Shed)?;
    match outbound.send(&svc.toward("models"), outbound.timeout).await {
        Sent::Answered(200, answer) => Ok(answer),
        Sent::Answered(status, _) => Err(Unanswered::Failed(format!("status {status}"))),
        Sent::NotSent(why) | Sent::InDoubt(why) => Err(Unanswered::Failed(why)),
    }
}

/// The failure of a turn whose model is of no use.
pub(super) fn unavailable(message: String) -> Failure {
    Failure {
        code: "MODEL_UNAVAILABLE",
        message,
    }
}
