//! Signed checkpoints: what cuts, forks and older copies of a database come to.

use std::fs;
use std::path::PathBuf;

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde_json::{Value, json};
use sonia_gate::contract::checkpoint::{head_of, question};
use sonia_gate::contract::merkle::Head;
use sonia_gate::contract::{Body, Checkpoint, Consistency, Export, Signed, read};

use super::world::{Answer, GATEWAY, Who, World};

fn key() -> VerifyingKey {
    SigningKey::from_bytes(&[7; 32]).verifying_key()
}

async fn signing(entries: usize) -> World {
    let world = World::start(json!({"audit": {"key_file": "audit.pem"}})).await;
    for _ in 0..entries {
        world.session().await;
    }
    world
}

async fn get(world: &World, path: &str) -> Answer {
    world
        .send(Who::Observer, GATEWAY, ("GET", path), &[], None)
        .await
}

async fn checkpoint(world: &World) -> Head {
    let answer = get(world, "/v3/audit/checkpoint").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let signed: Body<Signed> = read(&answer.body).unwrap();
    let opened = Checkpoint::open(&signed.data.checkpoint, GATEWAY, &key());
    opened.unwrap().head
}

async fn consistency(world: &World, from: &Head) -> Result<Head, Value> {
    let path = format!("/v3/audit/consistency?chain=api-gateway&{}", question(from));
    let answer = get(world, &path).await;
    if answer.status != 200 {
        return Err(answer.body["error"]["details"].clone());
    }
    let told: Body<Consistency> = read(&answer.body).unwrap();
    Ok(told.data.verify(GATEWAY, from, &key()).unwrap())
}

fn broken(seq: u64, reason: &str) -> Value {
    json!({"chain": "api-gateway", "seq": seq, "reason": reason})
}

