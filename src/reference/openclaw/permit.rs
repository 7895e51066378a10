//! Whether a guarded tool may run: only for a decision that its issuer's own database shows as won
//! and not yet carried out, and only once.
//!
//! The issuer's database is trusted: an attacker who can write to it can make any call approved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags, OptionalExtension, named_params, params};
use serde_json::Value;

use crate::reference::store::{StoreError, Tx};

/// How long a read of an issuer's database waits for a lock.
const BUSY: Duration = Duration::from_secs(2);

/// Services whose decisions count.
pub const ISSUERS: [&str; 2] = ["api-gateway", "eva-os"];

/// A guarded call that asks to run.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whether the caller showed the service token.
    pub from_service: bool,
    /// The operation of the caller, which is the issuer's too.
    pub operation_id: String,
    /// 0 for a first run, n for the n-th replay of its dead letter.
    pub replay_generation: i64,
    /// The tool.
    pub tool_name: String,
    /// Its arguments.
    pub args: Value,
    /// The decision that the caller names.
    pub decision: Option<DecisionRef>,
    /// Whether that decision has let a tool run before, in this generation.
    pub consumed: bool,
    /// The database of the decision's issuer, if it is one of [`ISSUERS`].
    pub issuer_database: Option<PathBuf>,
}

/// A decision as openclaw's callers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRef {
    /// The service that asked a person.
    pub issuer: String,
    /// Its id there.
    pub id: String,
    /// The fence under which it was won.
    pub fence_token: i64,
}

/// What openclaw says to a guarded call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It may run.
    Granted,
    /// Its decision has let a tool run before.
    Consumed,
    /// It names no decision.
    Required,
    /// Its decision does not exist, is not won, or is for another call.
    Invalid,
}

/// The gate in front of guarded tools.
pub trait Permit: Send + Sync {
    /// Whether the decision is good.
    fn rule<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Ruling, StoreError>>;

    /// Uses the decision up, in the transaction that writes the operation: false when it was used
    /// before.
    fn consume(&self, tx: &mut Tx<'_>, ask: &Ask) -> Result<bool, StoreError>;
}

/// Asks the issuer's database; a primary key makes it once.
#[derive(Debug, Clone, Copy, Default)]
pub struct IssuersWord;

impl Permit for IssuersWord {
    fn rule<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Ruling, StoreError>> {
        Box::pin(async move {
            let Some(decision) = &ask.decision else {
                return Ok(Ruling::Required);
            };
            if ask.consumed {
                return Ok(Ruling::Consumed);
            }
            let Some(path) = ask.issuer_database.clone().filter(|_| ask.from_service) else {
                return Ok(Ruling::Invalid);
            };
            let (decision, operation_id) = (decision.clone(), ask.operation_id.clone());
            let generation = ask.replay_generation;
            let read = move || won(&path, &decision, &operation_id, generation);
            let found = tokio::task::spawn_blocking(read)
                .await
                .map_err(|broken| StoreError::Unavailable(broken.to_string()))??;
            let this_call =
                |(tool, args): (String, Value)| tool == ask.tool_name && args == ask.args;
            Ok(if found.is_some_and(this_call) {
                Ruling::Granted
            } else {
                Ruling::Invalid
            })
        })
    }

