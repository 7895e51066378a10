//! The reference in this process, on ports of its own, against the samples of the contract: same
//! status, same set of keys at every level.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bundles;
mod checkpoints;
mod memory;
mod openapi;
mod perception;
mod supervision;
mod tasks;
mod users;
mod world;

use serde_json::{Value, json};

use world::{Answer, GATEWAY, SESSION, Who, World, same, sample};

#[tokio::test]
async fn answers_have_the_status_and_the_keys_of_the_samples() {
    let world = World::start(json!({})).await;
    world.like(Who::Nobody, "healthz", &[]).await;
    world.like(Who::Nobody, "version", &[]).await;
    world.like(Who::Nobody, "openapi", &[]).await;
    world.like(Who::Observer, "status", &[]).await;
    let made = world.like(Who::Op1, "session-create", &[]).await;
    let id = made.body["session_id"].as_str().unwrap();
    let put = &[("ses_6b1f0c7e21aa", id)][..];
    world.like(Who::Observer, "session-get", put).await;
    let twin = world.like(Who::Observer, "deprecated-twin", put).await;
    assert_eq!(twin.headers["x-migrate-to"], format!("/v3/sessions/{id}"));
    world.like(Who::Observer, "events", &[]).await;
    world.like(Who::Op2, "session-delete", put).await;
    world.like(Who::Observer, "session-unknown", &[]).await;
    world.like(Who::Op1, "malformed", &[]).await;
    world.like(Who::Op1, "schema", &[]).await;
    world.like(Who::Nobody, "unauthenticated", &[]).await;
    world.like(Who::Observer, "forbidden", &[]).await;
    world.like(Who::Observer, "audit-export", &[]).await;
    world
        .like(Who::Observer, "audit-export-bad-range", &[])
        .await;
    let stored = world.like(Who::Op1, "memory-store", &[]).await;
    let put = &[("mem_5511aa22bb33", stored.body["id"].as_str().unwrap())][..];
    world.like(Who::Observer, "memory-recall", put).await;
    world.like(Who::Op1, "vision-frame", &[]).await;
}

#[tokio::test]
async fn a_rate_above_the_limit_is_refused_and_counted() {
    let limit = json!({"rate_limit": {"enabled": true, "per_second": 1, "burst": 1}});
    let world = World::start(limit).await;
    assert_eq!(world.create(&[], &SESSION()).await.status, 201);
    world.like(Who::Op1, "rate-limited", &[]).await;
    assert_eq!(world.count(GATEWAY, "sessions"), 1);
}

#[tokio::test]
async fn what_is_malformed_or_unknown_is_refused_and_changes_nothing() {
    let world = World::start(json!({"limits": {"body_bytes": 200}})).await;
    let refused = async |line, headers: &[(&str, &str)], body: Value| {
        world
            .send(Who::Op1, GATEWAY, line, headers, Some(&body))
            .await
            .status
    };
    let sessions = ("POST", "/v3/sessions");
    assert_eq!(
        refused(sessions, &[], json!({"user_id": "x".repeat(300)})).await,
        413
    );
    assert_eq!(refused(sessions, &[], json!([1])).await, 422);
    assert_eq!(
        refused(sessions, &[], json!({"user_id": 9_007_199_254_740_993_u64})).await,
        400
    );
    assert_eq!(
        refused(sessions, &[("idempotency-key", "bare")], SESSION()).await,
        400
    );
    assert_eq!(refused(("PUT", "/v3/sessions"), &[], SESSION()).await, 405);
    assert_eq!(refused(("POST", "/v3/nothing"), &[], SESSION()).await, 404);
    assert_eq!(
        refused(("POST", "/v3/sessions/%41"), &[], SESSION()).await,
        400
    );
    let text = Value::String("user_id=u".to_owned());
    let nothing = world
        .send(Who::Nobody, GATEWAY, ("GET", "/v3/nothing"), &[], None)
        .await;
    assert_eq!(nothing.status, 401);
    assert_eq!(refused(sessions, &[], text).await, 400);
    assert_eq!(world.count(GATEWAY, "sessions"), 0);
    assert_eq!(
        world.count(GATEWAY, "audit_log WHERE outcome <> 'refused'"),
        0
    );
}

#[tokio::test]
async fn a_repeated_key_is_answered_from_the_store_also_after_a_restart() {
    let mut world = World::start(json!({})).await;
    let key = [("x-idempotency-key", "k-1"), ("x-correlation-id", "c-1")];
    let first = world.create(&key, &SESSION()).await;
    let entries = world.count(GATEWAY, "audit_log");
    world.reboot().await;
    let quoted = [("idempotency-key", "\"k-1\"")];
    let twin = ("POST", "/v1/sessions");
    let again = world
        .send(Who::Op1, GATEWAY, twin, &quoted, Some(&SESSION()))
        .await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(world.count(GATEWAY, "sessions"), 1);
    assert_eq!(world.count(GATEWAY, "audit_log"), entries);
}

