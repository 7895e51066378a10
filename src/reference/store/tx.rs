//! A transaction as its jobs see it: SQL, the time, the audit log, events and durable counters.

use std::cell::Cell;
use std::sync::Arc;

use rusqlite::{Connection, params};
use serde_json::Value;

use super::{GroupEnd, StoreError};
use crate::reference::audit::{self, ChainRule, Draft, Link};
use crate::reference::time::{Clock, Timestamp};

/// What every transaction of one database shares.
pub(super) struct Desk {
    pub(super) chain: String,
    pub(super) rule: Arc<dyn ChainRule>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) group_end: Arc<dyn GroupEnd>,
    /// The chain's last place when this process opened the database.
    pub(super) at_start: Option<Link>,
    /// How many entries the chain has, counting those of the transaction that is under way.
    pub(super) appended: Cell<u64>,
}

/// How many entries a chain has that ends here.
pub(super) fn entries(last: Option<&Link>) -> u64 {
    last.map_or(0, |link| u64::try_from(link.seq + 1).unwrap_or(0))
}

/// One job's share of a transaction.
pub struct Tx<'a> {
    conn: &'a Connection,
    desk: &'a Desk,
    now: Timestamp,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a Connection, desk: &'a Desk) -> Self {
        Self {
            conn,
            desk,
            now: desk.clock.now(),
        }
    }

    /// The writer's connection.
    pub fn sql(&self) -> &Connection {
        self.conn
    }

    /// The moment of this transaction; it does not move while the job runs.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Appends an entry to this database's chain; it commits with everything else in the job.
    ///
    /// # Errors
    /// What SQLite says, the append-only triggers included.
    pub fn audit(&mut self, draft: Draft) -> Result<Link, StoreError> {
        let Desk {
            chain,
            rule,
            at_start,
            appended,
            ..
        } = self.desk;
        let at_start = at_start.as_ref();
        let link = audit::append(self.conn, &**rule, chain, at_start, self.now, draft)?;
        appended.set(entries(Some(&link)));
        Ok(link)
    }

    /// Announces a state change under the next event number.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn event(
        &mut self,
        kind: &str,
        correlation_id: &str,
        data: Value,
    ) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO events (type, ts, correlation_id, data) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                kind,
                self.now.to_string(),
                correlation_id,
                data.to_string()
            ])?;
        Ok(())
    }

    /// The next value of a durable counter: 1, 2, 3 and so on, over restarts too.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn counter(&mut self, name: &str) -> Result<i64, StoreError> {
        Ok(self
            .conn
            .prepare_cached(
                "INSERT INTO counters (name, value) VALUES (?1, 1) \
                 ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            )?
            .query_row([name], |row| row.get(0))?)
    }

    /// Runs `part`; what it wrote is undone when it fails, and the rest of the job goes on.
    ///
    /// # Errors
    /// The store's own, outside; what `part` says, inside.
    pub fn attempt<T, E>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        self.conn.execute_batch("SAVEPOINT part")?;
        let result = part(self);
        match &result {
            Ok(_) => self.conn.execute_batch("RELEASE part")?,
            Err(_) => self.conn.execute_batch("ROLLBACK TO part; RELEASE part")?,
        }
        Ok(result)
    }
}
