//! Gate queue-storm: in a storm of creates every answer is a success or an explicit refusal, and
//! every success is a row after a KILL.
//!
//! Two hundred sessions are asked for through one barrier, more than may be active at once. The
//! target is killed as soon as the last answer is there; after the restart every acknowledged
//! session is read, and the restore has to count exactly those.

pub use crate::chaos::sessions::{Evidence, judge};

use crate::chaos::sessions;
use crate::checks::{Cx, Undecided};

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let creates = cx.minimum.get("creates").copied().unwrap_or_default();
    Ok(sessions::drive(cx, usize::try_from(creates)?, seen).await?)
}
