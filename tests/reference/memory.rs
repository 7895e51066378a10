//! Memories, the index and proposals against their samples, and what only a run can tell: that the
//! index follows the ledger over stops, changes and losses.

use serde_json::{Value, json};

use crate::world::{Answer, Who, World};

const MEMORY: &str = "memory-engine";

async fn send(world: &World, line: (&str, &str), body: Value) -> Answer {
    world.send(Who::Op1, MEMORY, line, &[], Some(&body)).await
}

async fn store(world: &World, content: &str) -> String {
    let body = json!({"type": "fact", "content": content});
    let stored = send(world, ("POST", "/store"), body).await;
    stored.body["id"].as_str().unwrap().to_owned()
}

async fn found(world: &World, query: &str) -> Vec<String> {
    let answer = send(world, ("POST", "/search"), json!({"query": query})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = answer.body["results"].as_array().unwrap();
    let id = |result: &Value| result["id"].as_str().unwrap().to_owned();
    results.iter().map(id).collect()
}

async fn index(world: &World) -> Value {
    let line = ("GET", "/v1/index");
    world
        .send(Who::Observer, MEMORY, line, &[], None)
        .await
        .body
}

#[tokio::test]
async fn a_life_of_a_memory_is_as_the_samples_tell() {
    let world = World::start(json!({})).await;
    let id = store(&world, "tea at four").await;
    let put = [("mem_5511aa22bb33", id.as_str())];
    world.like(Who::Observer, "memory-search", &[]).await;
    world.like(Who::Observer, "memory-index", &[]).await;
    world.like(Who::Op1, "memory-update", &put).await;
    assert_eq!(found(&world, "five").await, std::slice::from_ref(&id));
    assert_eq!(index(&world).await["vectors"], 1);
    world.like(Who::Op1, "memory-delete", &put).await;
    world.like(Who::Observer, "memory-unknown", &[]).await;
    assert_eq!(found(&world, "five").await, [""; 0]);
    assert_eq!(index(&world).await["vectors"], 0);
}

#[tokio::test]
async fn proposals_answer_as_their_samples_and_are_written_once() {
    let world = World::start(json!({})).await;
    world.like(Who::Op1, "proposal-create-auto", &[]).await;
    assert_eq!(world.count(MEMORY, "memories"), 1);
    let made = world.like(Who::Op1, "proposal-create", &[]).await;
    let id = made.body["proposal_id"].as_str().unwrap().to_owned();
    let put = [("prp_0a1b2c3d4e5f", id.as_str())];
    world.like(Who::Observer, "proposals", &[]).await;
    assert_eq!(world.count(MEMORY, "memories"), 1);
    world.like(Who::Op1, "proposal-approve", &put).await;
    world.like(Who::Op1, "proposal-decided", &put).await;
    world.like(Who::Op1, "proposal-unknown", &[]).await;
    assert_eq!(world.count(MEMORY, "memories"), 2);
    assert_eq!(index(&world).await["vectors"], 2);
    let made = world.like(Who::Op1, "proposal-create", &[]).await;
    let id = made.body["proposal_id"].as_str().unwrap().to_owned();
    let put = [("prp_0a1b2c3d4e5f", id.as_str())];
    world.like(Who::Op1, "proposal-reject", &put).await;
    assert_eq!(world.count(MEMORY, "memories"), 2);
}

#[tokio::test]
async fn the_index_is_loaded_rebuilt_and_brought_up_to_the_ledger() {
    let mut world = World::start(json!({"memory": {"repair_interval_ms": 20}})).await;
    for content in ["tea at four", "coffee at five", "nothing at six"] {
        store(&world, content).await;
    }
    let before = found(&world, "tea at").await;
    world.reboot().await;
    let loaded = index(&world).await;
    assert_eq!(
        (&loaded["loaded"], &loaded["vectors"]),
        (&json!("verified"), &json!(3))
    );
    assert_eq!(found(&world, "tea at").await, before);
    world.stop().await;
    let file = world.path().join("data/memory-engine.index");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    world.boot().await;
    world.like(Who::Observer, "memory-index-rebuilt", &[]).await;
    assert_eq!(found(&world, "tea at").await, before);
    // A vector that is lost comes back.
    world.stop().await;
    let lost = "DELETE FROM vectors WHERE memory_id = (SELECT id FROM memories WHERE seq = 2)";
    assert_eq!(world.database(MEMORY).execute(lost, []).unwrap(), 1);
    world.boot().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while index(&world).await["state"] != "ready" {
        assert!(std::time::Instant::now() < deadline, "no repair");
        tokio::task::yield_now().await;
    }
    assert_eq!(index(&world).await["vectors"], 3);
    assert_eq!(found(&world, "tea at").await, before);
}
