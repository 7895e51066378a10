//! The same request again, under a key.

use serde_json::json;

use crate::races::storm;
use crate::world::{Ask, GATEWAY, OPENCLAW, ROUTES, Route, World, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_while_the_first_runs_is_told_so_and_later_gets_its_answer() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    for (round, route) in ROUTES.into_iter().enumerate() {
        let open = world.open(route, &session, "a.txt").await;
        let ask = open.ask("approve", Some(open.fence)).key("k-1");
        world.tools.hold();
        let first = tokio::spawn(world.sender()(ask.clone()));
        world.tools.arrived(round + 1).await;
        let meanwhile = world.send(ask.clone()).await;
        assert_eq!(
            (meanwhile.status, meanwhile.code()),
            (409, "KEY_IN_PROGRESS")
        );
        assert_eq!(meanwhile.headers["retry-after"], "1");
        world.tools.release();
        let first = first.await.unwrap().unwrap();
        let again = world.send(ask).await;
        assert!(again.replayed(), "{route:?}");
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert_eq!(world.tools.count(), round + 1);
        let actor = open.ask("approve", Some(open.fence)).key("k-1");
        assert_eq!(world.send(actor.actor("op-2")).await.code(), "KEY_REUSED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_times_the_same_turn_is_one_turn() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let calls = json!([{"tool_name": "file.read", "args": {"path": "a"}},
        {"tool_name": "file.write", "args": {"path": "a"}}]);
    let ask = World::turn(&session, calls).key("t-1");
    let answers = storm(&world, vec![ask.clone(); 8]).await;
    let stored = until("the stored answer", async || {
        let answer = world.send(ask.clone()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert!(stored.replayed());
    for answer in answers {
        match answer.status {
            200 => assert_eq!(answer.body, stored.body),
            _ => assert_eq!(answer.code(), "KEY_IN_PROGRESS"),
        }
    }
    assert_eq!((world.models.count(), world.tools.count()), (1, 1));
    let path = format!("/v3/confirmations/pending?session_id={session}");
    let pending = world.send(Ask::get(GATEWAY, path)).await;
    assert_eq!(pending.body["confirmations"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_the_schema_is_not_stored_and_one_for_the_state_is() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let bad = Ask::post(GATEWAY, "/v3/turn", json!({"session_id": session})).key("t-1");
    assert_eq!(world.send(bad).await.code(), "SCHEMA");
    assert_eq!(
        world
            .send(World::turn(&session, "hi").key("t-1"))
            .await
            .status,
        200
    );
    let open = world.open(Route::Action, &session, "a.txt").await;
    let stale = open.ask("approve", Some(open.fence + 1)).key("a-1");
    assert!(!world.send(stale.clone()).await.replayed());
    let again = world.send(stale).await;
    assert!(again.replayed());
    assert_eq!(again.code(), "FENCE_STALE");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failed_outcome_of_a_tool_is_stored() {
    let world = World::start(json!({})).await;
    let body = json!({"tool_name": "file.read", "args": {"path": "none"}});
    let ask = Ask::post(OPENCLAW, "/execute", body).key("x-1");
    let first = world.send(ask.clone()).await;
    let again = world.send(ask).await;
    assert_eq!((first.status, again.status), (502, 502));
    assert!(again.replayed());
    assert_eq!(world.tools.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_a_service_outlives_its_key() {
    let keys = json!({"idempotency": {"ttl_ms": 1, "prune_interval_ms": 5}});
    let world = World::start(keys).await;
    let call = |path: &str| {
        let body = json!({"tool_name": "file.read", "args": {"path": path}});
        Ask::post(OPENCLAW, "/execute", body)
            .service()
            .header("idempotency-key", "\"op_00000000abcd\"")
    };
    let first = world.send(call("a")).await;
    assert_eq!(first.body["operation_id"], "op_00000000abcd");
    until("the key is pruned", async || {
        let left = world.number("openclaw", "SELECT count(*) FROM idempotency_keys");
        (left == 0).then_some(())
    })
    .await;
    let again = world.send(call("a")).await;
    assert_eq!((again.status, again.replayed()), (200, true));
    assert_eq!(again.body, first.body);
    assert_eq!(world.send(call("b")).await.code(), "KEY_REUSED");
    assert_eq!(world.tools.count(), 1);
}
