//! Defects of authentication: who comes in, and what starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use serde_json::json;

use super::levers::Levers;
use super::{May, Mutant};
use crate::base::json::sha256_hex;
use crate::reference::Parts;
use crate::reference::identity::door::{Door, Knock};
use crate::reference::identity::{Denied, Identity, Known};
use crate::reference::web::{Actor, Refusal, Role};

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
        name: "auth-skips-one-route",
        must: &["auth-coverage"],
        may: &[],
        apply: |levers| {
            door(
                levers,
                Exempt(|knock| knock.method == "GET" && knock.path.starts_with("/recall/")),
            )
        },
    },
    Mutant {
        name: "auth-skips-websocket",
        must: &["auth-coverage"],
        may: &[],
        apply: |levers| {
            door(
                levers,
                Exempt(|knock| knock.headers.contains_key("upgrade")),
            )
        },
    },
    Mutant {
        name: "auth-exempts-by-prefix",
        must: &["auth-coverage"],
        may: &[],
        apply: |levers| door(levers, Exempt(begins_like_an_open_one)),
    },
    Mutant {
        name: "auth-exempts-one-mutation",
        must: &["auth-required-mutating"],
        may: &[
            May {
                gate: "auth-coverage",
                reason: "it asks the same of every route, those that change nothing too",
            },
            May {
                gate: "idempotency-key-support",
                reason: "a key is answered after authentication, and on this route there is none",
            },
        ],
        apply: |levers| door(levers, ONE_ROUTE_IS_OPEN),
    },
    Mutant {
        name: "auth-after-side-effect",
        must: &["auth-required-mutating"],
        may: &[],
        apply: asked_afterwards,
    },
    Mutant {
        name: "role-dropped-from-cache",
        must: &["role-enforcement"],
        may: &[],
        apply: |levers| door(levers, RoleIsForgotten::default()),
    },
    Mutant {
        name: "role-defaults-to-operator",
        must: &["role-enforcement"],
        may: &[],
        apply: |levers| door(levers, Roles(|role| Role::named(role).is_none())),
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
pub(super) fn door(levers: &mut Levers, door: impl Door + 'static) {
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
            // Whoever holds the file is not waited for: that is the identity's own affair.
            conn.busy_timeout(Duration::ZERO)?;
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

/// Whether this is the one route that is guarded badly: a session's end.
fn is_the_route(knock: &Knock<'_>) -> bool {
    let session = |prefix| knock.path.starts_with(prefix);
    knock.method == "DELETE" && (session("/v3/sessions/") || session("/v1/sessions/"))
}

/// Whoever ends a session is asked for nothing.
const ONE_ROUTE_IS_OPEN: Exempt = Exempt(is_the_route);

/// Whether a path begins like one of the open ones.
fn begins_like_an_open_one(knock: &Knock<'_>) -> bool {
    let open = ["/healthz", "/version", "/openapi.json"];
    open.iter().any(|path| knock.path.starts_with(path))
}

/// Where whoever shows no valid credentials is let in all the same.
struct Exempt(fn(&Knock<'_>) -> bool);

impl Door for Exempt {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        Box::pin(async move {
            match identity.authenticate(knock.headers, knock.now).await {
                Err(Denied::Unauthenticated) if (self.0)(&knock) => Ok(operator(NOBODY)),
                found => found,
            }
        })
    }
}

/// Who has not been asked yet.
const NOBODY: &str = "usr_nobody";

/// The session is ended, and then it is asked who wanted it.
fn asked_afterwards(levers: &mut Levers) {
    door(levers, ONE_ROUTE_IS_OPEN);
    levers.route(("api-gateway", "DELETE", "/v3/sessions/{id}"), |original| {
        Arc::new(move |service, call| {
            let original = Arc::clone(&original);
            Box::pin(async move {
                let (nobody, id) = (call.actor.id == NOBODY, call.correlation_id.clone());
                let reply = original(service, call).await;
                if nobody {
                    let refusal = Refusal::new(401, "UNAUTHENTICATED", "no valid credentials");
                    return refusal.reply(&id);
                }
                reply
            })
        })
    });
}

/// From the second call on, a key is known and its role is not: nothing is refused for it.
#[derive(Default)]
struct RoleIsForgotten {
    seen: Mutex<BTreeSet<String>>,
}

impl Door for RoleIsForgotten {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        Box::pin(async move {
            let mut known = identity.authenticate(knock.headers, knock.now).await?;
            let key = bearer(knock.headers).to_owned();
            let first = self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key.clone());
            if !first && !key.is_empty() {
                known.actor.role = Role::Operator.word().to_owned();
            }
            Ok(known)
        })
    }
}

/// Those whose role is one of these are operators.
pub(super) struct Roles(pub(super) fn(&str) -> bool);

impl Door for Roles {
    fn answer<'a>(&'a self, identity: &'a Identity, knock: Knock<'a>) -> Answer<'a> {
        Box::pin(async move {
            let mut known = identity.authenticate(knock.headers, knock.now).await?;
            if (self.0)(&known.actor.role) {
                known.actor.role = Role::Operator.word().to_owned();
            }
            Ok(known)
        })
    }
}

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
