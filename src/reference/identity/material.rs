//! The key file: what whoever starts the process hands to it. A file that cannot be used as it is
//! means that nothing starts.

use std::path::Path;

use serde::Deserialize;

use super::IdentityError;
use crate::reference::web::Role;

/// The file's content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub(super) service_token: String,
    pub(super) operators: Vec<Imported>,
}

/// One of those who are there before anybody can be made over a route.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Imported {
    pub(super) actor_id: String,
    pub(super) role: String,
    pub(super) key_sha256: String,
}

/// What the file holds that must be told nobody; of one that cannot be read nothing is known.
pub fn secrets(path: &Path) -> Vec<String> {
    let keys = std::fs::read(path).ok();
    let keys = keys.and_then(|bytes| serde_json::from_slice::<KeyFile>(&bytes).ok());
    keys.into_iter().map(|keys| keys.service_token).collect()
}

/// Reads the file.
///
/// # Errors
/// It is missing, empty or malformed.
pub(super) fn read(path: &Path) -> Result<KeyFile, IdentityError> {
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
        if actor_id.is_empty() {
            return Err(wrong("an actor has no id".to_owned()));
        }
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
