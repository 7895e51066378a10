//! Opening: wait for a lock until a deadline, migrate, refuse what is newer, verify the chain.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, oneshot, watch};

use super::readers::Readers;
use super::tx::{Desk, entries};
use super::{GroupEnd, Inner, QUEUE, Store, is_lock, schema, writer};
use crate::reference::audit::{self, Break, ChainRule};
use crate::reference::time::Clock;

/// Between two tries to open a database that somebody else has locked.
const LOCKED_RETRY: Duration = Duration::from_millis(20);

/// How a database is to be opened.
pub struct Opening {
    /// The file.
    pub path: PathBuf,
    /// The service that it belongs to, which is also its chain's name.
    pub service: String,
    /// Brings it to the newest schema.
    pub migrate: Migrate,
    /// Run after migration, at every start.
    pub after_migration: Vec<String>,
    /// How long a statement waits for another process's lock.
    pub busy_timeout: Duration,
    /// How long opening waits for it.
    pub start_deadline: Duration,
    /// The rule of the chain.
    pub chain: Arc<dyn ChainRule>,
    /// Verifies the chain before anything is appended.
    pub verify: Verify,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// When callers are told.
    pub group_end: Arc<dyn GroupEnd>,
}

/// Brings the database of a service to the newest schema.
pub type Migrate = fn(&mut Connection, &str) -> Result<(), schema::SchemaError>;

/// The first break of the chain in a database.
pub type Verify = Box<dyn Fn(&Connection) -> rusqlite::Result<Option<Break>> + Send>;

/// An open database, and what its verification found.
pub struct Opened {
    /// The database.
    pub store: Store,
    /// The first bad entry of its chain.
    pub broken: Option<Break>,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else holds it.
    #[error("{path}: still locked after {after:?}")]
    Locked {
        /// The file.
        path: PathBuf,
        /// The start-up deadline.
        after: Duration,
    },
    /// It was written by a newer program.
    #[error("{path}: schema {found} is newer than {known}, the newest this program knows")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its number.
        found: i64,
        /// The highest known number.
        known: usize,
    },
    /// It is no database, or a damaged one.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// Anything else.
    #[error("{path}: {message}")]
    Other {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
}

/// Opens on a thread of its own, which then is the writer.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(opening: Opening) -> Result<Opened, OpenError> {
    let (answer, opened) = oneshot::channel();
    let path = opening.path.clone();
    let name = format!("write-{}", opening.service);
    let thread = std::thread::Builder::new().name(name);
    let spawned = thread.spawn(move || {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (conn, desk, broken) = match connect(&opening) {
            Ok(ready) => ready,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let (written, watched) = watch::channel(desk.appended.get());
        let readers = Readers::new(&opening.path, opening.busy_timeout);
        let store = Store {
            inner: Arc::new(Inner {
                path: opening.path,
                jobs,
                readers,
                written: watched,
            }),
        };
        drop(answer.send(Ok(Opened { store, broken })));
        writer::work(&conn, &desk, queue, &written);
    });
    spawned.map_err(|error| OpenError::Other {
        path: path.clone(),
        message: error.to_string(),
    })?;
    let gone = |_| OpenError::Other {
        path,
        message: "the opening thread panicked".to_owned(),
    };
    opened.await.map_err(gone)?
}

type Ready = (Connection, Desk, Option<Break>);

fn connect(opening: &Opening) -> Result<Ready, OpenError> {
    let deadline = Instant::now() + opening.start_deadline;
    loop {
        match try_connect(opening) {
            Err(Trouble::Sql(error)) if is_lock(&error) => {
                if Instant::now() >= deadline {
                    let (path, after) = (opening.path.clone(), opening.start_deadline);
                    return Err(OpenError::Locked { path, after });
                }
                std::thread::sleep(LOCKED_RETRY);
            }
            Err(trouble) => return Err(trouble.at(&opening.path)),
            Ok(ready) => return Ok(ready),
        }
    }
}

