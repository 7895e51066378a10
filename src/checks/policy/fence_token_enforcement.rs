//! Gate fence-token-enforcement: a decision with any but the current fence is refused and runs
//! nothing, and fences only rise.
//!
//! On each of the three approval routes decisions are asked for with the right fence and with every
//! kind of wrong one, reissued, left to expire, raced against their own reissue, and carried over two
//! KILLs, the first of them amid reissues. What a decision answers is judged by the specification of
//! confirmations, step by step, and as a history where requests overlapped; what ran is counted at
//! the double. Nothing is decided twice here: who wins among equals and what a late one is told, another
//! gate asks.

pub use crate::chaos::fences::{Evidence, judge};

use crate::chaos::fences;
use crate::checks::{Cx, Undecided};

/// Drives it.
///
/// # Errors
/// When there is nothing to decide on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let races = cx.minimum.get("races").copied().unwrap_or(20);
    Ok(fences::drive(cx, usize::try_from(races)?, seen).await?)
}
