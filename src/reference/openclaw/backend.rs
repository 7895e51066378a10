//! The tool backend: one call an operation, and what its answer means.

use std::time::Duration;

use serde_json::{Value, json};

use crate::reference::config::Config;
use crate::reference::http::Http;
use crate::reference::outbound::Outbound;
use crate::reference::tools::{Outcome, Patience};

/// A backend that refuses the connection so often is down, and has seen nothing of the call.
const CONNECT_TRIES: u32 = 5;

/// A tool call that may run.
#[derive(Debug, Clone)]
pub(super) struct Run<'a> {
    /// Key of the call, the same in every repetition.
    pub operation_id: &'a str,
    /// The tool.
    pub tool_name: &'a str,
    /// Its arguments.
    pub args: &'a Value,
    /// The caller's own bound, if it gave one.
    pub timeout_ms: Option<u64>,
    /// Of the request that caused it.
    pub correlation_id: &'a str,
    /// The committed entry that precedes the call.
    pub causal_parent: &'a str,
    /// 0 for a first run, n for the n-th replay.
    pub replay_generation: i64,
}

/// Runs the tool. After a crash (`resumed`) a backend that does not honour keys is not called again:
/// the first call may have arrived, and nobody can tell.
pub(super) async fn run(http: &Http, config: &Config, run: &Run<'_>, resumed: bool) -> Outcome {
    let tools = &config.backends.tools;
    if resumed && !tools.honours_keys {
        return Outcome::unknown("interrupted, and the backend does not honour keys");
    }
    let timeout_ms = run
        .timeout_ms
        .map_or(tools.timeout_ms, |asked| asked.min(tools.timeout_ms));
    let outbound = Outbound {
        url: format!("{}/run", tools.url.trim_end_matches('/')),
        operation_id: run.operation_id.to_owned(),
        correlation_id: run.correlation_id.to_owned(),
        causal_parent: run.causal_parent.to_owned(),
        replay_generation: run.replay_generation,
        on_behalf_of: None,
        body: json!({
            "operation_id": run.operation_id, "tool_name": run.tool_name, "args": run.args,
        }),
        timeout: Duration::from_millis(timeout_ms),
    };
    let within_ms = if resumed {
        config.operations.give_up_ms
    } else {
        timeout_ms
    };
    let patience = Patience {
        within: Duration::from_millis(within_ms),
        retry: Duration::from_millis(config.operations.retry_ms),
        resumed,
        connect_tries: CONNECT_TRIES,
    };
    outbound
        .insist(http, patience, tools.honours_keys, |status, body| {
            settle(status, body, resumed)
        })
        .await
}

/// What an answer says. While an operation is in doubt a failing backend says nothing about the
/// earlier call, so it is asked again.
fn settle(status: u16, body: &Value, resumed: bool) -> Option<Outcome> {
    if !(200..300).contains(&status) {
        let unsaid = resumed && status >= 500;
        let message = format!("the tool backend answered {status}");
        return (!unsaid).then(|| Outcome::failed("TOOL_FAILED", message));
    }
    Some(match body.get("ok").and_then(Value::as_bool) {
        Some(true) => Outcome::Succeeded {
            result: body.get("result").cloned().unwrap_or(Value::Null),
        },
        Some(false) => {
            let text = |field: &str, default: &str| {
                let said = body
                    .pointer(&format!("/error/{field}"))
                    .and_then(Value::as_str);
                said.unwrap_or(default).to_owned()
            };
            Outcome::Failed {
                code: text("code", "TOOL_FAILED"),
                message: text("message", "the tool failed"),
            }
        }
        None => Outcome::unknown("the tool backend's answer says neither ok nor not"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_the_tool_means_it() {
        let ok = settle(200, &json!({"ok": true, "result": {"bytes": 5}}), false);
        assert_eq!(
            ok,
            Some(Outcome::Succeeded {
                result: json!({"bytes": 5})
            })
        );
        let error =
            json!({"ok": false, "error": {"code": "TOOL_FAILED", "message": "exit code 1"}});
        assert_eq!(
            settle(200, &error, false),
            Some(Outcome::failed("TOOL_FAILED", "exit code 1"))
        );
        let unclear = settle(200, &Value::Null, false).unwrap();
        assert!(matches!(unclear, Outcome::Failed { code, .. } if code == "OUTCOME_UNKNOWN"));
    }

    #[test]
    fn a_failing_backend_decides_a_first_call_and_not_a_resumed_one() {
        assert!(settle(500, &Value::Null, false).is_some());
        assert_eq!(settle(500, &Value::Null, true), None);
        assert!(settle(404, &Value::Null, true).is_some());
    }
}
