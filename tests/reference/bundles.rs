//! Incident bundles of a running, a stopped and a tampered deployment, as the other side of the
//! contract sees them.

use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use sonia_gate::contract::bundle::{Verdict, Wrong, verify_path};
use sonia_gate::reference::bundle::{self, BundleError, Exported};
use sonia_gate::reference::{Options, Parts};

use super::world::{GATEWAY, World};

async fn export(world: &World, name: &str) -> Result<Exported, BundleError> {
    let folder = world.path();
    let options = Options::new(folder.join("data"), folder.join("config.json"));
    bundle::export(&options, &Parts::default(), &folder.join(name)).await
}

/// What both verifiers say of both forms: the same.
fn verdict(exported: &Exported) -> Verdict {
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let ours = verify_path(&exported.directory, &key).unwrap();
    assert_eq!(verify_path(&exported.archive, &key).unwrap(), ours);
    for path in [&exported.directory, &exported.archive] {
        let theirs = bundle::verify(path, &key, &Parts::default()).unwrap();
        let theirs: Verdict = serde_json::from_value(json!(theirs)).unwrap();
        let named = |verdict: &Verdict| {
            let pair =
                |one: &sonia_gate::contract::bundle::Problem| (one.file.clone(), one.problem);
            verdict.problems.iter().map(pair).collect::<Vec<_>>()
        };
        assert_eq!((theirs.ok, named(&theirs)), (ours.ok, named(&ours)));
        assert_eq!(theirs.bundle_id, ours.bundle_id);
    }
    ours
}

fn json_of(exported: &Exported, file: &str) -> Value {
    let bytes = std::fs::read(exported.directory.join(file)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn signing(patch: Value) -> World {
    let mut config = json!({"audit": {"key_file": "audit.pem"}});
    sonia_gate::base::json::merge(&mut config, &patch);
    World::start(config).await
}

#[tokio::test]
async fn a_bundle_is_made_beside_a_running_process_and_after_it() {
    let password = json!({"backends": {"models": {"url": "http://u:geheim@127.0.0.1:1"}}});
    let mut world = signing(password).await;
    world.session().await;
    let running = export(&world, "one").await.unwrap();
    let seen = verdict(&running);
    assert!(seen.ok, "{:?}", seen.problems);
    assert_eq!(seen.bundle_id.as_deref(), Some(running.bundle_id.as_str()));
    assert_eq!(json_of(&running, "summary.json")["services"][GATEWAY], "up");
    assert_eq!(
        json_of(&running, "audit/api-gateway.json")["proof"]["entry_count"],
        1
    );
    world.stop().await;
    let stopped = export(&world, "two").await.unwrap();
    assert!(verdict(&stopped).ok);
    assert_ne!(stopped.bundle_id, running.bundle_id);
    assert_eq!(
        json_of(&stopped, "summary.json")["services"][GATEWAY],
        "down"
    );
    let config = json_of(&stopped, "config.json");
    assert_eq!(
        config["backends"]["models"]["url"],
        "http://<redacted>@127.0.0.1:1"
    );
    let again = export(&world, "two").await.unwrap_err();
    assert!(
        again.to_string().ends_with("two is there already"),
        "{again}"
    );
    let left: Vec<PathBuf> = std::fs::read_dir(world.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(".incident")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_log_and_whatever_it_says_goes_in_without_secrets() {
    let mut world = signing(json!({})).await;
    world.stop().await;
    let logs = world.path().join("data/logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("sonia.log"), "svc_test at http://u:p@h/x\n").unwrap();
    let exported = export(&world, "one").await.unwrap();
    let log = std::fs::read_to_string(exported.directory.join("logs/sonia.log")).unwrap();
    assert_eq!(log, "<redacted> at http://<redacted>@h/x\n");
    assert!(verdict(&exported).ok);
}

/// It is what a person needs most then, and nobody takes it for clean.
#[tokio::test]
async fn a_broken_chain_is_exported_as_it_is_and_refused_by_every_verification() {
    let mut world = signing(json!({})).await;
    for _ in 0..3 {
        world.session().await;
    }
    world.stop().await;
    let database = world.path().join("data/api-gateway.db");
    let tamper = rusqlite::Connection::open(&database).unwrap();
    let triggers =
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_log'";
    let names: Vec<String> = tamper
        .prepare(triggers)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for name in names {
        tamper
            .execute_batch(&format!("DROP TRIGGER {name}"))
            .unwrap();
    }
    let sql = "UPDATE audit_log SET actor_id = 'op-9' WHERE seq = 1";
    assert_eq!(tamper.execute(sql, []).unwrap(), 1);
    drop(tamper);
    let exported = export(&world, "one").await.unwrap();
    let broken: Vec<_> = exported
        .broken
        .iter()
        .map(|one| (one.chain.as_str(), one.seq))
        .collect();
    assert_eq!(broken, [(GATEWAY, 1)]);
    let segment = json_of(&exported, "audit/api-gateway.json");
    assert_eq!(
        (&segment["state"], &segment["proof"]),
        (&json!("broken"), &Value::Null)
    );
    assert_eq!(segment["entries"][1]["actor_id"], "op-9");
    let seen = verdict(&exported);
    assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
    let problem = &seen.problems[0];
    assert_eq!(
        (problem.file.as_str(), problem.problem),
        ("audit/api-gateway.json", Wrong::Chain)
    );
    // A database that is none any more is a broken chain too.
    // Its log is cut as well: what is read from there would still be the chain.
    std::fs::write(world.path().join("data/eva-os.db"), "no database").unwrap();
    std::fs::write(world.path().join("data/eva-os.db-wal"), "").unwrap();
    let exported = export(&world, "two").await.unwrap();
    assert!(exported.broken.iter().any(|one| one.chain == "eva-os"));
    assert!(verdict(&exported).names("audit/eva-os.json"));
}

#[tokio::test]
async fn without_a_key_there_is_no_bundle_and_no_command_is_named() {
    let world = World::start(json!({})).await;
    let error = export(&world, "one").await.unwrap_err();
    assert!(matches!(error, BundleError::NoKey), "{error}");
    assert!(!world.path().join("one").exists());
}
