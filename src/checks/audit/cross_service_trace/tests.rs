//! Evidence written by hand: a good one, and a bad twin for everything that the judge knows.

use serde_json::{Value, json};

use super::*;

const ID: &str = "talk-1";

/// Chain, number, seconds, action, and the parent's place in the list.
type Line = (&'static str, i64, u32, &'static str, Option<usize>);

/// What one conversation leaves: openclaw's clock is behind.
const LINES: [Line; 12] = [
    ("api-gateway", 0, 50, "turn.begin", None),
    ("api-gateway", 1, 51, "turn.plan", Some(0)),
    ("openclaw", 0, 1, "tool.execute", Some(1)),
    ("openclaw", 1, 2, "tool.result", Some(2)),
    ("api-gateway", 2, 52, "turn.complete", Some(0)),
    ("api-gateway", 3, 53, "confirmation.approve", None),
    ("openclaw", 2, 3, "tool.execute", Some(5)),
    ("openclaw", 3, 4, "tool.result", Some(6)),
    ("api-gateway", 4, 54, "confirmation.execute", Some(5)),
    ("eva-os", 0, 20, "approval.request", None),
    ("eva-os", 1, 21, "approval.approve", None),
    ("eva-os", 2, 22, "approval.execute", Some(10)),
];

fn resource(action: &str) -> &'static str {
    match action.split('.').next() {
        Some("turn") => "turn/trn_1",
        Some("tool") => "tool/file.write",
        Some("confirmation") => "confirmation/cnf_1",
        _ => "approval/apr_1",
    }
}

fn link(entry: &Value) -> String {
    let text = |field: &str| entry[field].as_str().unwrap();
    format!("{}/{}/{}", text("chain"), entry["seq"], text("hash"))
}

fn entries() -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    for (chain, seq, second, action, parent) in LINES {
        let parent = parent.map(|at| link(&entries[at]));
        entries.push(json!({
            "chain": chain, "seq": seq, "ts": format!("2026-11-22T10:00:{second:02}.000000Z"),
            "service": chain, "actor_id": "op-1", "actor_role": "operator", "via": null,
            "action": action, "resource": resource(action), "outcome": "ok",
            "correlation_id": ID, "request_id": "req_1", "replay_generation": 0,
            "causal_parent": parent, "payload_sha256": "", "prev_hash": "",
            "hash": format!("{chain}-{seq}"),
        }));
    }
    entries
}

fn sent(service: &str, path: &str, answer: Value) -> Sent {
    Sent {
        service: service.into(),
        method: "POST".into(),
        path: path.into(),
        actor: Some("op-1".into()),
        role: Some("operator".into()),
        id: ID.into(),
        body: None,
        invoked_us: 10,
        returned_us: Some(20),
        status: 200,
        answer,
        error: None,
    }
}

/// The order that a trace must have: of what may come next the least by chain and number.
const ORDER: [usize; 12] = [0, 1, 4, 5, 8, 9, 10, 11, 2, 3, 6, 7];

fn good() -> Evidence {
    let entries = entries();
    let mut chains = BTreeMap::<String, Vec<Value>>::new();
    for entry in &entries {
        let chain = entry["chain"].as_str().unwrap().to_owned();
        chains.entry(chain).or_default().push(entry.clone());
    }
    let in_order: Vec<&Value> = ORDER.iter().map(|at| &entries[*at]).collect();
    let trace = json!({
        "ok": true, "trace_id": ID, "entries": in_order, "entry_count": 12,
        "chains": ["api-gateway", "eva-os", "openclaw"], "gaps": [], "correlation_id": "cor_1",
    });
    let call = |at: usize| ToolCall {
        id: ID.into(),
        parent: link(&entries[at]),
    };
    let conversation = Conversation {
        id: ID.into(),
        sent: vec![
            sent("api-gateway", "/v3/turn", json!({"turn_id": "trn_1"})),
            sent(
                "api-gateway",
                "/v3/confirmations/cnf_1/approve",
                json!({"confirmation_id": "cnf_1"}),
            ),
            sent("eva-os", "/gate-tool-call", json!({"approval_id": "apr_1"})),
            sent("eva-os", "/approve", json!({"approval_id": "apr_1"})),
        ],
        calls: vec![call(2), call(6), call(6)],
        traced: Some(sent("api-gateway", "/v3/audit/trace/talk-1", trace)),
    };
    let process = |pid, service: &str| Process {
        services: vec![service.to_owned()],
        pid,
        offset_ms: 0,
    };
    Evidence {
        processes: vec![
            process(1, "api-gateway"),
            process(2, "openclaw"),
            process(3, "eva-os"),
        ],
        conversations: vec![conversation],
        chains,
        trouble: Vec::new(),
    }
}

fn trace(seen: &mut Evidence) -> &mut Value {
    &mut seen.conversations[0].traced.as_mut().unwrap().answer
}

