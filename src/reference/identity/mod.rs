//! Who is who. Identities are one SQLite file, opened and read anew for each request: there is no
//! cache that could outlive a revocation. Only hashes of keys are stored.

mod book;
pub mod door;
mod material;
pub mod users;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;

use super::digest::{hmac_sha256, sha256};
use super::ids;
use super::store::is_lock;
use super::time::Timestamp;
use super::web::{Actor, Role};
use book::{Book, Change};

pub use book::NEWEST;
pub use material::secrets;

/// Between two tries at start.
const LOCKED_RETRY: Duration = Duration::from_millis(20);

/// Where identities are, and how long the file is waited for.
#[derive(Clone, Debug)]
pub struct Source {
    /// The key file.
    pub key_file: PathBuf,
    /// The SQLite file.
    pub db: PathBuf,
    /// How long a request waits for somebody else's lock on it.
    pub patience: Duration,
    /// How long the start does.
    pub start_deadline: Duration,
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
    Keys(Keys),
}

struct Keys {
    book: Book,
    service_token: String,
    /// What API keys are made of, see [`Identity::api_key`].
    secret: String,
}

impl Identity {
    /// The development bypass: everybody is an operator.
    pub fn open() -> Self {
        Self { mode: Mode::Open }
    }

    /// Identities in this file, whatever is in it.
    pub fn at(db: &Path, service_token: &str, patience: Duration) -> Self {
        let secret = match service_token {
            // Nobody could tell a key apart that is made of nothing. Such keys are told once.
            "" => [ids::make("sec_"), ids::make("sec_"), ids::make("sec_")].concat(),
            token => token.to_owned(),
        };
        let (path, service_token) = (db.to_owned(), service_token.to_owned());
        Self {
            mode: Mode::Keys(Keys {
                book: Book::new(path, patience),
                service_token,
                secret,
            }),
        }
    }

    /// Reads the key file; imports its operators when there is no identity database yet.
    ///
    /// # Errors
    /// A missing, empty or malformed key file; a database that stays locked past the deadline.
    pub fn load(source: &Source, now: Timestamp) -> Result<Self, IdentityError> {
        let keys = material::read(&source.key_file)?;
        let book = Book::new(source.db.clone(), source.patience);
        let until = Instant::now() + source.start_deadline;
        loop {
            match book.import(&keys.operators, now) {
                Err(error) if is_lock(&error) && Instant::now() < until => {
                    std::thread::sleep(LOCKED_RETRY);
                }
                Err(error) => {
                    return Err(IdentityError {
                        path: source.db.clone(),
                        message: error.to_string(),
                    });
                }
                Ok(()) => break,
            }
        }
        Ok(Self::at(&source.db, &keys.service_token, source.patience))
    }

    /// `required` or `disabled`.
    pub fn posture(&self) -> &'static str {
        match self.mode {
            Mode::Open => "disabled",
            Mode::Keys(_) => "required",
        }
    }

    /// What this process shows to other services.
    pub fn service_token(&self) -> &str {
        match &self.mode {
            Mode::Open => "",
            Mode::Keys(keys) => &keys.service_token,
        }
    }

    /// The API key of that id. It is made, not stored, of the service token: a request that is
    /// repeated gets it again, and whoever reads the databases gets nothing.
    fn api_key(&self, key_id: &str) -> Option<String> {
        match &self.mode {
            Mode::Open => None,
            Mode::Keys(keys) => {
                let mac = hmac_sha256(
                    keys.secret.as_bytes(),
                    format!("api key {key_id}").as_bytes(),
                );
                Some(format!("key_{mac}"))
            }
        }
    }

    /// Whether there is such a user, and not revoked; with the bypass there is nobody.
    fn has(&self, actor_id: &str) -> rusqlite::Result<bool> {
        match &self.mode {
            Mode::Open => Ok(false),
            Mode::Keys(keys) => keys.book.has(actor_id),
        }
    }

    /// Makes a change, once for each operation; false when its user is not there (any more).
    async fn change(
        &self,
        operation_id: &str,
        change: &Change,
        now: Timestamp,
    ) -> Result<bool, String> {
        let Mode::Keys(keys) = &self.mode else {
            return Ok(false);
        };
        let (book, id, change) = (keys.book.clone(), operation_id.to_owned(), change.clone());
        let made = tokio::task::spawn_blocking(move || book.change(&id, &change, now.us()));
        match made.await {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Known, Denied> {
        let now_us = now.us();
        let (book, token) = match &self.mode {
            Mode::Open => return Ok(bypass()),
            Mode::Keys(keys) => (keys.book.clone(), &keys.service_token),
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
        let read = tokio::task::spawn_blocking(move || book.find(&hash, now_us));
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

/// Equality of two digests that takes the same time wherever they differ.
fn equal(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}
