//! Tasks: one version after the other, and no way back from a tombstone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::world::{Answer, Who, World, sample};

const EVA: &str = "eva-os";

async fn send(world: &World, method: &str, path: &str, body: Value) -> Answer {
    let body = Some(&body).filter(|body| !body.is_null());
    world.send(Who::Op1, EVA, (method, path), &[], body).await
}

async fn create(world: &World, id: &str) -> Answer {
    send(world, "POST", "/tasks", json!({"task_id": id, "name": id})).await
}

#[tokio::test]
async fn a_life_of_a_task_is_as_the_samples_tell() {
    let world = World::start(json!({})).await;
    let made = world.like(Who::Op1, "task-create", &[]).await;
    assert_eq!(made.body["version"], 1);
    world.like(Who::Observer, "task-get", &[]).await;
    create(&world, "another").await;
    let page = world.like(Who::Observer, "tasks-list", &[]).await;
    assert_eq!(
        (
            page.body["tasks"].as_array().unwrap().len(),
            &page.body["next"]
        ),
        (1, &json!(1))
    );
    world.like(Who::Op1, "task-exists", &[]).await;
    let updated = world.like(Who::Op2, "task-update", &[]).await;
    assert_eq!(
        (&updated.body["version"], &updated.body["metadata"]),
        (&json!(2), &made.body["metadata"])
    );
    let stale = world.like(Who::Op1, "task-version-conflict", &[]).await;
    assert_eq!(
        stale.body["error"]["details"]["current"]["name"],
        updated.body["name"]
    );
    let deleted = world.like(Who::Op1, "task-delete", &[]).await;
    assert_eq!(deleted.body["version"], 3);
    let gone = world.like(Who::Op1, "task-gone", &[]).await;
    assert_eq!(gone.body["error"]["details"]["version"], 3);
    let path = sample("task-get")["path"].as_str().unwrap().to_owned();
    let late = json!({"version": 3, "name": "late"});
    for (method, body) in [
        ("GET", Value::Null),
        ("PATCH", late),
        ("DELETE", Value::Null),
    ] {
        let answer = send(&world, method, &path, body).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (404, &json!("TASK_NOT_FOUND")),
            "{method}"
        );
    }
    world.like(Who::Op1, "task-unknown", &[]).await;
}

#[tokio::test]
async fn tasks_come_back_after_a_restart_in_the_order_of_their_creation_and_deleted_ones_do_not() {
    let mut world = World::start(json!({"limits": {"page_size": 2}})).await;
    for id in ["d", "b", "c", "a", "e"] {
        assert_eq!(create(&world, id).await.status, 201);
    }
    send(
        &world,
        "PATCH",
        "/tasks/b",
        json!({"version": 1, "metadata": {"n": 1}}),
    )
    .await;
    assert_eq!(
        send(&world, "DELETE", "/tasks/c", Value::Null).await.status,
        200
    );
    let all = async |world: &World| {
        let (mut all, mut after) = (Vec::new(), json!(0));
        while !after.is_null() {
            let page = send(world, "GET", &format!("/tasks?after={after}"), Value::Null).await;
            all.extend(page.body["tasks"].as_array().unwrap().clone());
            after = page.body["next"].clone();
        }
        all
    };
    let before = all(&world).await;
    let ids: Vec<&Value> = before.iter().map(|task| &task["task_id"]).collect();
    assert_eq!(ids, ["d", "b", "a", "e"]);
    world.reboot().await;
    assert_eq!(all(&world).await, before);
    assert_eq!(create(&world, "c").await.body["error"]["code"], "TASK_GONE");
    let status = world
        .send(Who::Observer, EVA, ("GET", "/status"), &[], None)
        .await;
    assert_eq!(
        (
            &status.body["restore"][2]["stage"],
            &status.body["restore"][2]["rows"]
        ),
        (&json!("tasks"), &json!(4))
    );
}

#[tokio::test]
async fn what_is_no_task_is_refused() {
    let world = World::start(json!({})).await;
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": 7}),
        json!({"name": "n", "metadata": []}),
        json!({"name": "n", "task_id": "a/b"}),
        json!({"name": "n", "task_id": ""}),
        json!({"name": "n", "task_id": "x".repeat(129)}),
    ] {
        assert_eq!(
            send(&world, "POST", "/tasks", body.clone()).await.status,
            422,
            "{body}"
        );
    }
    create(&world, "a").await;
    for body in [
        json!({"name": "n"}),
        json!({"version": 1}),
        json!({"version": "1", "name": "n"}),
    ] {
        assert_eq!(
            send(&world, "PATCH", "/tasks/a", body.clone()).await.status,
            422,
            "{body}"
        );
    }
    for query in ["after=-1", "after=x", "limit=0", "limit=1001"] {
        let path = format!("/tasks?{query}");
        assert_eq!(
            send(&world, "GET", &path, Value::Null).await.status,
            400,
            "{query}"
        );
    }
    assert_eq!(
        send(&world, "GET", "/tasks/a", Value::Null).await.body["version"],
        1
    );
    assert_eq!(world.count(EVA, "tasks"), 1);
}

#[tokio::test]
async fn of_concurrent_mutations_of_one_version_one_wins() {
    let world = World::start(json!({})).await;
    let all = async |method: &str, path: &str, body: Value| {
        let asks = (0..8).map(|_| send(&world, method, path, body.clone()));
        let mut statuses: Vec<u16> = futures_util::future::join_all(asks)
            .await
            .iter()
            .map(|answer| answer.status)
            .collect();
        statuses.sort_unstable();
        statuses
    };
    let one = |won: u16, lost: u16| [vec![won], vec![lost; 7]].concat();
    assert_eq!(
        all("POST", "/tasks", json!({"task_id": "a", "name": "n"})).await,
        one(201, 409)
    );
    let patch = json!({"version": 1, "name": "m"});
    assert_eq!(all("PATCH", "/tasks/a", patch).await, one(200, 409));
    assert_eq!(all("DELETE", "/tasks/a", Value::Null).await, one(200, 404));
    assert_eq!(world.count(EVA, "audit_log WHERE outcome = 'ok'"), 3);
}

#[tokio::test]
async fn the_table_itself_holds_a_task_to_its_versions_and_its_tombstone() {
    let world = World::start(json!({})).await;
    create(&world, "a").await;
    create(&world, "b").await;
    send(&world, "DELETE", "/tasks/b", Value::Null).await;
    let database = world.database(EVA);
    for refused in [
        "UPDATE tasks SET name = 'x' WHERE id = 'a'",
        "UPDATE tasks SET version = version + 2 WHERE id = 'a'",
        "UPDATE tasks SET version = version + 1, deleted_at_us = NULL WHERE id = 'b'",
        "DELETE FROM tasks WHERE id = 'b'",
        "INSERT INTO tasks (id, name, metadata, created_at_us, updated_at_us)
         VALUES ('b', 'x', '{}', 1, 1)",
    ] {
        assert!(database.execute(refused, []).is_err(), "{refused}");
    }
    let columns = database.prepare("SELECT * FROM tasks").unwrap();
    let columns: Vec<Value> = columns
        .column_names()
        .into_iter()
        .map(Value::from)
        .collect();
    let tables = include_str!("../../fixtures/contract/tables.json");
    let tables: Value = serde_json::from_str(tables).unwrap();
    let names = |values: &[Value]| values.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    assert_eq!(names(&columns), names(tables["tasks"].as_array().unwrap()));
}