fn shown(seen: &mut Evidence) -> &mut Vec<Value> {
    trace(seen)["entries"].as_array_mut().unwrap()
}

#[test]
fn a_good_one_is_clean_and_counts_what_was_exercised() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    for (what, count) in [
        ("turns", 1),
        ("services", 3),
        ("skewed_clocks", 1),
        ("overlapping_pairs", 0),
    ] {
        assert_eq!(judgement.exercised[what], count, "{what}");
    }
}

type Twin = (&'static str, fn(&mut Evidence));

const TWINS: &[Twin] = &[
    ("404", |seen| {
        *trace(seen) = json!({"ok": false, "error": {"code": "TRACE_NOT_FOUND"}});
        seen.conversations[0].traced.as_mut().unwrap().status = 404;
    }),
    ("without openclaw/3", |seen| drop(shown(seen).pop())),
    ("is there twice", |seen| {
        let last = shown(seen)[11].clone();
        shown(seen).push(last);
    }),
    ("foreign", |seen| {
        let mut foreign = shown(seen)[0].clone();
        foreign["correlation_id"] = json!("talk-10");
        shown(seen).push(foreign);
    }),
    ("is another than exported", |seen| {
        shown(seen)[3]["actor_id"] = json!("op-2");
    }),
    ("is no entry", |seen| shown(seen)[3] = json!({"seq": 3})),
    // By the clock openclaw has run the tool before anybody asked.
    ("stands before api-gateway/1", |seen| {
        shown(seen).sort_by_key(|entry| entry["ts"].as_str().unwrap().to_owned());
    }),
    ("stands before eva-os/1", |seen| shown(seen).swap(6, 7)),
    // A linear extension, and not the one that ties are broken by.
    (
        "the order api-gateway/0, api-gateway/1, openclaw/0",
        |seen| {
            let entries = shown(seen);
            entries[2..9].rotate_right(1);
        },
    ),
    ("of itself", |seen| trace(seen)["entry_count"] = json!(11)),
    ("of itself", |seen| {
        trace(seen)["chains"] = json!(["openclaw"])
    }),
    ("a gap at openclaw/0", |seen| {
        trace(seen)["gaps"] = json!([{
            "chain": "openclaw", "seq": 0, "causal_parent": "x/1/2", "reason": "missing",
        }]);
    }),
    // openclaw goes on under an id of its own, and everybody agrees about that.
    ("goes on under req_9, expected the same id", |seen| {
        for entry in &mut seen.chains.get_mut("openclaw").unwrap()[..2] {
            entry["correlation_id"] = json!("req_9");
        }
        let kept = |entry: &Value| entry["chain"] != "openclaw" || entry["seq"].as_i64() > Some(1);
        shown(seen).retain(kept);
        trace(seen)["entry_count"] = json!(10);
    }),
    ("no entry turn.complete", |seen| {
        let gateway = seen.chains.get_mut("api-gateway").unwrap();
        gateway.retain(|entry| entry["action"] != "turn.complete");
        shown(seen).retain(|entry| entry["action"] != "turn.complete");
    }),
    ("a tool was called under req_9", |seen| {
        seen.conversations[0].calls[0].id = "req_9".into();
    }),
    ("with the parent openclaw/9/none", |seen| {
        seen.conversations[0].calls[0].parent = "openclaw/9/none".into();
    }),
    ("2 tool calls, expected 3", |seen| {
        drop(seen.conversations[0].calls.pop());
    }),
];

#[test]
fn every_bad_twin_is_seen() {
    for (expected, spoil) in TWINS {
        let mut seen = good();
        spoil(&mut seen);
        let violations = judge(&seen).violations;
        let named = violations.iter().any(|text| text.contains(expected));
        assert!(named, "{expected}: {violations:#?}");
    }
}

#[test]
fn clocks_that_agree_with_the_causes_exercise_nothing() {
    let mut seen = good();
    for entry in seen.chains.get_mut("openclaw").unwrap() {
        entry["ts"] = json!("2026-11-22T10:00:59.000000Z");
    }
    let chain = seen.chains["openclaw"].clone();
    for entry in shown(&mut seen) {
        if entry["chain"] == "openclaw" {
            *entry = chain[usize::try_from(entry["seq"].as_i64().unwrap()).unwrap()].clone();
        }
    }
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["skewed_clocks"], 0);
}

#[test]
fn one_process_is_no_matter_of_several_services() {
    let mut seen = good();
    for process in &mut seen.processes {
        process.pid = 1;
    }
    assert_eq!(judge(&seen).exercised["services"], 1);
}

#[test]
fn without_the_chains_nothing_is_said_of_the_traces() {
    let mut seen = good();
    seen.chains.clear();
    seen.trouble.push("no export".into());
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, ["no export"]);
}
