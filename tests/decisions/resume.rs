//! An abrupt end in the middle of an operation, and what the next start makes of it.

use serde_json::{Value, json};

use crate::world::{Answer, Ask, GATEWAY, OPENCLAW, ROUTES, Route, World, until};

/// The stored answer, once there is one.
async fn settled(world: &World, ask: &Ask) -> Answer {
    until("the stored answer", async || {
        let answer = world.send(ask.clone()).await;
        (answer.code() != "KEY_IN_PROGRESS").then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_approval_is_carried_out_under_the_same_key() {
    for route in ROUTES {
        let mut world = World::start(json!({})).await;
        let session = world.session().await;
        let open = world.open(route, &session, "a.txt").await;
        let ask = open.ask("approve", Some(open.fence)).key("k-1");
        world.tools.hold();
        let lost = tokio::spawn(world.sender()(ask.clone()));
        world.tools.arrived(1).await;
        world.crash();
        assert!(lost.await.unwrap().is_none(), "{route:?}");
        world.boot(Default::default()).await;
        world.tools.arrived(2).await;
        let late = world.send(open.ask("deny", None)).await;
        assert_eq!(late.code(), "ALREADY_DECIDED", "{route:?}");
        world.tools.release();
        let answer = settled(&world, &ask).await;
        assert_eq!(answer.status, 200, "{route:?}: {}", answer.body);
        assert!(answer.replayed());
        assert_eq!(answer.body["execution"]["status"], "succeeded");
        assert_eq!(answer.body["decided_by"]["actor_id"], "op-1");
        let seen = world.tools.seen();
        assert_eq!(seen.len(), 2, "{route:?}");
        assert_eq!((&seen[0].key, &seen[0].body), (&seen[1].key, &seen[1].body));
        if route == Route::Action {
            let path = format!("/v3/actions/{}", open.id);
            let action = world.send(Ask::get(GATEWAY, path)).await;
            assert_eq!(action.body["action"]["state"], "succeeded");
        }
        // A second restart finds nothing to do.
        world.crash_and_boot().await;
        assert_eq!(settled(&world, &ask).await.body, answer.body);
        assert_eq!(world.tools.count(), 2, "{route:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_interrupted_at_its_model_is_asked_again_under_the_same_key() {
    let mut world = World::start(json!({})).await;
    let session = world.session().await;
    let ask = World::turn(&session, "hi").key("t-1");
    world.models.hold();
    let lost = tokio::spawn(world.sender()(ask.clone()));
    world.models.arrived(1).await;
    world.crash();
    assert!(lost.await.unwrap().is_none());
    world.models.release();
    world.boot(Default::default()).await;
    let answer = settled(&world, &ask).await;
    assert_eq!((answer.status, answer.replayed()), (200, true));
    let seen = world.models.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1], "the same call, cause and all");
    assert_eq!(answer.body["turn_id"], seen[0].body["turn_id"]);
    let path = format!("/v3/sessions/{session}");
    let session = world.send(Ask::get(GATEWAY, path)).await;
    assert_eq!(session.body["turn_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_interrupted_at_a_tool_goes_on_with_its_plan() {
    let mut world = World::start(json!({})).await;
    let session = world.session().await;
    let calls = json!([
        {"tool_name": "file.write", "args": {"path": "a"}},
        {"tool_name": "file.read", "args": {"path": "a"}},
        {"tool_name": "file.read", "args": {"path": "b"}},
    ]);
    let ask = World::turn(&session, calls).key("t-1");
    world.tools.hold();
    let lost = tokio::spawn(world.sender()(ask.clone()));
    world.tools.arrived(1).await;
    let pending = format!("/v3/confirmations/pending?session_id={session}");
    let before = world.send(Ask::get(GATEWAY, &pending)).await;
    world.crash();
    assert!(lost.await.unwrap().is_none());
    world.tools.release();
    world.boot(Default::default()).await;
    let answer = settled(&world, &ask).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(world.models.count(), 1, "the plan was on disk");
    let seen = world.tools.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!((&seen[0].key, &seen[0].body), (&seen[1].key, &seen[1].body));
    assert_ne!(seen[1].key, seen[2].key);
    let after = world.send(Ask::get(GATEWAY, &pending)).await;
    let id = |answer: &Answer| answer.body["confirmations"][0]["confirmation_id"].clone();
    assert_eq!(id(&before), id(&after));
    assert_eq!(answer.body["tool_calls"][0]["confirmation_id"], id(&after));
    assert_eq!(after.body["confirmations"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_honours_no_keys_is_never_called_twice() {
    let patch = json!({"backends": {"tools": {"honours_keys": false}}});
    let mut world = World::start(patch).await;
    let session = world.session().await;
    let open = world.open(Route::Confirmation, &session, "a.txt").await;
    let ask = open.ask("approve", Some(open.fence)).key("k-1");
    world.tools.hold();
    let lost = tokio::spawn(world.sender()(ask.clone()));
    world.tools.arrived(1).await;
    world.crash();
    assert!(lost.await.unwrap().is_none());
    world.tools.release();
    world.boot(Default::default()).await;
    let answer = settled(&world, &ask).await;
    assert_eq!(answer.status, 200);
    let execution = &answer.body["execution"];
    assert_eq!(execution["status"], "failed");
    assert_eq!(execution["error"]["code"], "OUTCOME_UNKNOWN");
    assert_eq!(world.tools.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_action_and_a_direct_execution_are_resumed_too() {
    let mut world = World::start(json!({})).await;
    let session = world.session().await;
    let plan = json!({"intent": "file.read", "params": {"path": "a"}, "session_id": session});
    let execute = json!({"tool_name": "file.read", "args": {"path": "b"}});
    let asks = [
        Ask::post(GATEWAY, "/v3/actions/plan", plan).key("p-1"),
        Ask::post(OPENCLAW, "/execute", execute).key("x-1"),
    ];
    world.tools.hold();
    let lost: Vec<_> = asks
        .iter()
        .map(|ask| tokio::spawn(world.sender()(ask.clone())))
        .collect();
    world.tools.arrived(2).await;
    world.crash();
    for lost in lost {
        assert!(lost.await.unwrap().is_none());
    }
    world.tools.release();
    world.boot(Default::default()).await;
    let planned = settled(&world, &asks[0]).await;
    assert_eq!(planned.status, 201);
    assert_eq!(planned.body["action"]["state"], "succeeded");
    assert_eq!(settled(&world, &asks[1]).await.status, 200);
    let keys: std::collections::BTreeMap<String, Value> = world
        .tools
        .seen()
        .into_iter()
        .map(|seen| (seen.key, seen.body))
        .collect();
    assert_eq!((world.tools.count(), keys.len()), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_decisions_come_back_with_id_fence_and_deadline() {
    let mut world = World::start(json!({})).await;
    let session = world.session().await;
    let open = world.open(Route::Confirmation, &session, "a.txt").await;
    let denied = world.open(Route::Confirmation, &session, "b.txt").await;
    world.send(denied.ask("deny", None)).await;
    let pending = format!("/v3/confirmations/pending?session_id={session}");
    let before = world.send(Ask::get(GATEWAY, &pending)).await.body["confirmations"].clone();
    world.crash_and_boot().await;
    let after = world.send(Ask::get(GATEWAY, &pending)).await.body["confirmations"].clone();
    assert_eq!(after.as_array().unwrap().len(), 1);
    for field in ["confirmation_id", "tool_name", "args", "fence_token"] {
        assert_eq!(before[0][field], after[0][field]);
    }
    let remaining = |rows: &Value| rows[0]["remaining_seconds"].as_f64().unwrap();
    assert!(remaining(&after) <= remaining(&before));
    assert_eq!(
        world.send(denied.ask("approve", None)).await.code(),
        "ALREADY_DECIDED"
    );
    assert_eq!(
        world
            .send(open.ask("approve", Some(open.fence)))
            .await
            .status,
        200
    );
    assert_eq!(world.tools.count(), 1);
}
