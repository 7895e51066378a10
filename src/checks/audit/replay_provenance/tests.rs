//! Evidence written by hand: a good one, and a bad twin for everything that the judge knows.

use serde_json::{Value, json};

use super::*;

const ORIGINAL: &str = "lost-0";
const LETTER: &str = "dlq_1";

fn sent(id: &str, path: &str, status: u16, answer: Value) -> Sent {
    Sent {
        service: "api-gateway".into(),
        method: "POST".into(),
        path: path.into(),
        actor: Some("op-1".into()),
        role: Some("operator".into()),
        id: id.into(),
        body: None,
        invoked_us: 10,
        returned_us: Some(20),
        status,
        answer,
        error: None,
    }
}

fn letter(generation: i64, state: &str) -> Value {
    let error = json!({"code": "TOOL_FAILED", "message": "exit code 1"});
    json!({
        "dead_letter_id": LETTER, "source": "confirmation", "source_id": "cnf_1",
        "session_id": null, "tool_name": "file.write", "args": {"path": "m"},
        "error": if state == "resolved" { Value::Null } else { error },
        "state": state, "replay_generation": generation, "correlation_id": ORIGINAL,
        "operation_id": format!("op_{generation}"),
        "created_at": "2026-11-22T10:00:00.000000Z", "updated_at": "2026-11-22T10:00:00.000000Z",
    })
}

fn path() -> String {
    format!("/v3/dead-letters/{LETTER}/replay")
}

fn answered(generation: i64, works: bool) -> Sent {
    let status = if works { "succeeded" } else { "failed" };
    let state = if works { "resolved" } else { "open" };
    let answer = json!({
        "ok": true, "dry_run": false, "dead_letter": letter(generation, state),
        "execution": {"operation_id": "op", "status": status, "result": null, "error": null},
        "correlation_id": format!("again-{generation}"),
    });
    sent(&format!("again-{generation}"), &path(), 200, answer)
}

fn entry(chain: &str, seq: usize, action: &str, generation: i64) -> Value {
    let own = chain == "api-gateway" && generation > 0;
    let resource = match (chain, generation) {
        ("openclaw", _) => "tool/file.write".to_owned(),
        (_, 0) => "confirmation/cnf_1".to_owned(),
        _ => format!("dead_letter/{LETTER}"),
    };
    json!({
        "chain": chain, "seq": seq, "ts": "2026-11-22T10:00:00.000000Z", "service": chain,
        "actor_id": "op-1", "actor_role": "operator", "via": null, "action": action,
        "resource": resource, "outcome": "ok", "correlation_id": ORIGINAL,
        "request_id": if own { format!("again-{generation}") } else { "req_1".to_owned() },
        "replay_generation": generation, "causal_parent": null, "payload_sha256": "",
        "prev_hash": "", "hash": "",
    })
}

fn chains() -> BTreeMap<String, Vec<Value>> {
    let mut chains = BTreeMap::<String, Vec<Value>>::new();
    for generation in 0..4 {
        let gateway = match generation {
            0 => ["confirmation.approve", "confirmation.execute"],
            _ => ["dead_letter.replay", "dead_letter.execute"],
        };
        for (chain, actions) in [
            ("api-gateway", gateway),
            ("openclaw", ["tool.execute", "tool.result"]),
        ] {
            let entries = chains.entry(chain.to_owned()).or_default();
            for action in actions {
                entries.push(entry(chain, entries.len(), action, generation));
            }
        }
    }
    chains
}

fn call(run: usize, abandoned: bool) -> ToolCall {
    ToolCall {
        key: format!("op_{run}"),
        id: ORIGINAL.to_owned(),
        abandoned,
    }
}

fn state() -> State {
    State {
        tables: BTreeMap::from([("api-gateway audit_log".to_owned(), "d1".to_owned())]),
        calls: 4,
    }
}

fn good() -> Evidence {
    let mut killed = sent("again-3", &path(), 0, Value::Null);
    (killed.returned_us, killed.error) = (None, Some("gone".into()));
    let refusal = json!({"error": {"code": "REPLAY_IN_PROGRESS"}});
    let rounds = vec![
        Round {
            way: Way::Alone,
            works: false,
            sent: vec![answered(1, false)],
            letter: Some(letter(1, "open")),
        },
        Round {
            way: Way::Race,
            works: false,
            sent: vec![answered(2, false), sent("again-9", &path(), 409, refusal)],
            letter: Some(letter(2, "open")),
        },
        Round {
            way: Way::Killed,
            works: true,
            sent: vec![killed],
            letter: Some(letter(3, "resolved")),
        },
    ];
    let would = json!({
        "tool_name": "file.write", "args": {"path": "m"}, "decision": null,
        "replay_generation": 1, "correlation_id": ORIGINAL,
    });
    let rehearsed = json!({
        "ok": true, "dry_run": true, "dead_letter": letter(0, "open"), "would": would,
        "correlation_id": "dry-1",
    });
    let approve = "/v3/confirmations/cnf_1/approve";
    Evidence {
        cases: vec![Case {
            source: "confirmation".into(),
            tool_name: "file.write".into(),
            args: json!({"path": "m"}),
            failed: Some(sent(ORIGINAL, approve, 200, json!({}))),
            letter: Some(letter(0, "open")),
            rounds,
            late: Some(sent("again-4", &path(), 409, json!({}))),
            calls: Some(vec![
                call(0, false),
                call(1, false),
                call(2, false),
                call(3, true),
                call(3, false),
            ]),
        }],
        kills_us: vec![1],
        dry_runs: vec![DryRuns {
            sent: vec![(0, sent("dry-1", &path(), 200, rehearsed))],
            generation: 0,
            before: state(),
            quiet: state(),
            after: state(),
        }],
        chains: chains(),
        trouble: Vec::new(),
    }
}

