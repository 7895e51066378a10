//! Each sample of the contract about turns, tools and decisions, sent and compared: status, headers,
//! error code, and the type of every field.

use serde_json::{Value, json};

use crate::world::{Answer, Ask, EVA, GATEWAY, OPENCLAW, Open, ROUTES, Route, World};

/// Fields whose inside is the client's.
const FREE: [&str; 4] = ["args", "params", "result", "details"];

fn sample(name: &str) -> Value {
    let file = format!(
        "{}/fixtures/contract/samples/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Same fields, same types; of arrays every element that both have.
fn alike(at: &str, got: &Value, wanted: &Value) {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert_eq!(kind(got), kind(wanted), "{at}: {got}");
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => {
            let keys = |map: &serde_json::Map<String, Value>| {
                let mut keys: Vec<_> = map.keys().cloned().collect();
                keys.sort();
                keys
            };
            assert_eq!(keys(got), keys(wanted), "{at}");
            for (key, value) in got {
                if !FREE.contains(&key.as_str()) {
                    alike(&format!("{at}.{key}"), value, &wanted[key]);
                }
            }
        }
        (Value::Array(got), Value::Array(wanted)) => {
            assert_eq!(got.is_empty(), wanted.is_empty(), "{at}");
            for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                alike(&format!("{at}[{index}]"), got, wanted);
            }
        }
        _ => {}
    }
}

pub(crate) fn check(name: &str, got: &Answer) {
    let wanted = &sample(name)["answer"];
    assert_eq!(json!(got.status), wanted["status"], "{name}: {}", got.body);
    for (header, value) in wanted["headers"].as_object().unwrap() {
        assert_eq!(
            got.headers.get(header).map(|value| value.to_str().unwrap()),
            value.as_str(),
            "{name}: {header}"
        );
    }
    alike(name, &got.body, &wanted["body"]);
    let code = |body: &Value| body["error"]["code"].clone();
    assert_eq!(code(&got.body), code(&wanted["body"]), "{name}");
}

