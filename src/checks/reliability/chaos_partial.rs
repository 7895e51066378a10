//! Gate chaos-partial: with any one dependency down unrelated routes are served, affected ones answer
//! their error in time, and recovery needs nobody.
//!
//! A link stands before every backend of the configuration and before services of the target's own
//! stack. Each of them in turn refuses connections, and those with a time limit take everything and
//! answer nothing. Whoever needs it is asked first, then everybody else; then it is back, and nothing
//! is done but asking until they are served again.

pub use crate::chaos::outages::partial::{Evidence, judge};

use crate::chaos::outages::partial;
use crate::checks::{Cx, Undecided};

/// Drives it.
///
/// # Errors
/// When there is no target, or nothing to ask about.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    Ok(partial::drive(cx, seen).await?)
}
