//! Gate audit-chain-present.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::checks::{Cx, Judgement, Undecided};

/// What the drive saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {}

/// Judges it.
#[must_use]
pub fn judge(_seen: &Evidence) -> Judgement {
    Judgement {
        undecided: vec!["nothing is driven yet".to_owned()],
        ..Judgement::default()
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, _seen: &mut Evidence) -> Result<(), Undecided> {
    cx.start(json!({})).await?;
    Ok(())
}
