//! What is answered about consent, privacy, and what is inferred.

use serde::{Deserialize, Serialize};

/// `POST /v1/vision/privacy/{enable|disable}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switched {
    /// The session, or `all`.
    pub scope: String,
    /// Whether frames may be kept and analysed.
    pub enabled: bool,
}

/// `GET /v1/vision/privacy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Privacy {
    /// The session; none, when none was named.
    pub session_id: Option<String>,
    /// Whether its frames may be analysed.
    pub enabled: bool,
}

/// A step of a consent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consented {
    /// The session.
    pub session_id: String,
    /// `OFF`, `REQUESTED`, `GRANTED`, `ACTIVE` or `REVOKED`.
    pub state: String,
}

/// `GET /v1/perception/consent/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    /// The session.
    pub session_id: String,
    /// Where it stands.
    pub state: String,
    /// How it came there, in order.
    pub audit_trail: Vec<ConsentStep>,
}

/// One transition of a consent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsentStep {
    /// `request`, `grant`, `activate` or `revoke`.
    pub event: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
    /// Who did it.
    pub actor_id: String,
    /// In which role.
    pub actor_role: String,
    /// RFC 3339.
    pub ts: String,
}

/// `POST /v1/perception/analyze`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// `scn_...`.
    pub scene_id: String,
    /// The session.
    pub session_id: String,
    /// What the model says.
    pub text: String,
}

/// `POST /v1/perception/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// `obs_...`.
    pub event_id: String,
    /// The session.
    pub session_id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the model says.
    pub text: String,
}
