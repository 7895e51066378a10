//! Gate task-mutation-serial: concurrent mutations of one task are serial, and a deleted task never
//! comes back.
//!
//! Racers create, update, delete and read one task behind one barrier, each with a few requests in a
//! row, and go on from the version that they were told. All that was asked of one task, the lists
//! and the database included, has to be one order of a versioned register with a tombstone. In some
//! races the target is killed: what had no answer by then may have happened or not, and the state
//! after the restart has to be explained all the same. What an idempotency key does, other gates ask.

pub use crate::chaos::tasks::{Evidence, judge};

use crate::chaos::tasks::{self, Amount};
use crate::checks::{Cx, Undecided};

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let least = |what: &str, usual: u64| cx.minimum.get(what).copied().unwrap_or(usual);
    let amount = Amount {
        rounds: usize::try_from(least("rounds", 50))?,
        kills: usize::try_from(least("kills", 1))?,
    };
    tasks::drive(cx, &amount, seen).await?;
    cx.leave("history.jsonl", tasks::history(seen).write().as_bytes())?;
    Ok(())
}
