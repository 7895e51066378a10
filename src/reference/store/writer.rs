//! The writer thread: it takes what waits, runs each job in a savepoint of one transaction,
//! commits once, and only then answers. An order of commits is an order of jobs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::StoreError;
use super::tx::{Desk, Tx};

/// Jobs that share one commit.
const GROUP: usize = 128;

/// How a group of jobs ends: the part that says when its callers are told.
pub trait GroupEnd: Send + Sync {
    /// Commits the group of this service's database and tells its callers how that went. Each of
    /// the two is to be called once.
    fn end(
        &self,
        service: &str,
        commit: &mut dyn FnMut() -> Result<(), StoreError>,
        tell: &mut dyn FnMut(Result<(), StoreError>),
    );
}

/// Tells nobody anything before the commit.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitFirst;

impl GroupEnd for CommitFirst {
    fn end(
        &self,
        _service: &str,
        commit: &mut dyn FnMut() -> Result<(), StoreError>,
        tell: &mut dyn FnMut(Result<(), StoreError>),
    ) {
        tell(commit());
    }
}

/// A job, and where its answer goes.
pub(super) trait Job: Send {
    /// Runs it. False: what it wrote has to be undone.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Tells the caller, after the commit or instead of it.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job that was handed to `Store::write`.
pub(super) struct Write<F, T> {
    job: Option<F>,
    result: Option<Result<T, StoreError>>,
    to: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Write<F, T> {
    pub(super) fn new(job: F, to: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self {
            job: Some(job),
            result: None,
            to,
        }
    }
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let job = self.job.take().expect("a job runs once");
        let result = catch_unwind(AssertUnwindSafe(|| job(tx))).unwrap_or_else(|_| {
            Err(StoreError::Refused(
                "a job of the store panicked".to_owned(),
            ))
        });
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(result), Ok(())) => result,
            (None, Ok(())) => Err(StoreError::Refused("a job was committed unseen".to_owned())),
        };
        // A caller that has gone away does not want to know.
        let _ = self.to.send(result);
    }
}

/// Runs until the last [`super::Store`] is dropped.
pub(super) fn work(
    conn: &Connection,
    desk: &Desk,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    written: &watch::Sender<u64>,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(next) = jobs.try_recv() else { break };
            group.push(next);
        }
        match begin(conn, desk, &mut group) {
            Err(error) => tell(desk, &mut group, &Err(error)),
            Ok(()) => desk
                .group_end
                .end(&desk.chain, &mut || commit(conn), &mut |told| {
                    tell(desk, &mut group, &told)
                }),
        }
        // Nobody may be listening.
        written.send_replace(desk.appended.get());
    }
}

/// Runs the group in a transaction that stays open.
fn begin(conn: &Connection, desk: &Desk, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    or_rollback(conn, run_all(conn, desk, group))
}

fn commit(conn: &Connection) -> Result<(), StoreError> {
    or_rollback(conn, conn.execute_batch("COMMIT").map_err(StoreError::from))
}

fn tell(desk: &Desk, group: &mut Vec<Box<dyn Job>>, told: &Result<(), StoreError>) {
    if let Err(error) = told {
        tracing::warn!(chain = desk.chain, jobs = group.len(), %error, "nothing was written");
    }
    for job in group.drain(..) {
        job.answer(told.clone());
    }
}

fn or_rollback(conn: &Connection, done: Result<(), StoreError>) -> Result<(), StoreError> {
    if done.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    done
}

fn run_all(conn: &Connection, desk: &Desk, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    for job in group {
        conn.execute_batch("SAVEPOINT job")?;
        let keep = job.run(&mut Tx::new(conn, desk));
        // A full disk or an I/O error ends the whole transaction: then no job of it has happened.
        if conn.is_autocommit() {
            return Err(StoreError::Unavailable(
                "the transaction was ended by SQLite".to_owned(),
            ));
        }
        conn.execute_batch(if keep {
            "RELEASE job"
        } else {
            "ROLLBACK TO job; RELEASE job"
        })?;
    }
    Ok(())
}
