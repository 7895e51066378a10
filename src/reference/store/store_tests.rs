use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::reference::audit::{Break, Link, Origin, Outcome, Sha256Chain, each};
use crate::reference::time::SystemClock;

fn opening(dir: &Path) -> Opening {
    Opening {
        path: dir.join("api-gateway.db"),
        service: "api-gateway".to_owned(),
        migrate: schema::up,
        after_migration: Vec::new(),
        busy_timeout: Duration::from_millis(20),
        start_deadline: Duration::from_millis(100),
        chain: Arc::new(Sha256Chain),
        verify: Box::new(|conn| each(conn, &Sha256Chain, "api-gateway", |_| Ok(()))),
        clock: Arc::new(SystemClock),
        group_end: Arc::new(CommitFirst),
    }
}

async fn store(dir: &Path) -> Store {
    open(opening(dir)).await.unwrap().store
}

fn draft(action: &str) -> crate::reference::audit::Draft {
    let origin = Origin {
        actor_id: "op-1".to_owned(),
        actor_role: "operator".to_owned(),
        via: None,
        correlation_id: "c-1".to_owned(),
        request_id: "r-1".to_owned(),
        causal_parent: None,
        replay_generation: 0,
        payload_sha256: crate::reference::digest::sha256(b"{}"),
    };
    origin.draft(action, "thing/1", Outcome::Ok)
}

async fn count(store: &Store, table: &'static str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store
        .read(move |conn| conn.query_row(&sql, [], |row| row.get(0)))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_failed_job_leaves_nothing_and_its_neighbours_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let jobs = (0..20).map(|n| {
        store.write(move |tx| {
            tx.counter("n")?;
            tx.audit(draft("test"))?;
            match n % 3 {
                0 => Err(StoreError::Refused("on purpose".to_owned())),
                1 if n == 1 => panic!("on purpose"),
                _ => Ok(()),
            }
        })
    });
    let results = futures_util::future::join_all(jobs).await;
    let kept = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(kept, 12);
    assert_eq!(store.write(|tx| tx.counter("n")).await, Ok(13));
    assert_eq!(count(&store, "audit_log").await, 12);
    let broken = store.read(|conn| each(conn, &Sha256Chain, "api-gateway", |_| Ok(())));
    assert_eq!(broken.await, Ok(None));
    assert_eq!(*store.written().borrow(), 12);
}

#[tokio::test]
async fn counters_and_event_numbers_go_on_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let run = async || {
        let store = store(dir.path()).await;
        let counted = store.write(|tx| {
            tx.event("test.happened", "c-1", serde_json::json!({}))?;
            tx.counter("fence")
        });
        let counted = counted.await.unwrap();
        let last =
            store.read(|conn| conn.query_row("SELECT max(seq) FROM events", [], |r| r.get(0)));
        (counted, last.await.unwrap())
    };
    assert_eq!(run().await, (1, 1_i64));
    assert_eq!(run().await, (2, 2));
}

#[tokio::test]
async fn an_attempt_that_fails_is_undone_and_the_job_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let tried = store.write(|tx| {
        tx.counter("kept")?;
        let tried = tx.attempt(|tx| {
            tx.counter("undone")?;
            Err::<(), _>(StoreError::Refused("on purpose".to_owned()))
        })?;
        tx.attempt(|tx| tx.counter("kept"))??;
        Ok(tried.is_err())
    });
    assert_eq!(tried.await, Ok(true));
    assert_eq!(store.write(|tx| tx.counter("kept")).await, Ok(3));
    assert_eq!(store.write(|tx| tx.counter("undone")).await, Ok(1));
}

#[tokio::test]
async fn a_locked_database_is_waited_for_until_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api-gateway.db");
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder
        .pragma_update(None, "locking_mode", "EXCLUSIVE")
        .unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refused = open(opening(dir.path())).await;
    assert!(matches!(refused.err(), Some(OpenError::Locked { .. })));
    let patient = Opening {
        start_deadline: Duration::from_secs(30),
        ..opening(dir.path())
    };
    let waiting = tokio::spawn(open(patient));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(holder);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()).await);
    let path = dir.path().join("api-gateway.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let refused = open(opening(dir.path())).await.err();
    assert!(
        matches!(refused, Some(OpenError::Newer { found: 99, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_way_back_drops_the_keys_and_nothing_else_and_forward_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path()).await;
    opened.write(|tx| tx.audit(draft("test"))).await.unwrap();
    drop(opened);
    let path = dir.path().join("api-gateway.db");
    let tables = || -> (i64, Vec<(String, String)>) {
        let conn = rusqlite::Connection::open(&path).unwrap();
        let version = conn
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        let mut all = conn
            .prepare("SELECT name, coalesce(sql, '') FROM sqlite_master")
            .unwrap();
        let rows = all
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        (version, rows.map(Result::unwrap).collect())
    };
    let (version, before) = tables();
    migrate_down(&path, "api-gateway").unwrap();
    let (lower, without) = tables();
    assert_eq!(lower, version - 1);
    let gone: Vec<_> = before.iter().filter(|row| !without.contains(row)).collect();
    assert!(
        gone.iter()
            .all(|(name, _)| name.contains("idempotency_keys")),
        "{gone:?}"
    );
    assert_eq!(
        gone.iter()
            .filter(|(_, sql)| sql.starts_with("CREATE"))
            .count(),
        1
    );
    let again = store(dir.path()).await;
    assert_eq!(tables().0, version);
    assert_eq!(count(&again, "audit_log").await, 1);
}

#[tokio::test]
async fn opening_verifies_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let opened = store(dir.path()).await;
    for _ in 0..3 {
        opened.write(|tx| tx.audit(draft("test"))).await.unwrap();
    }
    drop(opened);
    let tamper = "DROP TRIGGER audit_log_refuses_update; \
                  UPDATE audit_log SET ts = ts || ' ' WHERE seq = 2";
    let path = dir.path().join("api-gateway.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(tamper)
        .unwrap();
    let found = open(opening(dir.path())).await.unwrap().broken;
    let reason = crate::reference::audit::Reason::Hash;
    assert_eq!(
        found,
        Some(Break {
            chain: "api-gateway".to_owned(),
            seq: 2,
            reason
        })
    );
}

/// A rule that begins a new chain at each start.
struct NewGenesis;

impl crate::reference::audit::ChainRule for NewGenesis {
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last.filter(|_| !first_since_start), first_since_start)
    }
    fn digest(&self, entry: &crate::reference::audit::Entry) -> String {
        Sha256Chain.digest(entry)
    }
    fn follows(&self, _last: Option<&Link>, _entry: &crate::reference::audit::Entry) -> bool {
        true
    }
}

#[tokio::test]
async fn the_rule_is_told_which_entry_is_the_first_since_start() {
    let dir = tempfile::tempdir().unwrap();
    let zeros = "audit_log WHERE prev_hash = \
                 '0000000000000000000000000000000000000000000000000000000000000000'";
    for started in 1..=2 {
        let opening = Opening {
            chain: Arc::new(NewGenesis),
            after_migration: vec!["DROP TRIGGER IF EXISTS audit_log_appends_in_order".to_owned()],
            ..opening(dir.path())
        };
        let store = open(opening).await.unwrap().store;
        store.write(|tx| tx.audit(draft("test"))).await.unwrap();
        store.write(|tx| tx.audit(draft("test"))).await.unwrap();
        assert_eq!(count(&store, zeros).await, started);
    }
}