#[tokio::test]
async fn a_key_of_another_request_is_refused_and_reveals_nothing() {
    let world = World::start(json!({})).await;
    let key = [("x-idempotency-key", "k-1")];
    let first = world.create(&key, &SESSION()).await;
    let id = first.body["session_id"].as_str().unwrap();
    let other = json!({"user_id": "u-2", "conversation_id": "c-1"});
    let wrong = json!({"user_id": 7});
    let sessions = ("POST", "/v3/sessions");
    for (who, body) in [
        (Who::Op1, &other),
        (Who::Op1, &wrong),
        (Who::Op2, &SESSION()),
    ] {
        let reused = world.send(who, GATEWAY, sessions, &key, Some(body)).await;
        assert_eq!(reused.status, 422);
        assert_eq!(reused.body["error"]["code"], "KEY_REUSED");
        assert!(!reused.body.to_string().contains(id));
    }
    let observer = world
        .send(Who::Observer, GATEWAY, sessions, &key, Some(&SESSION()))
        .await;
    assert_eq!(observer.status, 403);
    let nobody = world
        .send(Who::Nobody, GATEWAY, sessions, &key, Some(&SESSION()))
        .await;
    assert_eq!(nobody.status, 401);
    // Another endpoint is another key, and another session under one endpoint another request.
    let delete = format!("/v3/sessions/{id}");
    let deleted = world
        .send(Who::Op1, GATEWAY, ("DELETE", &delete), &key, None)
        .await;
    assert_eq!(deleted.status, 200);
    let second = world.session().await;
    let delete = format!("/v3/sessions/{second}");
    let other = world
        .send(Who::Op1, GATEWAY, ("DELETE", &delete), &key, None)
        .await;
    assert_eq!(other.status, 422);
    assert_eq!(world.count(GATEWAY, "sessions WHERE state = 'active'"), 1);
}

#[tokio::test]
async fn refusals_that_may_change_are_not_stored_and_those_that_do_not_are() {
    let world = World::start(json!({})).await;
    let key = [("x-idempotency-key", "k-1")];
    assert_eq!(world.create(&key, &json!({"user_id": 7})).await.status, 422);
    assert_eq!(world.count(GATEWAY, "idempotency_keys"), 0);
    assert_eq!(world.create(&key, &SESSION()).await.status, 201);
    let gone = ("DELETE", "/v3/sessions/ses_000000000000");
    let first = world.send(Who::Op1, GATEWAY, gone, &key, None).await;
    let again = world.send(Who::Op1, GATEWAY, gone, &key, None).await;
    assert_eq!((first.status, again.status), (404, 404));
    assert_eq!(first.body, again.body);
    assert_eq!(again.headers["idempotency-replayed"], "true");
}

#[tokio::test]
async fn an_expired_key_means_a_new_execution_and_pruning_takes_only_expired_ones() {
    let config = json!({"idempotency": {"ttl_ms": 60_000, "prune_interval_ms": 5}});
    let world = World::start(config).await;
    world
        .create(&[("x-idempotency-key", "old")], &SESSION())
        .await;
    world
        .create(&[("x-idempotency-key", "new")], &SESSION())
        .await;
    let database = world.database(GATEWAY);
    let age = "UPDATE idempotency_keys SET expires_at_ms = 1 WHERE idempotency_key = 'old'";
    database.execute(age, []).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while world.count(GATEWAY, "idempotency_keys") > 1 {
        assert!(std::time::Instant::now() < deadline, "nothing was pruned");
        tokio::task::yield_now().await;
    }
    let executed = world
        .create(&[("x-idempotency-key", "old")], &SESSION())
        .await;
    assert!(!executed.headers.contains_key("idempotency-replayed"));
    let stored = world
        .create(&[("x-idempotency-key", "new")], &SESSION())
        .await;
    assert_eq!(stored.headers["idempotency-replayed"], "true");
    assert_eq!(world.count(GATEWAY, "sessions"), 3);
}

#[tokio::test]
async fn concurrent_requests_with_one_key_execute_once() {
    let world = World::start(json!({})).await;
    let key = [("x-idempotency-key", "k-1")];
    let body = SESSION();
    let all = (0..16).map(|_| world.create(&key, &body));
    let answers = futures_util::future::join_all(all).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
    }
    let replayed = |answer: &&Answer| answer.headers.contains_key("idempotency-replayed");
    assert_eq!(answers.iter().filter(replayed).count(), 15);
    assert_eq!(world.count(GATEWAY, "sessions"), 1);
}