#[test]
fn a_good_one_is_clean_and_counts_what_was_exercised() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    for (what, count) in [
        ("letters", 1),
        ("replays", 3),
        ("kills", 1),
        ("kills_at_the_tool", 1),
        ("races", 1),
        ("dry_runs", 1),
    ] {
        assert_eq!(judgement.exercised[what], count, "{what}");
    }
}

type Twin = (&'static str, fn(&mut Evidence));

/// Entries of replays in one chain.
fn replays<'a>(seen: &'a mut Evidence, chain: &str) -> impl Iterator<Item = &'a mut Value> {
    let entries = seen.chains.get_mut(chain).unwrap();
    entries
        .iter_mut()
        .filter(|entry| entry["replay_generation"] != 0)
}

const TWINS: &[Twin] = &[
    ("no dead letter after", |seen| seen.cases[0].letter = None),
    ("the first letter is", |seen| {
        seen.cases[0].letter = Some(letter(1, "open"));
    }),
    ("the letter is of", |seen| {
        seen.cases[0].source = "turn".into();
    }),
    // Both racers run.
    ("2 replays ran", |seen| {
        seen.cases[0].rounds[1].sent[1] = answered(2, false);
    }),
    ("expected 1 to run", |seen| {
        seen.cases[0].rounds[1].sent[1].status = 503;
    }),
    ("is no answer of a replay", |seen| {
        seen.cases[0].rounds[0].sent[0].answer = json!({"ok": true});
    }),
    ("replay 1 succeeded, expected failed", |seen| {
        seen.cases[0].rounds[0].sent[0].answer["execution"]["status"] = json!("succeeded");
    }),
    ("replay 2 answers", |seen| {
        seen.cases[0].rounds[1].sent[0] = answered(1, false);
    }),
    // The counter starts again with the process.
    ("after replay 3 over a KILL there is", |seen| {
        seen.cases[0].rounds[2].letter = Some(letter(1, "resolved"));
    }),
    ("after replay 3 over a KILL there is no letter", |seen| {
        seen.cases[0].rounds[2].letter = None;
    }),
    ("after replay 3 over a KILL there is", |seen| {
        seen.cases[0].rounds[2].letter = Some(letter(3, "replaying"));
    }),
    ("after the one that succeeded", |seen| {
        seen.cases[0].late = Some(answered(4, true));
    }),
    ("generations [1, 1, 2]", |seen| {
        for entry in replays(seen, "api-gateway").skip(2) {
            entry["replay_generation"] = json!(entry["replay_generation"].as_i64().unwrap() - 1);
        }
    }),
    ("openclaw has tool.execute in generations []", |seen| {
        replays(seen, "openclaw").for_each(|entry| entry["replay_generation"] = json!(0));
    }),
    ("expected the id of what failed", |seen| {
        replays(seen, "openclaw").for_each(|entry| entry["correlation_id"] = json!("req_9"));
    }),
    ("under the replay's own id", |seen| {
        let entry = replays(seen, "api-gateway").next().unwrap();
        entry["correlation_id"] = json!("again-1");
        entry["replay_generation"] = json!(0);
    }),
    ("no entry of generation 0", |seen| {
        seen.chains.get_mut("api-gateway").unwrap().drain(..2);
    }),
    ("names the request req_7", |seen| {
        replays(seen, "api-gateway").next().unwrap()["request_id"] = json!("req_7");
    }),
    ("5 operations at the tool, expected 4", |seen| {
        seen.cases[0].calls.as_mut().unwrap()[4].key = "op_9".into();
    }),
    ("2 calls in run 1", |seen| {
        seen.cases[0]
            .calls
            .as_mut()
            .unwrap()
            .insert(1, call(1, false));
    }),
    ("run 2 was called under req_9", |seen| {
        seen.cases[0].calls.as_mut().unwrap()[2].id = "req_9".into();
    }),
    ("is changed by a dry run", |seen| {
        let tables = &mut seen.dry_runs[0].after.tables;
        tables.insert("api-gateway audit_log".into(), "d2".into());
    }),
    ("1 calls at the doubles in a dry run", |seen| {
        seen.dry_runs[0].after.calls += 1;
    }),
    ("expected what would be done", |seen| {
        seen.dry_runs[0].sent[0].1.answer = json!({"ok": true});
    }),
    ("a dry run would run", |seen| {
        seen.dry_runs[0].sent[0].1.answer["would"]["replay_generation"] = json!(2);
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
fn what_changes_by_itself_says_nothing_of_a_dry_run() {
    let mut seen = good();
    let tables = &mut seen.dry_runs[0].before.tables;
    tables.insert("api-gateway audit_log".into(), "d0".into());
    seen.dry_runs[0].after.tables.clear();
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["dry_runs"], 0);
}

#[test]
fn nothing_seen_is_undecided_and_exercises_nothing() {
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.violations, [""; 0]);
    assert!(!judgement.undecided.is_empty());
    assert_eq!(judgement.exercised["replays"], 0);
}
