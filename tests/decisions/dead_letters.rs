//! What failed for good is kept, replayed once at a time, and counted.

use serde_json::{Value, json};

use crate::samples::check;
use crate::world::{Answer, Ask, GATEWAY, OPENCLAW, Open, Route, World, until};

async fn letters(world: &World) -> Vec<Value> {
    let listed = world.send(Ask::get(GATEWAY, "/v3/dead-letters")).await;
    listed.body["dead_letters"].as_array().unwrap().clone()
}

fn replay(letter: &Value) -> Ask {
    let id = letter["dead_letter_id"].as_str().unwrap();
    Ask::post(GATEWAY, format!("/v3/dead-letters/{id}/replay"), json!({}))
}

fn dry(letter: &Value) -> Ask {
    let mut ask = replay(letter);
    ask.path.push_str("?dry_run=true");
    ask
}

/// A guarded call that was approved under `cor_first` while the backend answers 500.
async fn failed(world: &World, route: Route) -> Open {
    let session = world.session().await;
    let open = world.open(route, &session, "a.txt").await;
    world.tools.status(500);
    let ask = open.ask("approve", Some(open.fence));
    let answer = world
        .send(ask.header("x-correlation-id", "cor_first"))
        .await;
    assert_eq!(answer.body["execution"]["status"], "failed");
    open
}