#[tokio::test]
async fn a_locked_store_refuses_and_executes_nothing_and_the_process_stays_up() {
    let world = World::start(json!({"store": {"busy_timeout_ms": 20}})).await;
    let lock = world.database(GATEWAY);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = world
        .create(&[("x-idempotency-key", "k-1")], &SESSION())
        .await;
    same(
        "store-unavailable",
        &refused,
        &sample("store-unavailable")["answer"],
    );
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.count(GATEWAY, "sessions"), 0);
    assert_eq!(world.count(GATEWAY, "idempotency_keys"), 0);
    let done = world
        .create(&[("x-idempotency-key", "k-1")], &SESSION())
        .await;
    assert_eq!(done.status, 201);
    assert!(!done.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn sessions_come_back_as_they_were_and_closed_ones_do_not() {
    let mut world = World::start(json!({"sessions": {"max_active": 2}})).await;
    let (kept, closed) = (world.session().await, world.session().await);
    let full = world.create(&[], &SESSION()).await;
    assert_eq!(
        (full.status, &full.body["error"]["code"]),
        (429, &json!("TOO_MANY_SESSIONS"))
    );
    let path = format!("/v3/sessions/{closed}");
    world
        .send(Who::Op1, GATEWAY, ("DELETE", &path), &[], None)
        .await;
    let read = format!("/v3/sessions/{kept}");
    let id = [("x-correlation-id", "c-1")];
    let before = world
        .send(Who::Op1, GATEWAY, ("GET", &read), &id, None)
        .await;
    world.reboot().await;
    let after = world
        .send(Who::Op1, GATEWAY, ("GET", &read), &id, None)
        .await;
    assert_eq!(before.body, after.body);
    assert_eq!(
        world
            .send(Who::Op1, GATEWAY, ("GET", &path), &[], None)
            .await
            .status,
        404
    );
    let status = world
        .send(Who::Observer, GATEWAY, ("GET", "/status"), &[], None)
        .await;
    assert_eq!(status.body["restore"][0]["rows"], 1);
    let stages: Vec<_> = status.body["restore"].as_array().unwrap().iter().collect();
    let names: Vec<_> = stages
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["sessions", "confirmations", "tasks", "budgets"]);
}

#[tokio::test]
async fn an_entry_that_was_changed_is_seen_on_read_and_stops_mutations() {
    let mut world = World::start(json!({})).await;
    for _ in 0..3 {
        world.session().await;
    }
    let clean = world.like(Who::Observer, "audit-export", &[]).await;
    assert_eq!(clean.body["proof"]["entry_count"], 2);
    let database = world.database(GATEWAY);
    let tamper = "DROP TRIGGER audit_log_refuses_update; \
                  UPDATE audit_log SET actor_id = 'op-9' WHERE seq = 1;";
    database.execute_batch(tamper).unwrap();
    let broken = world.like(Who::Observer, "audit-export-broken", &[]).await;
    assert_eq!(
        broken.body["error"]["details"],
        json!({
            "chain": "api-gateway", "seq": 1, "reason": "hash",
        })
    );
    world.like(Who::Op1, "audit-broken-mutation", &[]).await;
    assert_eq!(world.count(GATEWAY, "sessions"), 3);
    // The first read of the new process is its own.
    world.reboot().await;
    world.like(Who::Op1, "audit-broken-mutation", &[]).await;
    // Another database is another chain.
    world.like(Who::Op1, "memory-store", &[]).await;
}

#[tokio::test]
async fn a_range_that_ends_where_an_entry_is_missing_is_broken() {
    let world = World::start(json!({})).await;
    for _ in 0..3 {
        world.session().await;
    }
    let remove = "DROP TRIGGER audit_log_refuses_delete; DELETE FROM audit_log WHERE seq = 1;";
    world.database(GATEWAY).execute_batch(remove).unwrap();
    let broken = world.like(Who::Observer, "audit-export-broken", &[]).await;
    assert_eq!(broken.body["error"]["details"]["reason"], "gap");
    let path = "/v3/audit/export?from_seq=0&to_seq=1";
    let ends_there = world
        .send(Who::Observer, GATEWAY, ("GET", path), &[], None)
        .await;
    assert_eq!(ends_there.status, 409);
    let path = "/v3/audit/export?from_seq=0&to_seq=0";
    let before = world
        .send(Who::Observer, GATEWAY, ("GET", path), &[], None)
        .await;
    assert_eq!(before.status, 200);
}

