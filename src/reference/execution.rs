//! Running a tool from inside the stack: every call goes to openclaw, which alone talks to the tool
//! backend. The caller has committed the operation before it comes here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::reference::audit::Origin;
use crate::reference::backpressure::Shed;
use crate::reference::config::Config;
use crate::reference::decisions::Decision;
use crate::reference::operations::Operation;
use crate::reference::outbound::{OnBehalfOf, Outbound};
use crate::reference::service::Service;
use crate::reference::tools::{Outcome, Patience};
use crate::reference::verify::Claim;

/// openclaw gives up first, so that its verdict reaches us.
const MARGIN: Duration = Duration::from_secs(5);

/// A safe call is given up when nobody accepts the connection so often.
const CONNECT_TRIES: u32 = 5;

/// A tool call of the stack, its operation committed.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The operation: key of the call.
    pub operation_id: String,
    /// The tool.
    pub tool_name: String,
    /// Its arguments.
    pub args: Value,
    /// `(id, fence)` of the decision that lets a guarded tool run.
    pub decision: Option<(String, i64)>,
    /// Who caused it.
    pub origin: Origin,
    /// The committed entry that precedes the call.
    pub causal_parent: String,
}

impl Execution {
    /// The call that an approved decision lets run, under an operation of its issuer.
    pub fn of_decision(
        decision: &Decision,
        operation_id: String,
        origin: Origin,
        causal_parent: String,
    ) -> Self {
        Self {
            operation_id,
            tool_name: decision.tool_name.clone(),
            args: decision.args.clone(),
            decision: Some((decision.id.clone(), decision.fence)),
            origin,
            causal_parent,
        }
    }

    /// The call of a stored operation whose detail is `{tool_name, args}`.
    pub fn of(operation: &Operation) -> Self {
        let detail = &operation.detail;
        Self {
            operation_id: operation.id.clone(),
            tool_name: detail["tool_name"].as_str().unwrap_or_default().to_owned(),
            args: detail["args"].clone(),
            decision: operation.decision_id.clone().zip(operation.fence_token),
            origin: operation.origin.clone(),
            causal_parent: operation.link.clone().unwrap_or_default(),
        }
    }
}

/// Has openclaw run the call; exactly once per operation id, however often this is called.
pub async fn execute(svc: &Service, execution: &Execution, resumed: bool) -> Outcome {
    let config = svc.config();
    let mut body = json!({"tool_name": execution.tool_name, "args": execution.args});
    if let Some((id, fence_token)) = &execution.decision {
        body["decision"] = json!({"issuer": svc.name, "id": id, "fence_token": fence_token});
    }
    let bound = Duration::from_millis(config.backends.tools.timeout_ms) + MARGIN;
    let within = if resumed {
        Duration::from_millis(config.operations.give_up_ms)
    } else {
        bound
    };
    let origin = &execution.origin;
    let outbound = Outbound {
        url: format!("{}/execute", svc.peer("openclaw")),
        operation_id: execution.operation_id.clone(),
        correlation_id: origin.correlation_id.clone(),
        causal_parent: execution.causal_parent.clone(),
        replay_generation: origin.replay_generation,
        on_behalf_of: Some(OnBehalfOf {
            service_token: svc.shared.identity.service_token().to_owned(),
            actor: format!("{};{}", origin.actor_id, origin.actor_role),
        }),
        body,
        timeout: bound,
    };
    let retry = Duration::from_millis(config.operations.retry_ms);
    // A person's decision outlives a restart of openclaw; a safe tool can be asked for again.
    let connect_tries = if execution.decision.is_some() {
        u32::MAX
    } else {
        CONNECT_TRIES
    };
    let patience = Patience {
        within,
        retry,
        resumed,
        connect_tries,
    };
    let again = resumed || execution.decision.is_some();
    let settle = |status, body: &Value| settle(status, body, again);
    match outbound.insist(&svc.http, patience, true, settle).await {
        Outcome::Succeeded { result } => looked(svc, &config, execution, result).await,
        failed => failed,
    }
}

/// A success that is one: what the tool says it did is looked at.
async fn looked(
    svc: &Service,
    config: &Arc<Config>,
    execution: &Execution,
    result: Value,
) -> Outcome {
    let (verify, config) = (svc.parts.verify.clone(), config.clone());
    let (tool_name, args) = (execution.tool_name.clone(), execution.args.clone());
    let look = move || {
        let claim = Claim {
            tool_name: &tool_name,
            args: &args,
            result: &result,
        };
        match verify.look(&config, claim) {
            Ok(()) => Outcome::Succeeded { result },
            Err(why) => Outcome::failed("VERIFICATION_FAILED", why),
        }
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|error| Outcome::failed("VERIFICATION_FAILED", error.to_string()))
}

/// What openclaw's answer says of the call; `None` while it says nothing final. That it was shed is
/// final for who can ask again: not for what was decided by a person, nor (`again`) for what is
/// resumed.
fn settle(status: u16, body: &Value, again: bool) -> Option<Outcome> {
    let text = |field: &str| {
        body.pointer(&format!("/error/{field}"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let code = text("code").unwrap_or_else(|| format!("STATUS_{status}"));
    let retryable = body
        .pointer("/error/retryable")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    match (status, code.as_str()) {
        (200, _) => Some(Outcome::Succeeded {
            result: body.get("result").cloned().unwrap_or(Value::Null),
        }),
        // The call is running, or openclaw could not keep its books just now: asking again with the
        // same operation id is safe and brings the outcome.
        (409, "KEY_IN_PROGRESS") | (429, _) => None,
        (503, Shed::CODE) if !again => {
            let message = text("message").unwrap_or_default();
            Some(Outcome::Failed { code, message })
        }
        (503, code) if code != "TOOL_UNAVAILABLE" && retryable => None,
        _ => {
            let message = text("message").unwrap_or_else(|| format!("openclaw answered {status}"));
            Some(Outcome::Failed { code, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Value {
        json!({"ok": false, "error": {"code": code, "message": "m", "retryable": true}})
    }

    #[test]
    fn a_final_answer_is_an_outcome() {
        let result = json!({"ok": true, "result": {"bytes": 5}});
        assert_eq!(
            settle(200, &result, false),
            Some(Outcome::Succeeded {
                result: json!({"bytes": 5})
            })
        );
        for (status, code) in [
            (502, "TOOL_FAILED"),
            (502, "OUTCOME_UNKNOWN"),
            (503, "TOOL_UNAVAILABLE"),
            (403, "DECISION_INVALID"),
            (409, "DECISION_CONSUMED"),
        ] {
            assert_eq!(
                settle(status, &error(code), false),
                Some(Outcome::failed(code, "m")),
                "{code}"
            );
        }
    }

    #[test]
    fn a_broken_audit_chain_ends_the_call() {
        let error = json!({"ok": false, "error":
            {"code": "AUDIT_BROKEN", "message": "m", "retryable": false}});
        assert_eq!(
            settle(503, &error, false),
            Some(Outcome::failed("AUDIT_BROKEN", "m"))
        );
    }

    #[test]
    fn an_answer_that_is_not_final_is_asked_again() {
        for (status, code) in [
            (409, "KEY_IN_PROGRESS"),
            (503, "STORE_UNAVAILABLE"),
            (503, "STARTING"),
            (429, "X"),
        ] {
            assert_eq!(settle(status, &error(code), false), None, "{code}");
        }
    }
}