/// `chain/action/outcome/generation` of every entry of this correlation id, chain by chain.
fn trail(world: &World, correlation_id: &str) -> Vec<String> {
    let mut trail = Vec::new();
    for chain in [GATEWAY, OPENCLAW] {
        let path = world.dir.path().join(format!("data/{chain}.db"));
        let sql = rusqlite::Connection::open(path).unwrap();
        let mut rows = sql
            .prepare(
                "SELECT chain || ' ' || action || ' ' || outcome || ' ' || replay_generation
                 FROM audit_log WHERE correlation_id = ?1 ORDER BY seq",
            )
            .unwrap();
        let rows = rows.query_map([correlation_id], |row| row.get(0)).unwrap();
        trail.extend(rows.collect::<Result<Vec<String>, _>>().unwrap());
    }
    trail
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_confirmation_is_replayed_under_its_own_id_until_it_succeeds() {
    let world = World::start(json!({})).await;
    let open = failed(&world, Route::Confirmation).await;
    let listed = world.send(Ask::get(GATEWAY, "/v3/dead-letters")).await;
    check("dead-letters", &listed);
    let letter = &listed.body["dead_letters"][0];
    assert_eq!(letter["source_id"], open.id);
    assert_eq!(letter["correlation_id"], "cor_first");
    let again = replay(letter).header("x-correlation-id", "cor_again");
    let again = world.send(again).await;
    check("dead-letter-replay-failed", &again);
    assert_eq!(again.body["correlation_id"], "cor_again");
    assert_eq!(again.headers["x-correlation-id"], "cor_again");
    assert_eq!(again.body["dead_letter"]["replay_generation"], 1);
    world.tools.status(200);
    let done = world.send(replay(letter)).await;
    check("dead-letter-replay", &done);
    assert_eq!(done.body["dead_letter"]["replay_generation"], 2);
    check("dead-letter-resolved", &world.send(replay(letter)).await);
    let expected = [
        "api-gateway confirmation.approve ok 0",
        "api-gateway confirmation.execute failed 0",
        "api-gateway dead_letter.replay ok 1",
        "api-gateway dead_letter.execute failed 1",
        "api-gateway dead_letter.replay ok 2",
        "api-gateway dead_letter.execute ok 2",
        "openclaw tool.execute ok 0",
        "openclaw tool.result failed 0",
        "openclaw tool.execute ok 1",
        "openclaw tool.result failed 1",
        "openclaw tool.execute ok 2",
        "openclaw tool.result ok 2",
    ];
    assert_eq!(trail(&world, "cor_first"), expected);
    assert_eq!(trail(&world, "cor_again"), [""; 0]);
    let named = "SELECT count(*) FROM audit_log WHERE request_id = 'cor_again'
                 AND action LIKE 'dead_letter.%' AND actor_id = 'op-1'";
    assert_eq!(world.number(GATEWAY, named), 2);
    let keys: Vec<String> = world
        .tools
        .seen()
        .into_iter()
        .map(|seen| seen.key)
        .collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "{keys:?}");
    let types: Vec<Value> = world
        .events()
        .await
        .iter()
        .map(|event| event["type"].clone())
        .filter(|kind| kind.as_str().unwrap().starts_with("dead_letter"))
        .collect();
    let [begun, ended] = ["dead_letter.replaying", "dead_letter.replayed"];
    assert_eq!(types, ["dead_letter.added", begun, ended, begun, ended]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_tool_of_a_turn_and_a_failed_action_are_letters_too() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let calls = json!([
        {"tool_name": "file.read", "args": {"path": "none"}},
        {"tool_name": "file.read", "args": {"path": "a"}},
    ]);
    let turn = world.send(World::turn(&session, calls)).await;
    let body = json!({"intent": "file.list", "params": {"path": "none"}, "session_id": session});
    let safe = world
        .send(Ask::post(GATEWAY, "/v3/actions/plan", body))
        .await;
    let open = world.open(Route::Action, &session, "none").await;
    world.send(open.ask("approve", None)).await;
    let open_at_eva = world.open(Route::Approval, &session, "none").await;
    world.send(open_at_eva.ask("approve", None)).await;
    let letters = letters(&world).await;
    let sources: Vec<_> = letters
        .iter()
        .map(|letter| (&letter["source"], &letter["source_id"]))
        .collect();
    let [turns, actions] = ["turn", "action"].map(Value::from);
    let guarded = Value::from(open.id);
    let expected = [
        (&turns, &turn.body["turn_id"]),
        (&actions, &safe.body["action"]["action_id"]),
        (&actions, &guarded),
    ];
    assert_eq!(sources, expected);
    for letter in &letters {
        let answer = world.send(replay(letter)).await;
        assert_eq!(answer.body["execution"]["error"]["code"], "TOOL_FAILED");
        assert_eq!(answer.body["dead_letter"]["replay_generation"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_replays_one_runs_and_a_key_brings_its_answer_back() {
    let world = World::start(json!({})).await;
    failed(&world, Route::Action).await;
    world.tools.status(200);
    let letter = letters(&world).await.remove(0);
    world.tools.hold();
    let first = tokio::spawn(world.sender()(replay(&letter).key("r-1")));
    world.tools.arrived(2).await;
    check("dead-letter-replaying", &world.send(replay(&letter)).await);
    check("dead-letter-replaying", &world.send(dry(&letter)).await);
    world.tools.release();
    let first: Answer = first.await.unwrap().unwrap();
    check("dead-letter-replay", &first);
    let again = world.send(replay(&letter).key("r-1")).await;
    assert!(again.replayed());
    assert_eq!(again.body, first.body);
    let unknown = Ask::post(
        GATEWAY,
        "/v3/dead-letters/dlq_000000000000/replay",
        json!({}),
    );
    check("dead-letter-unknown", &world.send(unknown).await);
    assert_eq!(world.tools.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_goes_on_under_the_same_key_and_generation() {
    let mut world = World::start(json!({})).await;
    failed(&world, Route::Confirmation).await;
    world.tools.status(200);
    let letter = letters(&world).await.remove(0);
    world.tools.hold();
    let lost = tokio::spawn(world.sender()(replay(&letter)));
    world.tools.arrived(2).await;
    world.crash();
    assert!(lost.await.unwrap().is_none());
    world.tools.release();
    world.boot(Default::default()).await;
    let resolved = until("the end of the replay", async || {
        let letter = letters(&world).await.remove(0);
        (letter["state"] == "resolved").then_some(letter)
    })
    .await;
    assert_eq!(resolved["replay_generation"], 1);
    let seen = world.tools.seen();
    assert_eq!(seen[1], seen[2], "the same call, cause and all");
    let begun = "SELECT count(*) FROM audit_log WHERE action = 'dead_letter.replay'";
    assert_eq!(world.number(GATEWAY, begun), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let world = World::start(json!({})).await;
    let open = failed(&world, Route::Confirmation).await;
    let letter = letters(&world).await.remove(0);
    let counts = || {
        ["audit_log", "events", "operations", "idempotency_keys"].map(|table| {
            let sql = format!("SELECT count(*) FROM {table}");
            [GATEWAY, OPENCLAW].map(|service| world.number(service, &sql))
        })
    };
    let before = counts();
    let rehearsed = world.send(dry(&letter).key("d-1")).await;
    check("dead-letter-dry-run", &rehearsed);
    let would = &rehearsed.body["would"];
    assert_eq!(would["decision"]["id"], open.id);
    assert_eq!(would["replay_generation"], 1);
    let mut wrong = replay(&letter);
    wrong.path.push_str("?dry_run=perhaps");
    assert_eq!(world.send(wrong).await.status, 400);
    assert_eq!(counts(), before);
    assert_eq!(world.tools.count(), 1);
    assert_eq!(letters(&world).await, std::slice::from_ref(&letter));
    // The control: without it the call is made.
    assert_eq!(world.send(replay(&letter)).await.status, 200);
    assert_eq!(world.tools.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_bound_resolved_letters_go_first_and_then_the_oldest_open_ones() {
    let world = World::start(json!({"dead_letters": {"max": 2}})).await;
    let fail = async |marker: &str| {
        let session = world.session().await;
        let calls = json!([{"tool_name": "file.read", "args": {"path": marker}}]);
        world.send(World::turn(&session, calls)).await;
    };
    let kept = async || -> Vec<String> {
        let letters = letters(&world).await;
        letters
            .iter()
            .map(|letter| letter["args"]["path"].as_str().unwrap().to_owned())
            .collect()
    };
    world.tools.status(500);
    for marker in ["a", "b"] {
        fail(marker).await;
    }
    world.tools.status(200);
    let second = letters(&world).await.remove(1);
    assert_eq!(world.send(replay(&second)).await.status, 200);
    world.tools.status(500);
    fail("c").await;
    assert_eq!(kept().await, ["a", "c"]);
    fail("d").await;
    assert_eq!(kept().await, ["c", "d"]);
    let events = world.events().await;
    let dropped = events
        .iter()
        .filter(|event| event["type"] == "dead_letter.dropped");
    assert_eq!(dropped.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_the_gateway_has_not_begun_lets_nothing_run() {
    let world = World::start(json!({})).await;
    let open = failed(&world, Route::Confirmation).await;
    let calls = world.tools.count();
    let execute = |generation: &str| {
        let body = json!({
            "tool_name": "file.write", "args": {"path": "a.txt", "text": "hello"},
            "decision": {"issuer": GATEWAY, "id": open.id, "fence_token": open.fence},
        });
        Ask::post(OPENCLAW, "/execute", body).header("x-replay-generation", generation)
    };
    let forged = world.send(execute("1").service()).await;
    assert_eq!(forged.code(), "DECISION_INVALID");
    let consumed = world.send(execute("0").service()).await;
    assert_eq!(consumed.code(), "DECISION_CONSUMED");
    // A person's header counts for nothing.
    let by_person = world.send(execute("1")).await;
    assert_eq!(by_person.code(), "DECISION_CONSUMED");
    assert_eq!(world.tools.count(), calls);
}