#[tokio::test]
async fn an_entry_that_slipped_into_another_chain_is_missed() {
    let world = World::start(json!({})).await;
    for _ in 0..3 {
        world.session().await;
    }
    let slip = "DROP TRIGGER audit_log_refuses_update; PRAGMA ignore_check_constraints = ON; \
                UPDATE audit_log SET chain = 'a' WHERE seq = 2;";
    world.database(GATEWAY).execute_batch(slip).unwrap();
    let path = "/v3/audit/export?from_seq=0&to_seq=1";
    let before = world
        .send(Who::Observer, GATEWAY, ("GET", path), &[], None)
        .await;
    assert_eq!(before.status, 200);
    let broken = world
        .send(
            Who::Observer,
            GATEWAY,
            ("GET", "/v1/audit/export"),
            &[],
            None,
        )
        .await;
    assert_eq!(broken.status, 409);
    assert_eq!(broken.body["error"]["details"]["seq"], 2);
    // With another number it is not missed there, but where it stood.
    let renumber = "UPDATE audit_log SET seq = 101 WHERE seq = 2";
    let database = world.database(GATEWAY);
    database
        .execute_batch("PRAGMA ignore_check_constraints = ON")
        .unwrap();
    database.execute(renumber, []).unwrap();
    let broken = world
        .send(
            Who::Observer,
            GATEWAY,
            ("GET", "/v1/audit/export"),
            &[],
            None,
        )
        .await;
    assert_eq!(
        broken.body["error"]["details"],
        json!({"chain": "api-gateway", "seq": 2, "reason": "gap"})
    );
}

#[tokio::test]
async fn the_database_itself_takes_nothing_but_the_next_entry() {
    let world = World::start(json!({})).await;
    world.session().await;
    world.session().await;
    let database = world.database(GATEWAY);
    let columns = "chain, ts, service, actor_id, actor_role, via, action, resource, outcome, \
                   correlation_id, request_id, replay_generation, causal_parent, payload_sha256";
    let insert = |verb: &str, seq: &str, prev: &str| {
        let from = "FROM audit_log WHERE seq = 1";
        format!(
            "{verb} INTO audit_log ({columns}, seq, prev_hash, hash) \
             SELECT {columns}, {seq}, {prev}, hash {from}"
        )
    };
    for refused in [
        "UPDATE audit_log SET actor_id = 'op-9' WHERE seq = 0".to_owned(),
        "DELETE FROM audit_log WHERE seq = 1".to_owned(),
        insert("INSERT OR REPLACE", "1", "prev_hash"),
        insert("INSERT OR IGNORE", "1", "prev_hash"),
        insert("INSERT", "3", "hash"),
        insert("INSERT", "2", "prev_hash"),
    ] {
        assert!(database.execute(&refused, []).is_err(), "{refused}");
    }
    assert_eq!(
        database
            .execute(&insert("INSERT", "2", "hash"), [])
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn who_did_what_is_in_the_chain_refusals_of_known_actors_included() {
    let world = World::start(json!({})).await;
    let path = ("POST", "/v3/sessions");
    let behalf = [
        ("x-service-token", "svc_test"),
        ("x-on-behalf-of", "op-7;operator"),
    ];
    let body = SESSION();
    world
        .send(Who::Nobody, GATEWAY, path, &behalf, Some(&body))
        .await;
    let lesser = [
        ("x-service-token", "svc_test"),
        ("x-on-behalf-of", "ob-7;observer"),
    ];
    let observer = world
        .send(Who::Nobody, GATEWAY, path, &lesser, Some(&body))
        .await;
    assert_eq!(observer.status, 403);
    let unknown = [
        ("x-service-token", "svc_test"),
        ("x-on-behalf-of", "ob-7;admin"),
    ];
    let admin = world
        .send(Who::Nobody, GATEWAY, path, &unknown, Some(&body))
        .await;
    assert_eq!(admin.status, 403);
    for wrong in ["svc_tes", "svc_test2", ""] {
        let headers = [("x-service-token", wrong)];
        let refused = world
            .send(Who::Nobody, GATEWAY, path, &headers, Some(&body))
            .await;
        assert_eq!(refused.status, 401, "{wrong:?}");
    }
    let export = ("GET", "/v3/audit/export");
    let all = world.send(Who::Observer, GATEWAY, export, &[], None).await;
    let seen: Vec<_> = all.body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            json!([
                entry["actor_id"],
                entry["actor_role"],
                entry["via"],
                entry["outcome"]
            ])
        })
        .collect();
    assert_eq!(
        seen,
        [
            json!(["op-7", "operator", "_service", "ok"]),
            json!(["ob-7", "observer", "_service", "refused"]),
            json!(["ob-7", "admin", "_service", "refused"]),
        ]
    );
}
