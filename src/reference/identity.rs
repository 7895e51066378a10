//! Who is who. Identities are one SQLite file, opened and read anew for each request: there is no
//! cache that could outlive a revocation. Only hashes of keys are stored.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use serde::Deserialize;

use super::digest::sha256;
use super::store::is_lock;
use super::time::Timestamp;
use super::web::{Actor, Role};

/// How long a request waits for somebody else's lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// Between two tries at start.
const LOCKED_RETRY: Duration = Duration::from_millis(20);

/// The number of [`SCHEMA`].
pub const NEWEST: usize = 1;
const SCHEMA: &str = "
CREATE TABLE users (
    actor_id TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER
) STRICT;
CREATE TABLE keys (
    key_sha256 TEXT NOT NULL PRIMARY KEY,
    actor_id TEXT NOT NULL REFERENCES users (actor_id),
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER
) STRICT;
PRAGMA user_version = 1;
";

/// What whoever starts the process hands to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    service_token: String,
    operators: Vec<Imported>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Imported {
    actor_id: String,
    role: String,
    key_sha256: String,
}

/// Why identities cannot be used, and so why nothing starts.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct IdentityError {
    /// The key file or the identity database.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub actor: Actor,
    /// Whether the service token was shown.
    pub from_service: bool,
}

/// Nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Missing, unknown, expired or revoked: the same answer for all of them.
    Unauthenticated,
    /// A header of the wrong form, from a service.
    Malformed(String),
    /// The file cannot be read.
    Unreadable(String),
}

/// Authentication of one process.
pub struct Identity {
    mode: Mode,
}

enum Mode {
    Open,
    Keys { db: PathBuf, service_token: String },
}

impl Identity {
    /// The development bypass: everybody is an operator.
    pub fn open() -> Self {
        Self { mode: Mode::Open }
    }

    /// Reads the key file; imports its operators when there is no identity database yet.
    ///
    /// # Errors
    /// A missing, empty or malformed key file; a database that stays locked past `deadline`.
    pub fn load(
        key_file: &Path,
        db: &Path,
        now: Timestamp,
        deadline: Duration,
    ) -> Result<Self, IdentityError> {
        let keys = read_key_file(key_file)?;
        let until = Instant::now() + deadline;
        loop {
            match import(db, &keys.operators, now) {
                Err(error) if is_lock(&error) && Instant::now() < until => {
                    std::thread::sleep(LOCKED_RETRY);
                }
                Err(error) => {
                    return Err(IdentityError {
                        path: db.to_owned(),
                        message: error.to_string(),
                    });
                }
                Ok(()) => break,
            }
        }
        Ok(Self {
            mode: Mode::Keys {
                db: db.to_owned(),
                service_token: keys.service_token,
            },
        })
    }

    /// `required` or `disabled`.
    pub fn posture(&self) -> &'static str {
        match self.mode {
            Mode::Open => "disabled",
            Mode::Keys { .. } => "required",
        }
    }

    /// What this process shows to other services.
    pub fn service_token(&self) -> &str {
        match &self.mode {
            Mode::Open => "",
            Mode::Keys { service_token, .. } => service_token,
        }
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Known, Denied> {
        let now_us = now.us();
        let (db, token) = match &self.mode {
            Mode::Open => return Ok(bypass()),
            Mode::Keys { db, service_token } => (db.clone(), service_token),
        };
        if let Some(shown) = headers.get("x-service-token") {
            // Hashes are compared, so neither length nor content of the token leaks by time.
            let same = equal(&sha256(shown.as_bytes()), &sha256(token.as_bytes()));
            return if same && !token.is_empty() {
                service(headers)
            } else {
                Err(Denied::Unauthenticated)
            };
        }
        let key = bearer(headers).ok_or(Denied::Unauthenticated)?;
        let hash = sha256(key.as_bytes());
        let read = tokio::task::spawn_blocking(move || find(&db, &hash, now_us));
        let found = read
            .await
            .map_err(|error| Denied::Unreadable(error.to_string()))?;
        match found {
            Ok(Some(actor)) => Ok(Known {
                actor,
                from_service: false,
            }),
            Ok(None) => Err(Denied::Unauthenticated),
            Err(error) => Err(Denied::Unreadable(error.to_string())),
        }
    }
}

