//! v4.7/B4: an idempotency key's answer is on disk. It survives a KILL at any moment of the
//! operation, it ends with its TTL, pruning takes nothing else, and while the store cannot be
//! written nothing runs.
//!
//! Three parts, each with its evidence, judge and drive: [`survival`] (KILL, shared with the drills), [`expiry`] (TTL and
//! pruning), [`unwritable`] (a locked database). What all of them saw of a key is also judged as one
//! history by the specification of idempotency keys. Which requests take a key, and what makes two
//! requests different, is not asked here: that is v4.7/B3.

pub mod expiry;
mod tally;
#[cfg(test)]
mod tests;
mod time_drive;
pub mod unwritable;
mod unwritable_drive;

use serde::{Deserialize, Serialize};

use crate::chaos::bounds::clopper_pearson_upper;
use crate::chaos::keyed::operations::Try;
use crate::chaos::keyed::{Tally, drive as survival_drive, history, survival};
use crate::chaos::specs::Ttl;
use crate::checks::{Cx, Judgement, Undecided};

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Targets that were killed again and again.
    pub lanes: Vec<survival::Lane>,
    /// A target with a short TTL.
    pub expiry: expiry::Evidence,
    /// A target whose databases were locked.
    pub unwritable: unwritable::Evidence,
}

/// Judges all three parts and the history of every key.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut tally = Tally::default();
    for lane in &seen.lanes {
        survival::judge(lane, &mut tally);
    }
    expiry::judge(&seen.expiry, &mut tally);
    unwritable::judge(&seen.unwritable, &mut tally);
    judge_history(seen, &mut tally);
    let bound = clopper_pearson_upper(tally.cut_twice, tally.cut, 0.95);
    tally::judgement(tally, bound)
}

/// Drives the three parts side by side.
///
/// # Errors
/// When a part could not go on; the others have ended by then.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let Evidence {
        lanes,
        expiry,
        unwritable,
    } = seen;
    let crowd = survival_drive::prepare(cx, lanes).await?;
    let time = time_drive::prepare(cx).await?;
    let locks = unwritable_drive::prepare(cx).await?;
    let cx = &*cx;
    let outcomes = tokio::join!(
        survival_drive::drive(cx, crowd, lanes),
        time_drive::drive(cx, time, expiry),
        unwritable_drive::drive(cx, locks, unwritable),
    );
    outcomes
        .0
        .map_err(Undecided::from)
        .and(outcomes.1)
        .and(outcomes.2)
}

/// Every key's requests in one history, judged by the specification.
fn judge_history(seen: &Evidence, tally: &mut Tally) {
    let lanes = seen.lanes.iter().flat_map(|lane| &lane.subjects);
    let running = lanes.map(|subject| &subject.asked);
    let running = running.chain(seen.unwritable.blocked.iter().map(|blocked| &blocked.asked));
    let running = running.chain(&seen.expiry.rows);
    let held = seen.expiry.held.iter().map(|held| &held.asked);
    let mut requests = Vec::new();
    for asked in running.chain(held) {
        requests.extend(
            asked
                .tries
                .iter()
                .filter_map(|entry| history::request(asked, entry, Ttl::Running)),
        );
    }
    for asked in &seen.expiry.aged {
        let ttl = |entry: &Try| seen.expiry.ttl_of(asked, entry);
        requests.extend(
            asked
                .tries
                .iter()
                .filter_map(|entry| history::request(asked, entry, ttl(entry))),
        );
    }
    history::judge(requests, tally);
}
