//! What the model asked for, sorted by risk. Pure: no id is made here and nothing runs.

use serde_json::{Value, json};

use crate::reference::digest::canonical_sha256;
use crate::reference::tools::Risk;

/// The model's answer as far as a turn understands it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::reference) struct ModelAnswer {
    /// What is said to the user.
    pub text: String,
    /// The tool calls in the model's order, at most the configured number of them sorted.
    pub proposals: Vec<Proposal>,
}

/// One tool call of a model's answer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::reference) enum Proposal {
    /// A safe tool: runs once, at once.
    Run(ToolCall),
    /// A guarded tool: a confirmation is minted, nothing runs.
    Confirm(ToolCall),
    /// Reported in the turn's answer as it stands here; nothing runs.
    Report(Value),
}

/// A tool's name and arguments, both well formed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::reference) struct ToolCall {
    /// A name of the risk table.
    pub tool_name: String,
    /// A JSON object.
    pub args: Value,
}

/// Reads a model's answer. The error says what a model may not answer.
pub(in crate::reference) fn read(
    answer: &Value,
    risk: impl Fn(&str) -> Option<Risk>,
    max_tool_calls: usize,
) -> Result<ModelAnswer, String> {
    let text = answer
        .get("text")
        .and_then(Value::as_str)
        .ok_or("its answer has no text")?
        .to_owned();
    let calls: &[Value] = match answer.get("tool_calls") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(calls)) => calls,
        Some(other) => std::slice::from_ref(other),
    };
    // The limit is on calls asked for, not on calls that run: a model must not get more tries by
    // sending malformed ones first.
    let proposals = calls
        .iter()
        .enumerate()
        .map(|(index, call)| sort(call, &risk, index < max_tool_calls))
        .collect();
    Ok(ModelAnswer { text, proposals })
}

fn sort(call: &Value, risk: &impl Fn(&str) -> Option<Risk>, within: bool) -> Proposal {
    let entry = |status: &str| {
        json!({
            "tool_name": call.get("tool_name").filter(|name| name.is_string()),
            "args": call.get("args").filter(|args| args.is_object()),
            "status": status,
        })
    };
    let malformed = |code: &str, message: String| {
        let mut entry = entry("malformed");
        entry["error"] = json!({"code": code, "message": message});
        Proposal::Report(entry)
    };
    if !within {
        return Proposal::Report(entry("over_limit"));
    }
    if !call.is_object() {
        return malformed("TOOL_CALL_MALFORMED", "expected an object".into());
    }
    let Some(tool_name) = call.get("tool_name").and_then(Value::as_str) else {
        return malformed("TOOL_CALL_MALFORMED", "tool_name: expected a string".into());
    };
    let args = match call.get("args") {
        None => json!({}),
        Some(args) if args.is_object() => args.clone(),
        Some(_) => return malformed("TOOL_CALL_MALFORMED", "args: expected an object".into()),
    };
    let call = ToolCall {
        tool_name: tool_name.to_owned(),
        args,
    };
    match risk(tool_name) {
        Some(Risk::Safe) => Proposal::Run(call),
        Some(Risk::Guarded) => Proposal::Confirm(call),
        Some(Risk::Blocked) => Proposal::Report(entry("blocked")),
        None => malformed("TOOL_UNKNOWN", format!("no tool {tool_name}")),
    }
}

/// `{class, hash}` of a turn: a function of what was asked and what is done about it, so that the
/// same envelope gives the same value whenever and wherever it is replayed.
pub(super) fn decision(input_text: &str, envelope: &Value, proposals: &[Proposal]) -> Value {
    let steps: Vec<Value> = proposals
        .iter()
        .map(|proposal| match proposal {
            Proposal::Run(call) => json!(["run", call.tool_name, call.args]),
            Proposal::Confirm(call) => json!(["confirm", call.tool_name, call.args]),
            Proposal::Report(entry) => json!(["report", entry]),
        })
        .collect();
    let class = if steps.is_empty() { "answer" } else { "tool" };
    let hashed = json!({"input_text": input_text, "envelope": envelope, "steps": steps});
    json!({"class": class, "hash": canonical_sha256(&hashed)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risk(tool: &str) -> Option<Risk> {
        match tool {
            "file.read" => Some(Risk::Safe),
            "file.write" => Some(Risk::Guarded),
            "system.shutdown" => Some(Risk::Blocked),
            _ => None,
        }
    }

    fn status(proposal: &Proposal) -> &str {
        match proposal {
            Proposal::Run(_) => "run",
            Proposal::Confirm(_) => "confirm",
            Proposal::Report(entry) => entry["status"].as_str().unwrap(),
        }
    }

    #[test]
    fn each_call_is_sorted_by_its_risk_and_the_sixth_is_over_the_limit() {
        let answer = json!({"text": "ok", "tool_calls": [
            {"tool_name": "file.read", "args": {"path": "a"}},
            {"tool_name": "file.write", "args": {"path": "a"}},
            {"tool_name": "system.shutdown", "args": {}},
            {"tool_name": 7},
            "not a call",
            {"tool_name": "file.read", "args": {"path": "b"}},
            {"tool_name": "file.read", "args": {"path": "c"}},
        ]});
        let read = read(&answer, risk, 5).unwrap();
        let statuses: Vec<_> = read.proposals.iter().map(status).collect();
        let expected = [
            "run",
            "confirm",
            "blocked",
            "malformed",
            "malformed",
            "over_limit",
            "over_limit",
        ];
        assert_eq!(statuses, expected);
        assert_eq!(
            read.proposals[3],
            Proposal::Report(
                json!({"tool_name": null, "args": null, "status": "malformed",
                "error": {"code": "TOOL_CALL_MALFORMED", "message": "tool_name: expected a string"}})
            )
        );
    }

    #[test]
    fn an_unknown_tool_is_reported_and_never_runs() {
        let answer = json!({"text": "", "tool_calls": [{"tool_name": "no.such", "args": {}}]});
        let read = read(&answer, risk, 5).unwrap();
        let Proposal::Report(entry) = &read.proposals[0] else {
            panic!("{read:?}")
        };
        assert_eq!(entry["error"]["code"], "TOOL_UNKNOWN");
    }

    #[test]
    fn an_answer_without_text_is_refused_and_one_without_calls_is_not() {
        assert!(read(&json!({"tool_calls": []}), risk, 5).is_err());
        assert!(read(&json!([1]), risk, 5).is_err());
        assert_eq!(read(&json!({"text": "hi"}), risk, 5).unwrap().proposals, []);
    }

    #[test]
    fn the_decision_ignores_the_order_of_keys_and_sees_every_difference() {
        let call = |path: &str| {
            vec![Proposal::Run(ToolCall {
                tool_name: "file.read".into(),
                args: json!({"path": path}),
            })]
        };
        let one: Value = serde_json::from_str(r#"{"a":1,"b":2}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
        let base = decision("hi", &one, &call("a"));
        assert_eq!(base, decision("hi", &two, &call("a")));
        assert_eq!(base["class"], "tool");
        assert_ne!(base["hash"], decision("ho", &one, &call("a"))["hash"]);
        assert_ne!(base["hash"], decision("hi", &json!({}), &call("a"))["hash"]);
        assert_ne!(base["hash"], decision("hi", &one, &call("b"))["hash"]);
        assert_eq!(decision("hi", &one, &[])["class"], "answer");
    }
}
