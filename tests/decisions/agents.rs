//! model-router, tool-service and orchestrator: whom they ask, whom they answer, and what they say
//! when nobody answers them.

use serde_json::{Value, json};

use crate::samples::check;
use crate::world::{Ask, EVA, World};

const AGENT: &str = "orchestrator";
const MEMORY: &str = "memory-engine";
const ROUTER: &str = "model-router";
const RUNNER: &str = "tool-service";

fn call(tool: &str, path: &str) -> Value {
    json!({"tool_name": tool, "args": {"path": path}})
}

fn goal(calls: &[Value]) -> Value {
    json!({"goal": json!(calls).to_string()})
}

fn run() -> Value {
    json!({
        "operation_id": "op_0f3e5d7c9b1a", "tool_name": "file.read", "args": {"path": "a.txt"},
        "timeout_ms": 5000,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_has_every_call_judged_by_openclaw_and_remembers_at_the_memory_engine() {
    let world = World::start(json!({})).await;
    let calls = [
        call("file.read", "a.txt"),
        call("file.write", "a.txt"),
        call("system.shutdown", "none"),
        json!(7),
    ];
    let acted = world
        .send(Ask::post(AGENT, "/agent/act", goal(&calls)))
        .await;
    check("agent-act", &acted);
    let ran = world.tools.seen();
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0].body["args"]["path"], "a.txt");
    let entries = &acted.body["tool_calls"];
    assert_eq!(ran[0].key, entries[0]["operation_id"].to_string());
    assert!(ran[0].causal_parent.starts_with("openclaw/"));
    let id = acted.body["memory"]["memory_id"].as_str().unwrap();
    let memory = world.send(Ask::get(MEMORY, format!("/recall/{id}"))).await;
    assert_eq!(memory.body["content"], goal(&calls)["goal"]);
    let approve = json!({
        "approval_id": entries[1]["approval_id"], "fence_token": entries[1]["fence_token"],
    });
    let approved = world.send(Ask::post(EVA, "/approve", approve)).await;
    assert_eq!(approved.body["execution"]["status"], "succeeded");
    assert_eq!(world.tools.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_remember_does_nothing_and_says_so() {
    let world = World::start(json!({"services": {MEMORY: {"url": "http://127.0.0.1:1"}}})).await;
    let calls = [call("file.read", "a.txt")];
    let acted = world
        .send(Ask::post(AGENT, "/agent/act", goal(&calls)))
        .await;
    check("agent-act-memory-down", &acted);
    assert!(world.models.seen().is_empty());
    assert!(world.tools.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_service_hands_on_for_services_only_and_says_what_became_of_it() {
    let world = World::start(json!({})).await;
    let ask = Ask::post(RUNNER, "/run", run());
    let person = world.send(ask.clone()).await;
    check("tool-run-person", &person);
    assert!(world.tools.seen().is_empty());
    check("tool-run", &world.send(ask.clone().service()).await);
    let seen = world.tools.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].key, "\"op_0f3e5d7c9b1a\"");
    let observer = ask
        .clone()
        .service()
        .header("x-on-behalf-of", "ob-1;observer");
    assert_eq!(world.send(observer).await.status, 403);
    world.tools.hold();
    let body = json!({"timeout_ms": 20, "operation_id": "op_1", "tool_name": "file.read"});
    let unknown = world.send(Ask::post(RUNNER, "/run", body).service()).await;
    check("tool-run-unknown", &unknown);
    let nobody = json!({"backends": {"tools": {"url": "http://127.0.0.1:1"}}});
    let world = World::start(nobody).await;
    check("tool-run-down", &world.send(ask.service()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_router_asks_the_model_once_and_hands_its_answer_on() {
    let world = World::start(json!({})).await;
    let text = json!([call("file.read", "a.txt")]).to_string();
    let chat = Ask::post(ROUTER, "/chat", json!({"input_text": text}));
    check("chat", &world.send(chat.clone()).await);
    assert_eq!(world.models.seen().len(), 1);
    assert!(world.tools.seen().is_empty());
    check(
        "select",
        &world
            .send(Ask::post(ROUTER, "/select", json!({"task": "chat"})))
            .await,
    );
    check(
        "providers",
        &world.send(Ask::get(ROUTER, "/providers")).await,
    );
    let nobody = json!({"backends": {"models": {"url": "http://127.0.0.1:1"}}});
    let world = World::start(nobody).await;
    check("chat-model-down", &world.send(chat).await);
}
