//! What has been spent on restarts: a row a restart in eva-os's database, written before the
//! restart and read whenever one is due. Nothing of it is remembered anywhere else.

use rusqlite::{Connection, params};

use crate::reference::config::Config;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;

/// Where restarts are written down.
pub trait Budgets: Send + Sync {
    /// When a service was restarted after this moment.
    ///
    /// # Errors
    /// What SQLite says; nobody is restarted then.
    fn spent(&self, sql: &Connection, service: &str, after_us: i64) -> rusqlite::Result<Vec<i64>>;

    /// Writes one down, and forgets those of the service that are older than `after_us`.
    ///
    /// # Errors
    /// What SQLite says; nobody is restarted then.
    fn spend(&self, tx: &mut Tx<'_>, restart: &Spent<'_>, after_us: i64) -> Result<(), StoreError>;
}

/// A restart that is to be written down.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    /// Of this service.
    pub service: &'a str,
    /// When.
    pub at_us: i64,
    /// Which one in the window.
    pub number: u64,
}

/// In the table `restart_budgets`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table;

impl Budgets for Table {
    fn spent(&self, sql: &Connection, service: &str, after_us: i64) -> rusqlite::Result<Vec<i64>> {
        let mut statement = sql.prepare_cached(
            "SELECT at_us FROM restart_budgets WHERE service = ?1 AND at_us > ?2",
        )?;
        let due = statement.query_map(params![service, after_us], |row| row.get(0))?;
        due.collect()
    }

    fn spend(&self, tx: &mut Tx<'_>, restart: &Spent<'_>, after_us: i64) -> Result<(), StoreError> {
        let Spent {
            service,
            at_us,
            number,
        } = restart;
        tx.sql()
            .prepare_cached("DELETE FROM restart_budgets WHERE service = ?1 AND at_us <= ?2")?
            .execute(params![service, after_us])?;
        let number = i64::try_from(*number).unwrap_or(i64::MAX);
        tx.sql()
            .prepare_cached(
                "INSERT INTO restart_budgets (service, at_us, number) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![service, at_us, number])?;
        Ok(())
    }
}

/// How many restarts of all services are still counted: the restore stage `budgets`. A table that
/// cannot be read restores nothing and keeps nobody from starting: it refuses restarts later.
///
/// # Errors
/// None; the signature is that of a stage.
pub fn count(sql: &Connection, config: &Config, now: Timestamp) -> rusqlite::Result<i64> {
    let after_us = now.minus_ms(config.supervisor.window_ms).us();
    let counted = sql.query_row(
        "SELECT count(*) FROM restart_budgets WHERE at_us > ?1",
        [after_us],
        |row| row.get(0),
    );
    Ok(counted.unwrap_or_else(|error| {
        tracing::warn!(%error, "the restart budgets cannot be read");
        0
    }))
}
