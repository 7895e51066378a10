//! Requests that drives share, and the words by which doubles know what is wanted.

use serde_json::json;

use crate::target::Ask;

const PERCEPTION: &str = "perception";
/// What a turn's text begins with when the model shall answer with a call of a safe tool.
pub const READ: &str = "read:";
/// The steps to a consent that is ACTIVE.
pub const CONSENTING: [&str; 3] = ["request", "grant", "activate"];

/// A step of a session's consent.
#[must_use]
pub fn consent(step: &str, session: &str) -> Ask {
    let path = format!("/v1/perception/consent/{step}");
    Ask::post(PERCEPTION, &path, json!({"session_id": session}))
}

/// The switch of a session's privacy, to `enable` or `disable`.
#[must_use]
pub fn privacy(switch: &str, session: &str) -> Ask {
    let path = format!("/v1/vision/privacy/{switch}");
    Ask::post("vision-capture", &path, json!({"session_id": session}))
}