fn bypass() -> Known {
    let actor = Actor {
        id: "_development".to_owned(),
        role: Role::Operator.word().to_owned(),
        via: None,
    };
    Known {
        actor,
        from_service: false,
    }
}

/// `Authorization: Bearer …`; the scheme's name in any case, the key as it is.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers
        .get("authorization")?
        .to_str()
        .ok()?
        .split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// A service, or the person it acts for: the lesser role of an operator and somebody is somebody's.
fn service(headers: &HeaderMap) -> Result<Known, Denied> {
    const SERVICE: &str = "_service";
    let actor = match headers.get("x-on-behalf-of") {
        None => Actor {
            id: SERVICE.into(),
            role: Role::Operator.word().into(),
            via: None,
        },
        Some(value) => {
            let wrong = || Denied::Malformed("X-On-Behalf-Of: expected actor_id;role".to_owned());
            let text = value.to_str().map_err(|_| wrong())?;
            let (id, role) = text.split_once(';').ok_or_else(wrong)?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
            if !(1..=128).contains(&id.len()) || !id.bytes().all(plain) || role.is_empty() {
                return Err(wrong());
            }
            Actor {
                id: id.into(),
                role: role.into(),
                via: Some(SERVICE.into()),
            }
        }
    };
    Ok(Known {
        actor,
        from_service: true,
    })
}

/// Looks at every key, each in constant time, so that time tells nothing about near misses.
fn find(db: &Path, hash: &str, now_us: i64) -> rusqlite::Result<Option<Actor>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(db, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    let mut statement = conn.prepare(
        "SELECT keys.key_sha256, users.actor_id, users.role FROM keys \
         JOIN users ON users.actor_id = keys.actor_id \
         WHERE users.revoked_at_us IS NULL \
         AND (keys.expires_at_us IS NULL OR keys.expires_at_us > ?1)",
    )?;
    let mut rows = statement.query([now_us])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        let stored: String = row.get(0)?;
        if equal(&stored, hash) {
            found = Some(Actor {
                id: row.get(1)?,
                role: row.get(2)?,
                via: None,
            });
        }
    }
    Ok(found)
}

/// Equality of two digests that takes the same time wherever they differ.
fn equal(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

fn read_key_file(path: &Path) -> Result<KeyFile, IdentityError> {
    let wrong = |message: String| IdentityError {
        path: path.to_owned(),
        message,
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let keys: KeyFile =
        serde_json::from_str(&text).map_err(|error| wrong(format!("not a key file: {error}")))?;
    if keys.operators.is_empty() {
        return Err(wrong("it names nobody".to_owned()));
    }
    for Imported {
        actor_id,
        role,
        key_sha256,
    } in &keys.operators
    {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if key_sha256.len() != 64 || !key_sha256.bytes().all(hex) {
            return Err(wrong(format!(
                "{actor_id}: key_sha256 is not 64 lower-case hex digits"
            )));
        }
        // A role that nobody knows lets its actor in nowhere: each request is refused, 403.
        if Role::named(role).is_none() {
            tracing::warn!(actor_id, role, "no such role");
        }
    }
    Ok(keys)
}

fn import(db: &Path, operators: &[Imported], now: Timestamp) -> rusqlite::Result<()> {
    let mut conn = Connection::open(db)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        tx.execute_batch(SCHEMA)?;
        for Imported {
            actor_id,
            role,
            key_sha256,
        } in operators
        {
            tx.execute(
                "INSERT INTO users (actor_id, display_name, role, created_at_us) \
                 VALUES (?1, ?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![actor_id, role, now.us()],
            )?;
            tx.execute(
                "INSERT INTO keys (key_sha256, actor_id, created_at_us) VALUES (?1, ?2, ?3)",
                params![key_sha256, actor_id, now.us()],
            )?;
        }
    }
    tx.commit()
}