    fn consume(&self, tx: &mut Tx<'_>, ask: &Ask) -> Result<bool, StoreError> {
        let Some(decision) = &ask.decision else {
            return Ok(false);
        };
        let changed = tx.sql().execute(
            "INSERT INTO consumed_decisions
               (issuer, decision_id, replay_generation, fence_token, operation_id)
             VALUES (:issuer, :id, :generation, :fence, :operation) ON CONFLICT DO NOTHING",
            named_params! {
                ":issuer": decision.issuer, ":id": decision.id,
                ":generation": ask.replay_generation,
                ":fence": decision.fence_token, ":operation": ask.operation_id,
            },
        )?;
        Ok(changed == 1)
    }
}

/// Tool and arguments of a decision that was approved under that fence and whose operation, of this
/// generation, is still to be carried out: only a replay that the issuer has begun is one.
fn won(
    issuer: &Path,
    decision: &DecisionRef,
    operation_id: &str,
    generation: i64,
) -> Result<Option<(String, Value)>, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags(issuer, flags)?;
    sql.busy_timeout(BUSY)?;
    let found: Option<(String, String)> = sql
        .query_row(
            "SELECT d.tool_name, d.args FROM operations o JOIN decisions d ON d.id = o.decision_id
             WHERE o.id = :operation AND o.state = 'pending' AND o.fence_token = :fence
               AND d.id = :id AND d.state = 'approved' AND d.fence = :fence
               AND json_extract(o.context, '$.replay_generation') = :generation",
            named_params! {
                ":operation": operation_id, ":id": decision.id, ":fence": decision.fence_token,
                ":generation": generation,
            },
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((tool, args)) = found else {
        return Ok(None);
    };
    Ok(Some((tool, serde_json::from_str(&args)?)))
}

/// Whether that decision has let a tool run already, in this generation.
pub(super) fn consumed(
    sql: &Connection,
    issuer: &str,
    id: &str,
    generation: i64,
) -> rusqlite::Result<bool> {
    let mut found = sql.prepare_cached(
        "SELECT 1 FROM consumed_decisions WHERE issuer = ? AND decision_id = ?
           AND replay_generation = ?",
    )?;
    found.exists(params![issuer, id, generation])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn issuer() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api-gateway.db");
        let sql = Connection::open(&path).unwrap();
        sql.execute_batch(
            r#"CREATE TABLE operations (id, state, decision_id, fence_token, context);
               CREATE TABLE decisions (id, state, fence, tool_name, args);
               INSERT INTO decisions VALUES ('cnf_1', 'approved', 41, 'file.write', '{"a":1,"b":2}'),
                 ('cnf_2', 'pending', 42, 'file.write', '{}'), ('cnf_3', 'approved', 43, 'file.write', '{}');
               INSERT INTO operations VALUES
                 ('op_1', 'pending', 'cnf_1', 41, '{"replay_generation":0}'),
                 ('op_2', 'pending', 'cnf_2', 42, '{"replay_generation":0}'),
                 ('op_3', 'done', 'cnf_3', 43, '{"replay_generation":0}'),
                 ('op_4', 'pending', 'cnf_3', 43, '{"replay_generation":2}');"#,
        )
        .unwrap();
        (dir, path)
    }

    fn ask(path: &Path) -> Ask {
        Ask {
            from_service: true,
            operation_id: "op_1".into(),
            replay_generation: 0,
            tool_name: "file.write".into(),
            args: json!({"b": 2, "a": 1}),
            decision: Some(DecisionRef {
                issuer: "api-gateway".into(),
                id: "cnf_1".into(),
                fence_token: 41,
            }),
            consumed: false,
            issuer_database: Some(path.to_owned()),
        }
    }

    async fn rule(change: impl FnOnce(&mut Ask)) -> Ruling {
        let (_dir, path) = issuer();
        let mut ask = ask(&path);
        change(&mut ask);
        IssuersWord.rule(&ask).await.unwrap()
    }

    fn named(id: &str, fence_token: i64) -> Option<DecisionRef> {
        Some(DecisionRef {
            issuer: "api-gateway".into(),
            id: id.into(),
            fence_token,
        })
    }

    #[tokio::test]
    async fn a_won_decision_lets_its_own_call_run() {
        assert_eq!(rule(|_| ()).await, Ruling::Granted);
    }

    #[tokio::test]
    async fn nothing_else_runs() {
        assert_eq!(rule(|ask| ask.decision = None).await, Ruling::Required);
        assert_eq!(rule(|ask| ask.from_service = false).await, Ruling::Invalid);
        assert_eq!(rule(|ask| ask.consumed = true).await, Ruling::Consumed);
        assert_eq!(
            rule(|ask| ask.issuer_database = None).await,
            Ruling::Invalid
        );
        assert_eq!(
            rule(|ask| ask.tool_name = "shell.run".into()).await,
            Ruling::Invalid
        );
        assert_eq!(
            rule(|ask| ask.args = json!({"a": 1})).await,
            Ruling::Invalid
        );
        assert_eq!(
            rule(|ask| ask.operation_id = "op_9".into()).await,
            Ruling::Invalid
        );
        assert_eq!(
            rule(|ask| ask.decision = named("cnf_1", 40)).await,
            Ruling::Invalid
        );
        let pending = |ask: &mut Ask| {
            (ask.operation_id, ask.decision) = ("op_2".into(), named("cnf_2", 42));
        };
        assert_eq!(rule(pending).await, Ruling::Invalid);
        let carried_out = |ask: &mut Ask| {
            (ask.operation_id, ask.decision) = ("op_3".into(), named("cnf_3", 43));
        };
        assert_eq!(rule(carried_out).await, Ruling::Invalid);
    }

    #[tokio::test]
    async fn a_replay_runs_in_the_generation_that_its_issuer_has_begun() {
        let replay = |generation: i64| {
            rule(move |ask| {
                (ask.operation_id, ask.decision) = ("op_4".into(), named("cnf_3", 43));
                (ask.args, ask.replay_generation) = (json!({}), generation);
            })
        };
        assert_eq!(replay(2).await, Ruling::Granted);
        for other in [0, 1, 3] {
            assert_eq!(replay(other).await, Ruling::Invalid, "{other}");
        }
    }
}
