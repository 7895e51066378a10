//! What can go wrong with a database, as its callers need to know it.

use rusqlite::ErrorCode;

/// A failure of the store. It can be copied, because one failed commit answers many jobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else held it past the busy timeout. Nothing was changed.
    #[error("{0}")]
    Locked(String),
    /// Full, read-only, damaged, or gone. Nothing was changed.
    #[error("{0}")]
    Unavailable(String),
    /// The database refused what it was asked: a constraint, a trigger, a wrong statement.
    #[error("{0}")]
    Refused(String),
}

/// Whether somebody else's lock is what stands in the way, and waiting may help.
pub fn is_lock(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = match &error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            other => other.to_string(),
        };
        match error.sqlite_error_code() {
            _ if is_lock(&error) => Self::Locked(text),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) | None => {
                Self::Refused(text)
            }
            Some(_) => Self::Unavailable(text),
        }
    }
}

/// Not a result of a query, but of reading a stored JSON text.
impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(format!("stored JSON: {error}"))
    }
}
