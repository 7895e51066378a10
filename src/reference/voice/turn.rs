//! How what was understood becomes a turn: at the gateway, for whoever opened the socket.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Unavailable;
use crate::reference::ids;
use crate::reference::outbound::{OnBehalfOf, Outbound, Sent};
use crate::reference::service::Service;
use crate::reference::web::Actor;

/// What somebody said.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// What its frames carry as `turn_id`.
    pub id: Option<String>,
    /// In words.
    pub text: String,
    /// Whether it was typed.
    pub typed: bool,
    /// Whose session.
    pub session_id: String,
    /// Of the socket.
    pub correlation_id: String,
    /// Who opened the socket.
    pub actor: Actor,
}

/// How what was understood becomes a turn.
pub trait Turns: Send + Sync {
    /// The payload of `response.final`; it has an `assistant_text`.
    fn take<'a>(
        &'a self,
        svc: &'a Service,
        utterance: &'a Utterance,
    ) -> BoxFuture<'a, Result<Value, Unavailable>>;
}

/// The gateway takes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtGateway;

impl Turns for AtGateway {
    fn take<'a>(
        &'a self,
        svc: &'a Service,
        utterance: &'a Utterance,
    ) -> BoxFuture<'a, Result<Value, Unavailable>> {
        Box::pin(ask(svc, utterance))
    }
}

async fn ask(svc: &Service, utterance: &Utterance) -> Result<Value, Unavailable> {
    let actor = &utterance.actor;
    let timeout = Duration::from_millis(svc.config().voice.turn_timeout_ms);
    let outbound = Outbound {
        url: format!("{}/v3/turn", svc.peer("api-gateway").trim_end_matches('/')),
        operation_id: ids::make("op_"),
        correlation_id: utterance.correlation_id.clone(),
        // Nothing was decided here.
        causal_parent: String::new(),
        replay_generation: 0,
        on_behalf_of: Some(OnBehalfOf {
            service_token: svc.shared.identity.service_token().to_owned(),
            actor: format!("{};{}", actor.id, actor.role),
        }),
        body: json!({"session_id": utterance.session_id, "input_text": utterance.text}),
        timeout,
    };
    match outbound.send(&svc.http, timeout).await {
        Sent::Answered(200, turn) => response(&turn),
        Sent::Answered(status, answer) => {
            let code = answer["error"]["code"].as_str().unwrap_or("no code");
            Err(Unavailable(format!("the gateway answered {status} {code}")))
        }
        Sent::NotSent(why) | Sent::InDoubt(why) => {
            Err(Unavailable(format!("the gateway did not answer: {why}")))
        }
    }
}

fn response(turn: &Value) -> Result<Value, Unavailable> {
    if !turn["assistant_text"].is_string() {
        return Err(Unavailable("the turn has no assistant_text".to_owned()));
    }
    Ok(json!({
        "assistant_text": turn["assistant_text"],
        "turn_id": turn["turn_id"],
        "session_id": turn["session_id"],
        "tool_calls": turn["tool_calls"],
        "correlation_id": turn["correlation_id"],
    }))
}
