//! Users and their keys: who may come in, until when, and what is kept of a key.

use serde_json::{Value, json};

use crate::world::{Answer, GATEWAY, Who, World};

const MEMORY: &str = "memory-engine";
const USERS: (&str, &str) = ("POST", "/v1/users");

fn ada() -> Value {
    json!({"display_name": "Ada", "role": "operator"})
}

fn text<'a>(answer: &'a Answer, field: &str) -> &'a str {
    answer.body[field].as_str().unwrap()
}

async fn make(world: &World, headers: &[(&str, &str)], body: &Value) -> Answer {
    world
        .send(Who::Op1, MEMORY, USERS, headers, Some(body))
        .await
}

/// The status of a read under this key.
async fn enters(world: &World, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    world
        .send(Who::Nobody, GATEWAY, ("GET", "/status"), &headers, None)
        .await
        .status
}

#[tokio::test]
async fn answers_about_users_are_those_of_the_samples() {
    let world = World::start(json!({})).await;
    let made = world.like(Who::Op1, "user-create", &[]).await;
    let put = &[("usr_4f2a91c07be3", text(&made, "actor_id"))][..];
    world.like(Who::Op1, "user-rotate-key", put).await;
    world.like(Who::Op2, "user-delete", put).await;
    world.like(Who::Op1, "user-unknown", &[]).await;
    world.like(Who::Op1, "user-unknown-role", &[]).await;
    std::fs::write(world.path().join("data/identity.db"), "no database").unwrap();
    world.like(Who::Op1, "identity-unavailable", &[]).await;
    assert_eq!(world.count(MEMORY, "operations WHERE state = 'pending'"), 0);
}

#[tokio::test]
async fn a_key_is_good_at_once_and_until_its_user_is_revoked() {
    let world = World::start(json!({})).await;
    let made = make(&world, &[], &ada()).await;
    let key = text(&made, "api_key");
    assert_eq!(enters(&world, key).await, 200);
    let one = format!("/v1/users/{}", text(&made, "actor_id"));
    let delete = async || {
        world
            .send(Who::Op1, MEMORY, ("DELETE", &one), &[], None)
            .await
            .status
    };
    assert_eq!(delete().await, 200);
    assert_eq!(enters(&world, key).await, 401);
    assert_eq!(delete().await, 404);
    let rotate = format!("{one}/rotate-key");
    let gone = world
        .send(Who::Op1, MEMORY, ("POST", &rotate), &[], Some(&json!({})))
        .await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn an_old_key_ends_with_its_window_also_over_a_restart() {
    let mut world = World::start(json!({"auth": {"rotation_window_ms": 60_000}})).await;
    let made = make(&world, &[], &ada()).await;
    let old = text(&made, "api_key");
    let rotate = format!("/v1/users/{}/rotate-key", text(&made, "actor_id"));
    let rotated = world
        .send(Who::Op1, MEMORY, ("POST", &rotate), &[], Some(&json!({})))
        .await;
    let new = text(&rotated, "api_key");
    world.reboot().await;
    assert_eq!(
        (enters(&world, old).await, enters(&world, new).await),
        (200, 200)
    );
    let later = "UPDATE keys SET expires_at_us = 1 WHERE expires_at_us IS NOT NULL";
    world.database("identity").execute(later, []).unwrap();
    assert_eq!(
        (enters(&world, old).await, enters(&world, new).await),
        (401, 200)
    );
}

#[tokio::test]
async fn a_repeated_request_makes_one_user_and_tells_its_key_again_though_no_database_has_it() {
    let mut world = World::start(json!({})).await;
    let header = [("x-idempotency-key", "k-1"), ("x-correlation-id", "c-1")];
    let first = make(&world, &header, &ada()).await;
    world.reboot().await;
    let again = make(&world, &header, &ada()).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(enters(&world, text(&again, "api_key")).await, 200);
    let key = text(&first, "api_key").as_bytes();
    let mut paths = vec![world.path().join("data")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let inside = std::fs::read_dir(&path).unwrap();
            paths.extend(inside.map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let inside = bytes.windows(key.len()).any(|window| window == key);
        assert!(!inside, "{}", path.display());
    }
}

#[tokio::test]
async fn a_user_has_a_known_role_a_key_may_end_and_observers_make_nobody() {
    let world = World::start(json!({})).await;
    for body in [
        json!({"display_name": "Ada"}),
        json!({"display_name": "Ada", "role": "root"}),
        json!({"display_name": "Ada", "role": ""}),
        json!({"display_name": "Ada", "role": "observer", "expires_in_ms": 0}),
    ] {
        assert_eq!(make(&world, &[], &body).await.status, 422, "{body}");
    }
    let observer = world
        .send(Who::Observer, MEMORY, USERS, &[], Some(&ada()))
        .await;
    assert_eq!(observer.status, 403);
    let short = json!({"display_name": "Ada", "role": "observer", "expires_in_ms": 1});
    let made = make(&world, &[], &short).await;
    assert_eq!(made.status, 201);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while enters(&world, text(&made, "api_key")).await != 401 {
        assert!(std::time::Instant::now() < deadline, "a key lives on");
    }
}

#[tokio::test]
async fn there_are_no_users_while_authentication_is_off() {
    let world = World::start(json!({"auth": {"enabled": false}})).await;
    let refused = make(&world, &[], &ada()).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body["error"]["code"], "AUTH_DISABLED");
}

/// The decision is stored and the process ends before the identities know: the next start makes it.
#[tokio::test]
async fn a_change_that_was_cut_short_is_made_at_the_next_start() {
    let mut world = World::start(json!({})).await;
    let made = make(&world, &[], &ada()).await;
    let id = text(&made, "actor_id").to_owned();
    let key = text(&made, "api_key").to_owned();
    let identity = world.database("identity");
    identity
        .execute_batch("DELETE FROM changes; DELETE FROM keys WHERE actor_id LIKE 'usr_%'; DELETE FROM users WHERE actor_id LIKE 'usr_%';")
        .unwrap();
    drop(identity);
    let undo = "UPDATE operations SET state = 'pending', answer_status = NULL, answer_body = NULL, \
                finished_at_us = NULL";
    world.database(MEMORY).execute(undo, []).unwrap();
    world.reboot().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while enters(&world, &key).await != 200 {
        assert!(std::time::Instant::now() < deadline, "{id} was forgotten");
    }
}
