//! The SQLite file with users and the hashes of their keys. A look is at the file that is there
//! now: a connection is kept for the next one as long as its file is, and nothing that it read. A
//! change is one transaction that remembers which operation made it: done again, it is not done
//! twice.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde::{Deserialize, Serialize};

use super::material::Imported;
use crate::reference::store::Pool;
use crate::reference::time::Timestamp;
use crate::reference::web::Actor;

/// The number of the last of [`STEPS`].
pub const NEWEST: usize = STEPS.len();
const STEPS: &[&str] = &[
    "
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
",
    "
CREATE TABLE changes (
    operation_id TEXT NOT NULL PRIMARY KEY,
    made INTEGER NOT NULL CHECK (made IN (0, 1))
) STRICT;
",
];

/// Where the file is, and how long somebody else's lock on it is waited for.
#[derive(Clone)]
pub(super) struct Book {
    path: PathBuf,
    patience: Duration,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// The file that was there at the last look, by its device and inode, and connections to it.
struct Seen {
    file: (u64, u64),
    pool: Arc<Pool>,
}

/// What may be done to users. All of it is decided before: doing it again does the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Change {
    /// Somebody new.
    Create {
        actor_id: String,
        display_name: String,
        role: String,
        key: Key,
    },
    /// A new key; the ones before it live until then at most.
    Rotate {
        actor_id: String,
        key: Key,
        old_until_us: i64,
    },
    /// No key of theirs is good any more.
    Revoke { actor_id: String },
}

/// A key, without itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) sha256: String,
    pub(super) expires_at_us: Option<i64>,
}

impl Book {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf, patience: Duration) -> Self {
        Self {
            path,
            patience,
            seen: Arc::default(),
        }
    }

    /// Makes the file with these people in it, unless it is there; brings it to the newest number.
    pub(super) fn import(&self, operators: &[Imported], now: Timestamp) -> rusqlite::Result<()> {
        let mut conn = Connection::open(&self.path)?;
        conn.busy_timeout(self.patience)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: u32 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        for (number, step) in (1..).zip(STEPS).filter(|(number, _)| *number > version) {
            tx.execute_batch(step)?;
            tx.pragma_update(None, "user_version", number)?;
        }
        if version == 0 {
            for one in operators {
                tx.execute(
                    "INSERT INTO users (actor_id, display_name, role, created_at_us) \
                     VALUES (?1, ?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![one.actor_id, one.role, now.us()],
                )?;
                insert_key(&tx, &one.actor_id, &one.key_sha256, None, now.us())?;
            }
        }
        tx.commit()
    }

    /// Looks at the file that is there now.
    fn read<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.pool().read(look)
    }

    /// Connections to the file that is there now. One that is not there is refused by SQLite, in its
    /// words.
    fn pool(&self) -> Arc<Pool> {
        let file = std::fs::metadata(&self.path).map(|file| (file.dev(), file.ino()));
        let fresh = || Arc::new(Pool::new(&self.path, self.patience));
        let Ok(file) = file else {
            return fresh();
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some(known) if known.file == file => Arc::clone(&known.pool),
            _ => {
                let pool = seen.insert(Seen {
                    file,
                    pool: fresh(),
                });
                Arc::clone(&pool.pool)
            }
        }
    }

    /// Whose key this is. Looks at every key, each in constant time, so that time tells nothing
    /// about near misses.
    pub(super) fn find(&self, hash: &str, now_us: i64) -> rusqlite::Result<Option<Actor>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT keys.key_sha256, users.actor_id, users.role FROM keys \
                 JOIN users ON users.actor_id = keys.actor_id \
                 WHERE users.revoked_at_us IS NULL \
                 AND (keys.expires_at_us IS NULL OR keys.expires_at_us > ?1)",
            )?;
            let mut rows = statement.query([now_us])?;
            let mut found = None;
            while let Some(row) = rows.next()? {
                let stored: String = row.get(0)?;
                if super::equal(&stored, hash) {
                    found = Some(Actor {
                        id: row.get(1)?,
                        role: row.get(2)?,
                        via: None,
                    });
                }
            }
            Ok(found)
        })
    }

    /// Whether there is such a user, and not revoked.
    pub(super) fn has(&self, actor_id: &str) -> rusqlite::Result<bool> {
        self.read(|conn| is_active(conn, actor_id))
    }

    /// Makes a change, once for each operation; false when its user is not there (any more).
    pub(super) fn change(
        &self,
        operation_id: &str,
        change: &Change,
        now_us: i64,
    ) -> rusqlite::Result<bool> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(&self.path, flags)?;
        conn.busy_timeout(self.patience)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = tx
            .query_row(
                "SELECT made FROM changes WHERE operation_id = ?1",
                [operation_id],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(made) = before {
            return Ok(made);
        }
        let made = make(&tx, change, now_us)?;
        tx.execute(
            "INSERT INTO changes (operation_id, made) VALUES (?1, ?2)",
            params![operation_id, made],
        )?;
        tx.commit()?;
        Ok(made)
    }
}

