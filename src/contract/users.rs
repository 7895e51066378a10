//! The bodies of answers about users and their keys.

use serde::{Deserialize, Serialize};

/// `POST /v1/users`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserCreated {
    /// `usr_...`: the actor of audit entries.
    pub actor_id: String,
    /// For people.
    pub display_name: String,
    /// `operator` or `observer`.
    pub role: String,
    /// Which key, without telling it.
    pub key_id: String,
    /// The key; null when the target cannot tell it again.
    pub api_key: Option<String>,
    /// RFC 3339; null: never.
    pub expires_at: Option<String>,
}

/// `POST /v1/users/{id}/rotate-key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// `usr_...`.
    pub actor_id: String,
    /// Which key, without telling it.
    pub key_id: String,
    /// The new key; null when the target cannot tell it again.
    pub api_key: Option<String>,
    /// Until when the keys before it are good, RFC 3339.
    pub old_keys_expire_at: String,
    /// Until when the new one is, RFC 3339; null: for ever.
    pub expires_at: Option<String>,
}

/// `DELETE /v1/users/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRevoked {
    /// `usr_...`.
    pub actor_id: String,
    /// `revoked`.
    pub state: String,
}
