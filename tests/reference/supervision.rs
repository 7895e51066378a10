//! Supervision as a process tells it that hosts everybody itself: nobody is supervised, what is asked
//! for is kept until the next start.

use serde_json::{Value, json};

use super::world::{Who, World};

const EVA: &str = "eva-os";

async fn post(world: &World, path: &str, body: Value) -> (u16, Value) {
    let answer = world
        .send(Who::Op1, EVA, ("POST", path), &[], Some(&body))
        .await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn the_routes_answer_as_their_samples() {
    let mut world = World::start(json!({})).await;
    let graph = world.like(Who::Observer, "dependency-graph", &[]).await;
    assert_eq!(graph.body["supervising"], false);
    let health = world.like(Who::Observer, "health-all", &[]).await;
    assert_eq!(
        (&health.body["overall"], &health.body["budget_store"]),
        (&json!("healthy"), &json!("ok"))
    );
    let services = health.body["services"].as_array().unwrap();
    assert!(
        services
            .iter()
            .all(|one| one["state"] == "healthy" && one["pid"].is_u64())
    );
    world.like(Who::Op1, "maintenance-mode", &[]).await;
    world.like(Who::Op1, "supervision-restart", &[]).await;
    world
        .like(Who::Op1, "supervision-restart-unknown", &[])
        .await;
    let health = world.like(Who::Observer, "health-all", &[]).await;
    assert_eq!(health.body["maintenance_mode"], true);
    assert_eq!(world.count(EVA, "restart_requests"), 1);
    world.reboot().await;
    let health = world.like(Who::Observer, "health-all", &[]).await;
    assert_eq!(health.body["maintenance_mode"], true);
    assert_eq!(world.count(EVA, "restart_requests"), 0);
}

#[tokio::test]
async fn a_change_is_announced_once_and_a_refusal_never() {
    let world = World::start(json!({})).await;
    let path = "/v1/supervision/maintenance-mode";
    for enabled in [true, true, false] {
        assert_eq!(post(&world, path, json!({"enabled": enabled})).await.0, 200);
    }
    assert_eq!(post(&world, path, json!({})).await.0, 422);
    assert_eq!(post(&world, path, json!({"enabled": "yes"})).await.0, 422);
    let maintained = "events WHERE type = 'supervision.maintenance'";
    assert_eq!(world.count(EVA, maintained), 2);
    let (status, body) = post(&world, "/v1/supervision/restart/eva-os", json!({})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (409, &json!("NOT_SUPERVISED"))
    );
    let requested = "events WHERE type = 'supervision.restart.requested'";
    assert_eq!(world.count(EVA, requested), 0);
    let events = world
        .send(Who::Observer, EVA, ("GET", "/v3/events"), &[], None)
        .await;
    assert_eq!(events.body["events"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_table_of_budgets_is_that_of_the_contract() {
    let world = World::start(json!({})).await;
    let database = world.database(EVA);
    let statement = database.prepare("SELECT * FROM restart_budgets").unwrap();
    let columns: Vec<Value> = statement
        .column_names()
        .into_iter()
        .map(Value::from)
        .collect();
    let tables = include_str!("../../fixtures/contract/tables.json");
    let tables: Value = serde_json::from_str(tables).unwrap();
    assert_eq!(tables["restart_budgets"], json!(columns));
}