fn make(tx: &Transaction<'_>, change: &Change, now_us: i64) -> rusqlite::Result<bool> {
    match change {
        Change::Create {
            actor_id,
            display_name,
            role,
            key,
        } => {
            tx.execute(
                "INSERT INTO users (actor_id, display_name, role, created_at_us) \
                 VALUES (?1, ?2, ?3, ?4)",
                params![actor_id, display_name, role, now_us],
            )?;
            insert_key(tx, actor_id, &key.sha256, key.expires_at_us, now_us)?;
            Ok(true)
        }
        Change::Rotate {
            actor_id,
            key,
            old_until_us,
        } => {
            if !is_active(tx, actor_id)? {
                return Ok(false);
            }
            // A key that ends earlier is not kept alive by a rotation.
            tx.execute(
                "UPDATE keys SET expires_at_us = ?2 WHERE actor_id = ?1 \
                 AND (expires_at_us IS NULL OR expires_at_us > ?2)",
                params![actor_id, old_until_us],
            )?;
            insert_key(tx, actor_id, &key.sha256, key.expires_at_us, now_us)?;
            Ok(true)
        }
        Change::Revoke { actor_id } => {
            let revoked = tx.execute(
                "UPDATE users SET revoked_at_us = ?2 WHERE actor_id = ?1 AND revoked_at_us IS NULL",
                params![actor_id, now_us],
            )?;
            Ok(revoked == 1)
        }
    }
}

fn is_active(conn: &Connection, actor_id: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM users WHERE actor_id = ?1 AND revoked_at_us IS NULL")?
        .exists([actor_id])
}

fn insert_key(
    conn: &Connection,
    actor_id: &str,
    sha256: &str,
    expires_at_us: Option<i64>,
    now_us: i64,
) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO keys (key_sha256, actor_id, created_at_us, expires_at_us) \
         VALUES (?1, ?2, ?3, ?4)",
        params![sha256, actor_id, now_us, expires_at_us],
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (tempfile::TempDir, Book) {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::new(dir.path().join("identity.db"), Duration::from_millis(100));
        let first = Imported {
            actor_id: "op-1".to_owned(),
            role: "operator".to_owned(),
            key_sha256: "a".repeat(64),
        };
        book.import(&[first], Timestamp(1)).unwrap();
        (dir, book)
    }

    fn key(letter: &str) -> Key {
        Key {
            sha256: letter.repeat(64),
            expires_at_us: None,
        }
    }

    fn who(book: &Book, letter: &str, now_us: i64) -> Option<String> {
        let found = book.find(&letter.repeat(64), now_us).unwrap();
        found.map(|actor| actor.id)
    }

    #[test]
    fn a_rotated_key_ends_with_its_window_and_the_new_one_is_good_at_once() {
        let (_dir, book) = book();
        let rotate = Change::Rotate {
            actor_id: "op-1".to_owned(),
            key: key("b"),
            old_until_us: 100,
        };
        assert!(book.change("op_1", &rotate, 10).unwrap());
        assert_eq!(who(&book, "b", 10).as_deref(), Some("op-1"));
        assert_eq!(who(&book, "a", 99).as_deref(), Some("op-1"));
        assert_eq!(who(&book, "a", 100), None);
        assert_eq!(who(&book, "b", 1_000).as_deref(), Some("op-1"));
    }

    #[test]
    fn a_change_that_is_made_again_is_made_once_and_says_the_same() {
        let (_dir, book) = book();
        let create = Change::Create {
            actor_id: "usr_1".to_owned(),
            display_name: "Ada".to_owned(),
            role: "observer".to_owned(),
            key: key("c"),
        };
        let revoke = Change::Revoke {
            actor_id: "usr_1".to_owned(),
        };
        for _ in 0..2 {
            assert!(book.change("op_1", &create, 10).unwrap());
        }
        for _ in 0..2 {
            assert!(book.change("op_2", &revoke, 20).unwrap());
        }
        assert!(
            !book.change("op_3", &revoke, 30).unwrap(),
            "somebody was first"
        );
        assert_eq!(who(&book, "c", 40), None);
        assert!(!book.has("usr_1").unwrap() && book.has("op-1").unwrap());
    }

    #[test]
    fn a_file_of_the_first_number_is_brought_to_the_newest_and_keeps_its_people() {
        let (_dir, book) = book();
        let conn = Connection::open(&book.path).unwrap();
        conn.execute_batch("DROP TABLE changes; PRAGMA user_version = 1;")
            .unwrap();
        book.import(&[], Timestamp(2)).unwrap();
        assert_eq!(who(&book, "a", 5).as_deref(), Some("op-1"));
        let revoke = Change::Revoke {
            actor_id: "op-1".to_owned(),
        };
        assert!(book.change("op_1", &revoke, 10).unwrap());
    }

    #[test]
    fn a_look_is_at_the_file_that_is_there_now() {
        let (dir, book) = book();
        assert_eq!(who(&book, "a", 5).as_deref(), Some("op-1"));
        let aside = dir.path().join("aside.db");
        std::fs::rename(&book.path, &aside).unwrap();
        assert!(book.find(&"a".repeat(64), 5).is_err(), "there is no file");
        book.import(&[], Timestamp(1)).unwrap();
        assert_eq!(who(&book, "a", 5), None, "another file, with nobody in it");
        std::fs::rename(&aside, &book.path).unwrap();
        assert_eq!(who(&book, "a", 5).as_deref(), Some("op-1"));
        std::fs::write(&book.path, [0xa5; 8192]).unwrap();
        assert!(book.find(&"a".repeat(64), 5).is_err(), "no database");
    }

    #[test]
    fn what_somebody_else_changed_is_seen_by_the_next_look() {
        let (_dir, book) = book();
        assert_eq!(who(&book, "a", 5).as_deref(), Some("op-1"));
        let other = Connection::open(&book.path).unwrap();
        other
            .execute("UPDATE users SET revoked_at_us = 1", [])
            .unwrap();
        assert_eq!(who(&book, "a", 5), None);
    }
}
