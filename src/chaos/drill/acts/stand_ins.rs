//! What the doubles of a drill answer, and what they have not answered yet.

use serde_json::json;

use super::replays;
use crate::chaos::approvals::guarded_calls;
use crate::chaos::keyed::requests;
use crate::chaos::{Site, envelopes};
use crate::doubles::{Behaviour, Double};

/// What the doubles answer, whoever drives: turns for races, operations under keys, envelopes, and
/// one call that always fails.
pub(in crate::chaos::drill) fn script(site: &Site) {
    site.models.script(|request| {
        let heard = request["input_text"].as_str().unwrap_or_default();
        let word = heard.split([' ', ':']).next().unwrap_or_default();
        match (word, heard[word.len()..].chars().next()) {
            ("read" | "write", Some(' ')) => requests::script(request),
            ("read" | "write" | "say", Some(':')) => envelopes::as_wanted(request),
            _ => guarded_calls(request),
        }
    });
    site.tools.script(|request| {
        let path = request["args"]["path"].as_str().unwrap_or_default();
        match path.starts_with(replays::LOST) {
            true => {
                json!({"ok": false, "error": {"code": "TOOL_FAILED", "message": "exit code 1"}})
            }
            false => json!({"ok": true, "result": {"bytes": 5}}),
        }
    });
    site.models.behave(Behaviour::default());
    site.tools.behave(Behaviour::default());
}

/// Calls that a double has and has not answered.
pub(in crate::chaos::drill) fn in_flight(site: &Site) -> usize {
    let open = |double: &Double| {
        let calls = double.calls();
        calls
            .iter()
            .filter(|call| call.answered_us.is_none())
            .count()
    };
    open(&site.models) + open(&site.tools)
}
