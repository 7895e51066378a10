//! A crash script: operations are begun, awaited at a point that is visible from outside, the
//! target is killed there and started again. Also what holds an operation at such a point: the
//! write lock of a database, and a client that never reads its answer.
//!
//! It records and decides nothing: whether an operation was cut where it should be is read from
//! the doubles' log by whoever judges.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::base::Clock;
use crate::target::{Ask, Exchange, Instance, Listening, StartError};

/// How far an operation with a call to a double has come when the target is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The call has reached the double and has no effect yet.
    Arrived,
    /// It has its effect and no answer.
    Committed,
    /// The double has answered, and the target cannot have stored that.
    Unstored,
    /// The answer is on its way to the client, which has not read it.
    AnswerDue,
}

/// What happened around one KILL.
#[derive(Debug)]
pub struct Crash {
    /// What became of the operations in flight, in the order in which they were begun.
    pub begun: Vec<Exchange>,
    /// When the process was gone.
    pub killed_us: u64,
    /// When the next one was ready; why it was not.
    pub ready: Result<u64, StartError>,
}

/// Operations that were begun and not awaited.
#[derive(Default)]
pub struct InFlight {
    tasks: JoinSet<(usize, Exchange)>,
}

impl InFlight {
    /// Begins one more.
    pub fn begin(&mut self, request: impl Future<Output = Exchange> + Send + 'static) {
        let number = self.tasks.len();
        self.tasks.spawn(async move { (number, request.await) });
    }

    /// Waits until each is answered or has failed; in the order in which they were begun.
    pub async fn ended(self) -> Vec<Exchange> {
        let mut ended = self.tasks.join_all().await;
        ended.sort_by_key(|(number, _)| *number);
        ended.into_iter().map(|(_, exchange)| exchange).collect()
    }
}

/// Kills the target, whatever it is doing, sees the operations in flight end, makes the world
/// ready for the next process by `between`, and starts it on the same data.
///
/// # Errors
/// When there is no process that could be killed.
pub async fn crash(
    instance: &mut Instance,
    clock: Clock,
    in_flight: InFlight,
    between: impl FnOnce(),
) -> Result<Crash, crate::target::StopError> {
    instance.kill().await?;
    let killed_us = clock.now_us();
    let begun = in_flight.ended().await;
    between();
    let ready = instance.start_again().await.map(|()| clock.now_us());
    Ok(Crash {
        begun,
        killed_us,
        ready,
    })
}

/// The write lock of a SQLite database, held by the harness: until it is dropped nobody else
/// writes, while everybody reads.
#[derive(Debug)]
pub struct WriteLock {
    path: PathBuf,
    connection: Connection,
}

impl WriteLock {
    /// Waits for the lock, at most `bound`.
    ///
    /// # Errors
    /// When there is no such database, or somebody else holds it for longer.
    pub async fn take(path: &Path, bound: Duration) -> anyhow::Result<Self> {
        let path = path.to_owned();
        let taken = tokio::task::spawn_blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(bound)?;
            connection.execute_batch("BEGIN IMMEDIATE")?;
            Ok::<_, rusqlite::Error>(Self { path, connection })
        });
        Ok(taken.await??)
    }

    /// The database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        // Closing the connection would do the same; nothing was written.
        let _ = self.connection.execute_batch("ROLLBACK");
    }
}

/// A request whose answer is never read.
#[derive(Debug)]
pub struct Unread {
    stream: TcpStream,
    exchange: Exchange,
    clock: Clock,
}