fn try_connect(opening: &Opening) -> Result<Ready, Trouble> {
    let mut conn = Connection::open(&opening.path)?;
    conn.busy_timeout(LOCKED_RETRY)?;
    prepare(&conn)?;
    (opening.migrate)(&mut conn, &opening.service)?;
    for sql in &opening.after_migration {
        conn.execute_batch(sql)?;
    }
    conn.busy_timeout(opening.busy_timeout)?;
    let broken = (opening.verify)(&conn)?;
    // A chain whose end cannot even be read is broken, and nothing is appended to it.
    let at_start = match &broken {
        Some(_) => None,
        None => audit::last(&conn, &opening.service)?,
    };
    let desk = Desk {
        chain: opening.service.clone(),
        rule: opening.chain.clone(),
        clock: opening.clock.clone(),
        group_end: opening.group_end.clone(),
        appended: Cell::new(entries(at_start.as_ref())),
        at_start,
    };
    Ok((conn, desk, broken))
}

/// Refuses a database that is newer, damaged or no database. An empty or missing file is neither.
/// Nothing is changed: without a log beside it the file is read as it is, so that no file is made.
///
/// # Errors
/// See [`OpenError`]; whatever else stands in the way (a lock, say) is left to [`open`].
pub fn inspect(path: &Path, newest: usize) -> Result<(), OpenError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    look(path, newest, !Path::new(&log).exists())
}

/// The same for a database without a log that another process may be writing just now.
///
/// # Errors
/// See [`inspect`].
pub fn inspect_shared(path: &Path, newest: usize) -> Result<(), OpenError> {
    look(path, newest, false)
}

fn look(path: &Path, newest: usize, alone: bool) -> Result<(), OpenError> {
    if !path.exists() {
        return Ok(());
    }
    let look = || -> Result<(), Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let conn = Connection::open_with_flags(uri(path, alone), flags)?;
        // Whoever holds it is waited for by `open`, when the services listen.
        conn.busy_timeout(Duration::ZERO)?;
        Ok(schema::refuse_newer(&conn, newest)?)
    };
    match look() {
        Err(Trouble::Sql(error)) if !is_damage(&error) => Ok(()),
        looked => looked.map_err(|trouble| trouble.at(path)),
    }
}

/// The file as SQLite's URI; `alone` promises that nobody writes it meanwhile.
fn uri(path: &Path, alone: bool) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + if alone { "?immutable=1" } else { "?mode=ro" }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let damage = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt];
    error
        .sqlite_error_code()
        .is_some_and(|code| damage.contains(&code))
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "temp_store", "MEMORY")
}

/// Takes the database one release back: drops what the last step made, and nothing else.
///
/// # Errors
/// See [`OpenError`].
pub fn migrate_down(path: &Path, service: &str) -> Result<(), OpenError> {
    let down = || -> Result<(), Trouble> {
        let mut conn = Connection::open(path)?;
        prepare(&conn)?;
        Ok(schema::down(&mut conn, service)?)
    };
    down().map_err(|trouble| trouble.at(path))
}

enum Trouble {
    Sql(rusqlite::Error),
    Newer { found: i64, known: usize },
    Other(String),
}

impl Trouble {
    fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Sql(error) if is_lock(&error) => OpenError::Locked {
                path,
                after: Duration::ZERO,
            },
            Self::Sql(error) if is_damage(&error) => OpenError::Damaged {
                path,
                message: error.to_string(),
            },
            Self::Sql(error) => OpenError::Other {
                path,
                message: error.to_string(),
            },
            Self::Newer { found, known } => OpenError::Newer { path, found, known },
            Self::Other(message) => OpenError::Other { path, message },
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<schema::SchemaError> for Trouble {
    fn from(error: schema::SchemaError) -> Self {
        match error {
            schema::SchemaError::Sql(error) => Self::Sql(error),
            schema::SchemaError::Newer { found, known } => Self::Newer { found, known },
            schema::SchemaError::Other(message) => Self::Other(message),
        }
    }
}
