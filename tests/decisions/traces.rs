//! Services in processes of their own, their clocks apart, and what a trace makes of their chains.

use serde_json::{Value, json};
use sonia_gate::reference::{Options, Parts, Running, start};

use crate::samples::check;
use crate::world::{Ask, EVA, GATEWAY, OPENCLAW, World};

fn trace(id: &str) -> Ask {
    Ask::get(GATEWAY, format!("/v3/audit/trace/{id}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_has_the_entries_of_all_chains_and_names_its_gaps() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let calls = json!([{"tool_name": "file.read", "args": {"path": "a"}}]);
    let turn = World::turn(&session, calls);
    world
        .send(turn.header("x-correlation-id", "cor_first"))
        .await;
    let parent = format!("api-gateway/999/{}", "a".repeat(64));
    let body = json!({"tool_name": "file.read", "args": {"path": "a"}});
    let orphan = Ask::post(OPENCLAW, "/execute", body).service();
    let orphan = orphan
        .header("x-correlation-id", "cor_first")
        .header("x-causal-parent", &parent);
    world.send(orphan).await;
    let traced = world.send(trace("cor_first")).await;
    check("audit-trace", &traced);
    let actions: Vec<_> = traced.body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let [begun, ended] = ["tool.execute", "tool.result"];
    let (turn, tool) = (
        ["turn.begin", "turn.plan", "turn.complete", "memory.store"],
        [begun, ended, begun, ended],
    );
    let expected = [&turn[..], &tool].concat();
    assert_eq!(actions, expected);
    assert_eq!(traced.body["gaps"][0]["causal_parent"], parent);
    assert_eq!(traced.body["gaps"][0]["reason"], "missing");
    check(
        "audit-trace-unknown",
        &world.send(trace("cor_nobody")).await,
    );
    let path = world.dir.path().join("data/openclaw.db");
    let sql = rusqlite::Connection::open(path).unwrap();
    sql.execute_batch(
        "DROP TRIGGER audit_log_refuses_update;
         UPDATE audit_log SET actor_id = 'op-9' WHERE seq = 1;",
    )
    .unwrap();
    let broken = world.send(trace("cor_first")).await;
    assert_eq!((broken.status, broken.code()), (409, "CHAIN_BROKEN"));
    assert_eq!(broken.body["error"]["details"]["chain"], OPENCLAW);
}

/// One process of a stack on the world's data directory.
async fn process(world: &World, services: &[&str], offset_ms: i64, openclaw: &Value) -> Running {
    let path = world.dir.path();
    let text = std::fs::read_to_string(path.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["clock"] = json!({"offset_ms": offset_ms});
    config["services"]["openclaw"]["url"] = openclaw.clone();
    let file = path.join(format!("{}.json", services[0]));
    std::fs::write(&file, config.to_string()).unwrap();
    let mut options = Options::new(path.join("stack"), file);
    options.services = services.iter().map(|name| (*name).to_owned()).collect();
    start(options, Parts::default()).await.unwrap()
}

async fn send(running: &Running, service: &str, ask: Ask) -> Value {
    let base = running.listening["services"][service].as_str().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.request(ask.method.parse().unwrap(), format!("{base}{}", ask.path));
    request = request.bearer_auth("key-op-1");
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    if ask.method != "GET" {
        request = request.json(&ask.body);
    }
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn services_in_processes_of_their_own_work_together_whatever_their_clocks_say() {
    let world = World::start(json!({})).await;
    // All at once on an empty directory: one of them imports the identities.
    let (openclaw, others) = tokio::join!(
        process(&world, &[OPENCLAW], -60_000, &Value::Null),
        process(
            &world,
            &["memory-engine", "vision-capture"],
            0,
            &Value::Null
        ),
    );
    let names = |running: &Running, what: &str| {
        let named = running.listening[what].as_object().unwrap();
        named.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        names(&others, "services"),
        ["memory-engine", "vision-capture"]
    );
    let hosted = ["identity", "memory-engine", "vision-capture"];
    assert_eq!(names(&others, "databases"), hosted);
    assert_eq!(names(&openclaw, "chains"), [OPENCLAW]);
    let url = &openclaw.listening["services"][OPENCLAW];
    let (gateway, eva) = tokio::join!(
        process(&world, &[GATEWAY], 60_000, url),
        process(&world, &[EVA], 0, url),
    );
    let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
    let session = send(&gateway, GATEWAY, Ask::post(GATEWAY, "/v3/sessions", body)).await;
    let session = session["session_id"].as_str().unwrap();
    let calls = json!([{"tool_name": "file.read", "args": {"path": "a"}}]);
    let turn = World::turn(session, calls).header("x-correlation-id", "cor_1");
    let turn = send(&gateway, GATEWAY, turn).await;
    assert_eq!(turn["tool_calls"][0]["status"], "executed");
    let body = json!({"tool_name": "file.write", "args": {"path": "a"}});
    let gate = Ask::post(EVA, "/gate-tool-call", body);
    let gated = send(&eva, EVA, gate.header("x-correlation-id", "cor_1")).await;
    let body = json!({"approval_id": gated["approval_id"]});
    let approve = Ask::post(EVA, "/approve", body).header("x-correlation-id", "cor_1");
    let approved = send(&eva, EVA, approve).await;
    assert_eq!(approved["execution"]["status"], "succeeded");
    let status = send(&eva, EVA, Ask::get(EVA, "/status")).await;
    let stages: Vec<_> = status["restore"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| &stage["stage"])
        .collect();
    assert_eq!(stages, ["tasks", "budgets"]);
    let traced = send(&gateway, GATEWAY, trace("cor_1")).await;
    assert_eq!(
        traced["chains"],
        json!([GATEWAY, EVA, "memory-engine", OPENCLAW])
    );
    assert_eq!(traced["gaps"], json!([]));
    let entries = traced["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3 + 3 + 1 + 4, "{traced}");
    let at = |chain: &str| entries.iter().position(|entry| entry["chain"] == chain);
    assert!(at(GATEWAY) < at(OPENCLAW), "causes come first");
    let ts = |entry: &Value| entry["ts"].as_str().unwrap().to_owned();
    assert!(
        ts(&entries[0]) > ts(entries.last().unwrap()),
        "the clocks say otherwise"
    );
    for running in [gateway, eva, openclaw, others] {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_in_processes_of_their_own_shed_by_the_mode_that_the_gateway_is_in() {
    let world = World::start(json!({})).await;
    let (gateway, memory) = tokio::join!(
        process(&world, &[GATEWAY], 0, &Value::Null),
        process(&world, &["memory-engine"], 0, &Value::Null),
    );
    let store = async |priority: &str| {
        let body = json!({"type": "fact", "content": "a", "priority": priority});
        send(
            &memory,
            "memory-engine",
            Ask::post("memory-engine", "/store", body),
        )
        .await
    };
    let stored = store("low").await;
    assert!(stored["id"].is_string(), "{stored}");
    let path = gateway.listening["databases"][GATEWAY].as_str().unwrap();
    let sql = rusqlite::Connection::open(path).unwrap();
    sql.execute(
        "INSERT OR REPLACE INTO slo_state VALUES (1, 'degraded', 3, 0, '[]', 1, 'slow', 1, 1)",
        [],
    )
    .unwrap();
    let shed = store("low").await;
    assert_eq!(shed["error"]["code"], "SHED", "{shed}");
    assert!(store("normal").await["id"].is_string());
    sql.execute(
        "UPDATE slo_state SET mode = 'normal', entered_at_us = NULL, reason = NULL",
        [],
    )
    .unwrap();
    assert!(store("low").await["id"].is_string());
    for running in [gateway, memory] {
        running.stop().await;
    }
}