impl Unread {
    /// Sends the request on a connection of its own, under the header of a credential.
    ///
    /// # Errors
    /// When the service is not known or does not take the request.
    pub async fn send(
        listening: &Listening,
        secret: Option<(&'static str, String)>,
        ask: Ask,
        clock: Clock,
    ) -> io::Result<Self> {
        let url = listening.services.get(&ask.service);
        let address = url.and_then(|url| url.strip_prefix("http://"));
        let address = address.ok_or_else(|| {
            io::Error::other(format!("the target names no address of {}", ask.service))
        })?;
        let address = address.trim_end_matches('/');
        let body = ask
            .body
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {address}\r\n",
            ask.method, ask.path
        );
        let length = body.len();
        head.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {length}\r\n"
        ));
        let headers = ask
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let secret = secret.as_ref().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in headers.chain(secret) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(address).await?;
        let invoked_us = clock.now_us();
        stream
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .await?;
        let exchange = Exchange {
            service: ask.service,
            method: ask.method,
            path: ask.path,
            correlation_id: ask.correlation_id.unwrap_or_default(),
            headers: ask.headers,
            body: ask.body,
            invoked_us,
            returned_us: None,
            answer: None,
            error: Some("the answer was left unread".to_owned()),
        };
        Ok(Self {
            stream,
            exchange,
            clock,
        })
    }

    /// Waits until the first byte of the answer is here; says when that was seen.
    ///
    /// # Errors
    /// When the connection ends instead.
    pub async fn due(&self) -> io::Result<u64> {
        match self.stream.peek(&mut [0]).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => Ok(self.clock.now_us()),
        }
    }

    /// Closes the connection and gives the request as one without an answer.
    #[must_use]
    pub fn abandon(self) -> Exchange {
        self.exchange
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rusqlite::Connection;
    use serde_json::json;

    use super::{InFlight, Unread, WriteLock};
    use crate::base::{Clock, Seed};
    use crate::doubles::{Behaviour, Double, Kind, Point};
    use crate::target::{Ask, Credential, Exchange, Keys, Listening};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    fn exchange(path: &str) -> Exchange {
        Exchange {
            service: String::new(),
            method: String::new(),
            path: path.to_owned(),
            correlation_id: String::new(),
            headers: BTreeMap::default(),
            body: None,
            invoked_us: 0,
            returned_us: None,
            answer: None,
            error: None,
        }
    }

    #[tokio::test]
    async fn a_held_lock_stops_writers_and_no_reader_and_ends_with_its_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t (n)")
            .unwrap();
        other.busy_timeout(SHORT).unwrap();
        let lock = WriteLock::take(&path, SHORT).await.unwrap();
        assert_eq!(lock.path(), path);
        assert!(other.execute("INSERT INTO t VALUES (1)", []).is_err());
        let rows = |db: &Connection| db.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        assert_eq!(rows(&other), Ok(0_i64));
        assert!(
            WriteLock::take(&path, SHORT).await.is_err(),
            "one at a time"
        );
        drop(lock);
        assert_eq!(other.execute("INSERT INTO t VALUES (1)", []), Ok(1));
        assert_eq!(rows(&other), Ok(1_i64));
    }

    #[tokio::test]
    async fn a_lock_makes_no_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.db");
        assert!(WriteLock::take(&path, SHORT).await.is_err());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn operations_come_back_in_the_order_of_their_beginning() {
        let mut in_flight = InFlight::default();
        let (free, wait) = tokio::sync::oneshot::channel::<()>();
        in_flight.begin(async move {
            wait.await.expect("the second operation frees the first");
            exchange("first")
        });
        in_flight.begin(async move {
            free.send(()).expect("the first waits");
            exchange("second")
        });
        let paths: Vec<_> = in_flight
            .ended()
            .await
            .into_iter()
            .map(|one| one.path)
            .collect();
        assert_eq!(paths, ["first", "second"]);
    }

    fn secret() -> Option<(&'static str, String)> {
        Keys::new(Seed(1)).header(&Credential::Operator(1))
    }

    #[tokio::test]
    async fn an_unread_answer_is_due_when_it_was_sent_and_not_before() {
        let clock = Clock::start();
        let double = Double::start(Kind::Models, clock).await.unwrap();
        let listening = Listening::remote(&double.url());
        double.behave(Behaviour::hold(Point::Committed));
        let ask = Ask::post("api-gateway", "/chat", json!({"input_text": "hi"})).key("k-1");
        let unread = Unread::send(&listening, secret(), ask, clock)
            .await
            .unwrap();
        double.held(1, LONG).await.unwrap();
        assert!(
            tokio::time::timeout(SHORT, unread.due()).await.is_err(),
            "held"
        );
        double.release();
        let due_us = unread.due().await.unwrap();
        let call = double.calls().remove(0);
        assert!(call.committed_us.unwrap() <= due_us);
        assert_eq!(call.body["input_text"], "hi");
        assert_eq!(call.headers["x-idempotency-key"], "k-1");
        assert_eq!(call.headers["authorization"], "<redacted>");
        let exchange = unread.abandon();
        assert_eq!((exchange.status(), exchange.returned_us), (0, None));
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_no_answer() {
        let clock = Clock::start();
        let double = Double::start(Kind::Models, clock).await.unwrap();
        let listening = Listening::remote(&double.url());
        double.behave(Behaviour::cut(Point::Arrived));
        let ask = Ask::post("api-gateway", "/chat", json!({}));
        let unread = Unread::send(&listening, None, ask, clock).await.unwrap();
        assert!(unread.due().await.is_err());
        let ask = Ask::post("eva-os", "/approve", json!({}));
        assert!(Unread::send(&listening, None, ask, clock).await.is_err());
    }
}
