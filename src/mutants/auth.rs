//! Defects of authentication: who comes in, and what starts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use serde_json::json;

use super::Mutant;
use super::levers::Levers;
use crate::base::json::sha256_hex;
use crate::reference::Parts;
use crate::reference::identity::door::{Door, Knock};
use crate::reference::identity::{Denied, Identity, Known};
use crate::reference::web::Actor;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "service-token-empty-matches",
        must: &["service-token"],
        may: &[],
        apply: |levers| door(levers, EmptyEqualsEmpty),
    },
    Mutant {
        name: "service-token-prefix-matches",
        must: &["service-token"],
        may: &[],
        apply: |levers| door(levers, PrefixIsEnough),
    },
    Mutant {
        name: "auth-cache-ignores-revocation",
        must: &["deny-invalid-token"],
        may: &[],
        apply: |levers| with_book(levers, |book| RevokedIsRemembered { book }),
    },
    Mutant {
        name: "auth-error-allowed",
        must: &["deny-invalid-token"],
        may: &[],
        apply: |levers| door(levers, ErrorIsAllowed),
    },
    Mutant {
        name: "rotated-key-lives-on",
        must: &["key-rotation"],
        may: &[],
        apply: |levers| levers.config(json!({"auth": {"rotation_window_ms": 315_360_000_000_u64}})),
    },
    Mutant {
        name: "rotated-key-needs-restart",
        must: &["key-rotation"],
        may: &[],
        apply: |levers| with_book(levers, |book| KeysOfTheStart { book }),
    },
    Mutant {
        name: "auth-starts-open",
        must: &["fail-closed-auth"],
        may: &[],
        apply: |levers| instead_of_ending(levers, |_| Identity::open()),
    },
    Mutant {
        name: "auth-starts-then-fails",
        must: &["fail-closed-auth"],
        may: &[],
        // It listens, and nobody's key can be looked up.
        apply: |levers| {
            instead_of_ending(levers, |db| {
                Identity::at(&db.join("not there"), "svc_", Duration::from_millis(1))
            });
        },
    },
];

/// Another door.
fn door(levers: &mut Levers, door: impl Door + 'static) {
    levers.part(|parts| parts.door = Arc::new(door));
}

/// What is done where the start should have failed.
fn instead_of_ending(levers: &mut Levers, identity: fn(&Path) -> Identity) {
    levers.part(move |parts| {
        let load = Arc::clone(&parts.load_identity);
        parts.load_identity = Arc::new(move |source, now| {
            Ok(load(source, now).unwrap_or_else(|_| identity(&source.db)))
        });
    });
}

/// Where identities are, and since when.
#[derive(Default)]
struct Book(Mutex<Option<(PathBuf, i64)>>);

impl Book {
    /// Whether there is such a row; `?1` is the key's hash, `?2` the moment of the start.
    fn has(&self, key: &str, sql: &str) -> bool {
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let look = || -> rusqlite::Result<bool> {
            let Some((path, since_us)) = known else {
                return Ok(false);
            };
            let conn = Connection::open(path)?;
            let hash = sha256_hex(key.as_bytes());
            conn.prepare(sql)?.exists(rusqlite::params![hash, since_us])
        };
        look().unwrap_or(false)
    }
}

/// A door that looks into the file by itself.
fn with_book<D: Door + 'static>(levers: &mut Levers, make: fn(Arc<Book>) -> D) {
    let book = Arc::new(Book::default());
    levers.part(|parts: &mut Parts| {
        let (load, kept) = (Arc::clone(&parts.load_identity), Arc::clone(&book));
        parts.load_identity = Arc::new(move |source, now| {
            let known = Some((source.db.clone(), now.us()));
            *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
            load(source, now)
        });
        parts.door = Arc::new(make(book));
    });
}

/// The key of `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get("authorization").map(HeaderValue::to_str);
    let text = value.and_then(Result::ok).unwrap_or_default();
    text.strip_prefix("Bearer ").unwrap_or_default()
}

/// The token that is shown.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("x-service-token").map(HeaderValue::as_bytes)
}

fn operator(id: &str) -> Known {
    let actor = Actor {
        id: id.to_owned(),
        role: "operator".to_owned(),
        via: None,
    };
    Known {
        actor,
        from_service: false,
    }
}

type Answer<'a> = BoxFuture<'a, Result<Known, Denied>>;

/// Where no token is configured, showing none is showing it.
struct EmptyEqualsEmpty;

impl Door for EmptyEqualsEmpty {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        Box::pin(async move {
            if token(knock.headers) == Some(b"") && identity.service_token().is_empty() {
                return Ok(operator("_service"));
            }
            identity.authenticate(knock.headers, knock.now).await
        })
    }
}

/// As many characters are compared as are shown.
struct PrefixIsEnough;

impl Door for PrefixIsEnough {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        Box::pin(async move {
            let mut headers = knock.headers.clone();
            let whole = identity.service_token();
            let begins = |shown: &[u8]| !shown.is_empty() && whole.as_bytes().starts_with(shown);
            if token(knock.headers).is_some_and(begins)
                && let Ok(whole) = HeaderValue::from_str(whole)
            {
                headers.insert("x-service-token", whole);
            }
            identity.authenticate(&headers, knock.now).await
        })
    }
}

/// Whoever came in once comes in for ever, revoked or not.
struct RevokedIsRemembered {
    book: Arc<Book>,
}

impl Door for RevokedIsRemembered {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        const REVOKED: &str = "SELECT 1 FROM keys JOIN users USING (actor_id) \
                               WHERE key_sha256 = ?1 AND revoked_at_us IS NOT NULL AND ?2 > 0";
        Box::pin(async move {
            let found = identity.authenticate(knock.headers, knock.now).await;
            let revoked = || self.book.has(bearer(knock.headers), REVOKED);
            match found {
                Err(Denied::Unauthenticated) if revoked() => Ok(operator("usr_remembered")),
                found => found,
            }
        })
    }
}

/// A file that cannot be read refuses nobody.
struct ErrorIsAllowed;

impl Door for ErrorIsAllowed {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        Box::pin(async move {
            match identity.authenticate(knock.headers, knock.now).await {
                Err(Denied::Unreadable(_)) => Ok(operator("usr_unknown")),
                found => found,
            }
        })
    }
}

/// A key that a rotation gave is known from the next start on.
struct KeysOfTheStart {
    book: Arc<Book>,
}

impl Door for KeysOfTheStart {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        const ROTATED_SINCE: &str = "SELECT 1 FROM keys JOIN keys AS old ON old.actor_id = keys.actor_id \
             AND old.created_at_us < keys.created_at_us \
             WHERE keys.key_sha256 = ?1 AND keys.created_at_us > ?2";
        Box::pin(async move {
            if self.book.has(bearer(knock.headers), ROTATED_SINCE) {
                return Err(Denied::Unauthenticated);
            }
            identity.authenticate(knock.headers, knock.now).await
        })
    }
}