/// Files of the gateway's chain, and their content.
fn files(world: &World, names: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = world.path().join("data");
    let file = |name: &&str| {
        let path = folder.join(format!("api-gateway.{name}"));
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    names.iter().map(file).collect()
}

fn restore(world: &World, files: &[(PathBuf, Vec<u8>)]) {
    for log in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(world.path().join(format!("data/api-gateway.{log}")));
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

fn fold(world: &World) {
    let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
    let database = world.database(GATEWAY);
    database.query_row(fold, [], |_| Ok(())).unwrap();
}

#[tokio::test]
async fn answers_are_those_of_the_samples() {
    let world = signing(3).await;
    world.like(Who::Observer, "audit-checkpoint", &[]).await;
    world.like(Who::Observer, "audit-export-signed", &[]).await;
    world
        .like(Who::Observer, "audit-consistency-forked", &[])
        .await;
    world
        .like(Who::Observer, "audit-consistency-malformed", &[])
        .await;
    let sample = super::world::sample("audit-consistency");
    let (_, root) = sample["path"].as_str().unwrap().rsplit_once('=').unwrap();
    let export = get(&world, "/v1/audit/export?to_seq=0").await;
    let export: Body<Export> = read(&export.body).unwrap();
    let own = question(&head_of(&export.data.entries).unwrap());
    let put = &[(root, own.rsplit_once('=').unwrap().1)];
    world.like(Who::Observer, "audit-consistency", put).await;
    let twin = get(&world, "/v1/audit/checkpoint").await;
    assert_eq!(twin.headers["x-migrate-to"], "/v3/audit/checkpoint");
    let unknown = get(&world, "/v3/audit/checkpoint?chain=none").await;
    assert_eq!(unknown.status, 404);
    let without = World::start(json!({})).await;
    without
        .like(Who::Observer, "audit-checkpoint-unsigned", &[])
        .await;
}

#[tokio::test]
async fn a_checkpoint_is_of_all_entries_and_each_one_goes_on_from_the_last() {
    let world = signing(0).await;
    let mut seen = vec![checkpoint(&world).await];
    for size in 1..8_u64 {
        world.session().await;
        let now = checkpoint(&world).await;
        assert_eq!(now.size, size);
        seen.push(now);
        for old in &seen {
            assert_eq!(consistency(&world, old).await, Ok(now));
        }
    }
    let export = get(&world, "/v1/audit/export?from_seq=2&to_seq=3").await;
    let part: Body<Export> = read(&export.body).unwrap();
    let note = part.data.proof.unwrap().checkpoint.unwrap();
    let all: Body<Export> = read(&get(&world, "/v1/audit/export").await.body).unwrap();
    let opened = Checkpoint::open(&note, GATEWAY, &key()).unwrap().head;
    assert_eq!(Some(opened), head_of(&all.data.entries));
    // A plus that was not escaped, and the other alphabet.
    let old = seen.last().unwrap();
    let escaped = question(old);
    for (from, to) in [("%2B", "+"), ("%2B", "-"), ("%2F", "_"), ("%3D", "")] {
        let path = format!("/v3/audit/consistency?{}", escaped.replace(from, to));
        assert_eq!(get(&world, &path).await.status, 200, "{path}");
    }
    let other = get(&world, "/v3/audit/checkpoint?chain=eva-os").await;
    assert!(
        other.body["checkpoint"]
            .as_str()
            .unwrap()
            .starts_with("sonia.local/eva-os\n0\n")
    );
}

#[tokio::test]
async fn a_tail_that_was_cut_off_is_missed_by_every_read_and_at_start() {
    let mut world = signing(5).await;
    let seen = checkpoint(&world).await;
    let cut = "DROP TRIGGER audit_log_refuses_delete; DELETE FROM audit_log WHERE seq >= 3;";
    world.database(GATEWAY).execute_batch(cut).unwrap();
    for round in 0..2 {
        if round == 1 {
            world.reboot().await;
            // Nothing was read yet: the start itself has seen it.
            let refused = world.like(Who::Op1, "audit-broken-mutation", &[]).await;
            assert_eq!(refused.body["error"]["details"], broken(3, "checkpoint"));
        }
        for read in [
            "checkpoint",
            "export",
            "export?to_seq=0",
            "export?from_seq=4",
        ] {
            let refused = get(&world, &format!("/v3/audit/{read}")).await;
            let details = &refused.body["error"]["details"];
            assert_eq!(
                (refused.status, details),
                (409, &broken(3, "checkpoint")),
                "{read}"
            );
        }
        assert_eq!(
            consistency(&world, &seen).await,
            Err(broken(3, "checkpoint"))
        );
        world.like(Who::Op1, "audit-broken-mutation", &[]).await;
    }
    let forensic = get(&world, "/v3/audit/export?forensic=true").await;
    assert_eq!(forensic.body["entries"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_older_database_is_behind_its_checkpoint_also_without_the_key() {
    let mut world = signing(3).await;
    checkpoint(&world).await;
    fold(&world);
    let old = files(&world, &["db"]);
    for _ in 0..2 {
        world.session().await;
    }
    checkpoint(&world).await;
    world.stop().await;
    fold(&world);
    restore(&world, &old);
    world.boot().await;
    let refused = world.like(Who::Op1, "audit-broken-mutation", &[]).await;
    assert_eq!(refused.body["error"]["details"], broken(3, "checkpoint"));
    let config = world.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"audit.pem\"", "null")).unwrap();
    world.reboot().await;
    world.like(Who::Op1, "audit-broken-mutation", &[]).await;
    let read = get(&world, "/v3/audit/export?to_seq=0").await;
    assert_eq!(read.body["error"]["details"], broken(3, "checkpoint"));
}

#[tokio::test]
async fn an_older_pair_is_seen_by_whoever_kept_a_checkpoint_and_stops_nobody() {
    let mut world = signing(3).await;
    checkpoint(&world).await;
    fold(&world);
    let old = files(&world, &["db", "checkpoint"]);
    for _ in 0..2 {
        world.session().await;
    }
    let witnessed = checkpoint(&world).await;
    world.stop().await;
    fold(&world);
    restore(&world, &old);
    world.boot().await;
    assert_eq!(
        consistency(&world, &witnessed).await,
        Err(broken(3, "checkpoint"))
    );
    for _ in 0..3 {
        world.session().await;
    }
    assert_eq!(checkpoint(&world).await.size, 6);
    assert_eq!(
        consistency(&world, &witnessed).await,
        Err(broken(4, "checkpoint"))
    );
    // Whoever asks with another root of his own does not stop the service.
    world.session().await;
}

#[tokio::test]
async fn a_kept_checkpoint_of_another_key_or_of_nobody_is_a_break() {
    for spoil in ["key", "garbage"] {
        let mut world = signing(2).await;
        checkpoint(&world).await;
        world.stop().await;
        match spoil {
            "key" => {
                let pem = world.path().join("audit.pem");
                let other = fs::read_to_string(&pem).unwrap();
                fs::write(&pem, other.replace("IEIAcH", "IEIAgI")).unwrap();
            }
            _ => fs::write(world.path().join("data/api-gateway.checkpoint"), "x").unwrap(),
        }
        world.boot().await;
        let refused = world.like(Who::Op1, "audit-broken-mutation", &[]).await;
        assert_eq!(
            refused.body["error"]["details"],
            broken(0, "checkpoint"),
            "{spoil}"
        );
        // The other chains had nothing to keep.
        world.like(Who::Op1, "memory-store", &[]).await;
    }
}

#[tokio::test]
async fn checkpoints_are_signed_and_kept_without_anybody_asking() {
    let audit = json!({"audit": {"key_file": "audit.pem", "checkpoint_every": 4}});
    let world = World::start(audit).await;
    let file = world.path().join("data/api-gateway.checkpoint");
    let size = || {
        let note = fs::read_to_string(&file).ok()?;
        let opened = Checkpoint::open(&note, GATEWAY, &key()).unwrap();
        Some(opened.head.size)
    };
    for _ in 0..3 {
        world.session().await;
    }
    assert_eq!(size(), None);
    for least in [4, 8] {
        for _ in 0..4 {
            world.session().await;
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while size().is_none_or(|size| size < least) {
            assert!(
                std::time::Instant::now() < deadline,
                "{:?} of {least}",
                size()
            );
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn many_that_sign_at_once_never_go_back() {
    let world = signing(1).await;
    let writes = async {
        for _ in 0..20 {
            world.session().await;
        }
    };
    let reads = (0..40).map(|_| checkpoint(&world));
    let ((), seen) = tokio::join!(writes, futures_util::future::join_all(reads));
    let last = checkpoint(&world).await;
    assert_eq!(last.size, 21);
    for head in seen {
        assert_eq!(consistency(&world, &head).await, Ok(last));
    }
}