fn request(name: &str) -> Value {
    sample(name)["request"]["body"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_runs_what_is_safe_asks_for_what_is_guarded_and_reports_the_rest() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let calls: Vec<Value> = sample("turn")["answer"]["body"]["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| json!({"tool_name": call["tool_name"], "args": call["args"]}))
        .collect();
    let turn = world.send(World::turn(&session, json!(calls))).await;
    check("turn", &turn);
    let statuses: Vec<_> = (0..4)
        .map(|index| turn.body["tool_calls"][index]["status"].clone())
        .collect();
    let expected = ["executed", "confirmation_required", "blocked", "malformed"];
    assert_eq!(statuses, expected);
    let seen = world.tools.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].body["tool_name"], "file.read");
    let operation = turn.body["tool_calls"][0]["operation_id"].as_str().unwrap();
    assert_eq!(seen[0].key, format!("\"{operation}\""));
    assert_eq!(
        seen[0].correlation_id,
        turn.body["correlation_id"].as_str().unwrap()
    );
    assert!(seen[0].causal_parent.starts_with("openclaw/"));
    let state = world
        .send(Ask::get(GATEWAY, format!("/v3/sessions/{session}")))
        .await;
    assert_eq!(state.body["turn_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_the_limit_are_reported_and_do_not_run() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let calls: Vec<Value> = (0..7)
        .map(|index| json!({"tool_name": "file.read", "args": {"path": index.to_string()}}))
        .collect();
    let turn = world.send(World::turn(&session, json!(calls))).await;
    assert_eq!(turn.status, 200);
    assert_eq!(turn.body["tool_calls"][4]["status"], "executed");
    assert_eq!(turn.body["tool_calls"][5]["status"], "over_limit");
    assert_eq!(world.tools.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_without_its_model_fails_and_a_later_one_succeeds() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    world.models.status(500);
    check(
        "turn-model-down",
        &world.send(World::turn(&session, "hi").key("t-1")).await,
    );
    world.models.status(200);
    // A 503 is not stored: the same request under the same key is a new try.
    let again = world.send(World::turn(&session, "hi").key("t-1")).await;
    assert_eq!((again.status, again.replayed()), (200, false));
    assert_eq!(again.body["assistant_text"], "you said hi");
    assert_eq!(again.body["decision"]["class"], "answer");
    let unknown = world.send(World::turn("ses_000000000000", "hi")).await;
    check("session-unknown", &unknown);
    let types: Vec<Value> = world
        .events()
        .await
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert_eq!(types, ["session.created", "turn.failed", "turn.completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmations_answer_as_their_samples() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let first = world.open(Route::Confirmation, &session, "a.txt").await;
    let pending = format!("/v3/confirmations/pending?session_id={session}");
    let shown = world.send(Ask::get(GATEWAY, &pending)).await;
    check("confirmations-pending", &shown);
    let row = &shown.body["confirmations"][0];
    assert_eq!(row["fence_token"], first.fence);
    assert!(row["remaining_seconds"].as_f64().unwrap() > 100.0);
    let stale = world
        .send(first.ask("approve", Some(first.fence + 9)))
        .await;
    check("fence-stale", &stale);
    let approved = world
        .send(first.ask("approve", Some(first.fence)).key("k-1"))
        .await;
    check("confirmation-approve", &approved);
    let repeated = first
        .ask("approve", Some(first.fence))
        .header("idempotency-key", "\"k-1\"");
    check("key-replayed", &world.send(repeated).await);
    let other = first.ask("approve", Some(first.fence + 1)).key("k-1");
    check("key-reused", &world.send(other).await);
    check(
        "confirmation-decided",
        &world.send(first.ask("deny", None)).await,
    );
    let second = world.open(Route::Confirmation, &session, "b.txt").await;
    let reissued = world.send(second.ask("reissue", None)).await;
    check("confirmation-reissue", &reissued);
    let fence = reissued.body["fence_token"].as_i64().unwrap();
    let deny = second
        .ask("deny", None)
        .header("x-fence-token", fence.to_string());
    check("confirmation-deny", &world.send(deny).await);
    let third = world.open(Route::Confirmation, &session, "none").await;
    let failed = world.send(third.ask("approve", Some(third.fence))).await;
    check("confirmation-approve-tool-failed", &failed);
    let nobody = Open {
        id: "cnf_000000000000".into(),
        ..third
    };
    check(
        "confirmation-unknown",
        &world.send(nobody.ask("approve", None)).await,
    );
    assert_eq!(world.tools.count(), 2);
    let none = world.send(Ask::get(GATEWAY, &pending)).await;
    assert_eq!(none.body["confirmations"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_decision_is_refused_and_can_be_issued_again() {
    let world = World::start(json!({"confirmations": {"ttl_ms": 1}})).await;
    let session = world.session().await;
    for route in ROUTES {
        let open = world.open(route, &session, "a.txt").await;
        let late = crate::world::until("it expires", async || {
            let answer = world.send(open.ask("deny", Some(open.fence + 1))).await;
            (answer.code() != "FENCE_STALE").then_some(answer)
        })
        .await;
        check("confirmation-expired", &late);
        let again = world.send(open.ask("reissue", Some(open.fence))).await;
        assert_eq!(again.status, 200, "{route:?}: {}", again.body);
        assert!(again.body["fence_token"].as_i64().unwrap() > open.fence);
    }
    assert_eq!(world.tools.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_answer_as_their_samples() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let plan = |intent: &str, dry_run: bool| {
        let mut body = request("action-plan");
        (body["intent"], body["session_id"]) = (json!(intent), json!(session));
        body["dry_run"] = json!(dry_run);
        Ask::post(GATEWAY, "/v3/actions/plan", body)
    };
    let planned = world.send(plan("file.write", false)).await;
    check("action-plan", &planned);
    let open = Open {
        route: Route::Action,
        id: planned.body["action"]["action_id"]
            .as_str()
            .unwrap()
            .to_owned(),
        fence: planned.body["action"]["fence_token"].as_i64().unwrap(),
    };
    let one = format!("/v3/actions/{}", open.id);
    check("action-get", &world.send(Ask::get(GATEWAY, &one)).await);
    let all = format!("/v3/actions?session_id={session}");
    check("actions-list", &world.send(Ask::get(GATEWAY, &all)).await);
    let reissued = world.send(open.ask("reissue", None)).await;
    check("action-reissue", &reissued);
    let fence = reissued.body["fence_token"].as_i64();
    check(
        "action-approve",
        &world.send(open.ask("approve", fence)).await,
    );
    let done = world.send(Ask::get(GATEWAY, &one)).await.body["action"].clone();
    assert_eq!(
        (&done["state"], &done["verdict"]),
        (&json!("succeeded"), &json!("approved"))
    );
    assert_eq!(done["execution"]["result"], json!({"bytes": 5}));
    assert_eq!(world.tools.count(), 1);
    let state = async |ask| world.send(ask).await.body["action"]["state"].clone();
    assert_eq!(state(plan("file.write", true)).await, "validated");
    assert_eq!(state(plan("file.read", true)).await, "validated");
    assert_eq!(state(plan("system.shutdown", false)).await, "denied");
    assert_eq!(world.tools.count(), 1);
    assert_eq!(state(plan("file.read", false)).await, "succeeded");
    assert_eq!(world.tools.count(), 2);
    assert_eq!(
        world.send(plan("no.such", false)).await.code(),
        "TOOL_UNKNOWN"
    );
    let moves: Vec<Value> = world
        .events()
        .await
        .iter()
        .filter(|event| event["type"] == "action.state" && event["data"]["action_id"] == open.id)
        .map(|event| event["data"]["to"].clone())
        .collect();
    assert_eq!(moves, ["approved", "executing", "succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn eva_os_answers_as_its_samples() {
    let world = World::start(json!({})).await;
    let gate = |name: &str| Ask::post(EVA, "/gate-tool-call", request(name));
    for name in [
        "gate-tool-call-safe",
        "gate-tool-call-blocked",
        "gate-tool-call",
    ] {
        check(name, &world.send(gate(name)).await);
    }
    let shown = world.send(Ask::get(EVA, "/approvals")).await;
    check("approvals", &shown);
    let row = &shown.body["approvals"][0];
    let open = Open {
        route: Route::Approval,
        id: row["approval_id"].as_str().unwrap().to_owned(),
        fence: row["fence_token"].as_i64().unwrap(),
    };
    let approved = world.send(open.ask("approve", Some(open.fence))).await;
    check("eva-approve", &approved);
    assert_eq!(world.tools.count(), 1);
    let other = world.open(Route::Approval, "", "b.txt").await;
    check("eva-reissue", &world.send(other.ask("reissue", None)).await);
    assert_eq!(
        world.send(other.ask("deny", None)).await.code(),
        "FENCE_STALE"
    );
    let third = world.open(Route::Approval, "", "c.txt").await;
    check("eva-deny", &world.send(third.ask("deny", None)).await);
    let nobody = Ask::post(EVA, "/approve", json!({"approval_id": "apr_000000000000"}));
    assert_eq!(world.send(nobody).await.code(), "APPROVAL_NOT_FOUND");
    let nameless = Ask::post(EVA, "/approve", json!({}));
    assert_eq!(world.send(nameless).await.status, 422);
    assert_eq!(world.tools.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn openclaw_answers_as_its_samples() {
    let world = World::start(json!({})).await;
    let execute = |name: &str| Ask::post(OPENCLAW, "/execute", request(name));
    for name in [
        "execute",
        "execute-tool-failed",
        "execute-undecided",
        "execute-forged",
        "execute-blocked",
        "execute-unknown",
    ] {
        check(name, &world.send(execute(name)).await);
    }
    assert_eq!(world.tools.count(), 2);
    let session = world.session().await;
    let open = world.open(Route::Confirmation, &session, "a.txt").await;
    let mut body = request("execute-guarded");
    body["decision"] = json!({"issuer": GATEWAY, "id": open.id, "fence_token": open.fence});
    let direct = Ask::post(OPENCLAW, "/execute", body.clone());
    // Not decided yet, and afterwards used up: neither an operator nor a service gets it to run.
    for ask in [direct.clone(), direct.clone().service()] {
        assert_eq!(world.send(ask).await.code(), "DECISION_INVALID");
    }
    let approved = world.send(open.ask("approve", Some(open.fence))).await;
    for ask in [direct.clone(), direct.clone().service()] {
        check("execute-consumed", &world.send(ask).await);
    }
    assert_eq!(world.tools.count(), 3);
    // The operation that ran is known by its id for ever, and answers as it did.
    let operation = approved.body["execution"]["operation_id"].as_str().unwrap();
    let repeated = direct
        .service()
        .header("idempotency-key", format!("\"{operation}\""));
    let answer = world.send(repeated).await;
    check("execute-guarded", &answer);
    assert!(answer.replayed());
    assert_eq!(world.tools.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_backend_that_is_down_is_said_to_be_and_has_seen_nothing() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let world = World::start(json!({"backends": {"tools": {"url": url}}})).await;
    let body = json!({"tool_name": "file.read", "args": {}});
    let answer = world.send(Ask::post(OPENCLAW, "/execute", body)).await;
    assert_eq!((answer.status, answer.code()), (503, "TOOL_UNAVAILABLE"));
    let session = world.session().await;
    let open = world.open(Route::Confirmation, &session, "a.txt").await;
    let approved = world.send(open.ask("approve", None)).await;
    assert_eq!(approved.status, 200);
    assert_eq!(
        approved.body["execution"]["error"]["code"],
        "TOOL_UNAVAILABLE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_file_is_not_there_ends_failed_whatever_its_tool_says() {
    let world = World::start(json!({"tools": {"verify": {"file.write": "file"}}})).await;
    let session = world.session().await;
    for (path, wanted) in [("nowhere/a.txt", "failed"), ("/proc/self/stat", "failed")] {
        let open = world.open(Route::Action, &session, path).await;
        let approved = world.send(open.ask("approve", Some(open.fence))).await;
        check("action-approve-unverified", &approved);
        assert_eq!(approved.body["state"], wanted);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    std::fs::write(&path, "hello").unwrap();
    let open = world
        .open(Route::Action, &session, path.to_str().unwrap())
        .await;
    let approved = world.send(open.ask("approve", Some(open.fence))).await;
    check("action-approve", &approved);
    assert_eq!(world.tools.count(), 3);
}
