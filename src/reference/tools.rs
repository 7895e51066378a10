//! What a tool is to the stack: its risk, its call and what became of it. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reference::config::Config;

/// How much a tool may do without a person. The table is `tools.risk` of the configuration; a tool
/// that is not in it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Runs at once.
    Safe,
    /// Runs once for each approved decision.
    Guarded,
    /// Never runs.
    Blocked,
}

impl Risk {
    /// The name in configuration and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Guarded => "guarded",
            Self::Blocked => "blocked",
        }
    }

    /// The risk of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Safe, Self::Guarded, Self::Blocked]
            .into_iter()
            .find(|risk| risk.name() == name)
    }
}

/// The risk of a tool; nothing for one that does not exist.
pub fn risk(config: &Config, tool_name: &str) -> Option<Risk> {
    config
        .tools
        .risk
        .get(tool_name)
        .and_then(|name| Risk::parse(name))
}

/// What became of a tool call. Both are final: the call is never made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// The tool ran and says so.
    Succeeded {
        /// What the tool answered.
        result: Value,
    },
    /// The tool failed, did not run, or nobody knows (`OUTCOME_UNKNOWN`).
    Failed {
        /// `TOOL_FAILED`, `TOOL_UNAVAILABLE`, `OUTCOME_UNKNOWN`, or the refusal of the gate.
        code: String,
        /// For a person.
        message: String,
    },
}

impl Outcome {
    /// A failure with that code.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed {
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// The call may or may not have had its effect and is not sent again.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::failed("OUTCOME_UNKNOWN", message)
    }

    /// `succeeded` or `failed`.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
        }
    }

    /// The `execution` of a decision's answer.
    pub fn execution(&self, operation_id: &str) -> Value {
        match self {
            Self::Succeeded { result } => json!({
                "operation_id": operation_id, "status": "succeeded", "result": result, "error": null,
            }),
            Self::Failed { code, message } => json!({
                "operation_id": operation_id, "status": "failed", "result": null,
                "error": {"code": code, "message": message},
            }),
        }
    }
}

/// How long and how often a call is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the first try to the last.
    pub within: Duration,
    /// Between two tries.
    pub retry: Duration,
    /// An operation resumed after a crash: an earlier try may have arrived, so even a refused
    /// connection says nothing about the outcome.
    pub resumed: bool,
    /// Tries of a connection that nobody accepts before the call counts as not made.
    pub connect_tries: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_risk_is_read_by_its_name_and_by_no_other() {
        assert_eq!(Risk::parse("guarded"), Some(Risk::Guarded));
        assert_eq!(Risk::parse("Guarded"), None);
        assert_eq!(Risk::parse(""), None);
    }

    #[test]
    fn an_execution_has_a_result_or_an_error_never_both() {
        let done = Outcome::Succeeded {
            result: json!({"bytes": 5}),
        }
        .execution("op_1");
        assert_eq!(
            done,
            json!({"operation_id": "op_1", "status": "succeeded", "result": {"bytes": 5}, "error": null})
        );
        let failed = Outcome::failed("TOOL_FAILED", "exit code 1").execution("op_1");
        assert_eq!(failed["result"], Value::Null);
        assert_eq!(
            failed["error"],
            json!({"code": "TOOL_FAILED", "message": "exit code 1"})
        );
    }
}
