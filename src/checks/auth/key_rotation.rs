//! Gate key-rotation: a new key works at once, the old one inside the window and not after it, also
//! when the target was killed in between.
//!
//! Three targets: one with a short window that lives on, one with a short window that is killed
//! right after the rotation, and one with a long window that is killed. Each request is judged by its
//! times: answered before the window can have ended it is served under the old key, sent after it
//! must have ended it is refused.

mod drive;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::tried::Tried;
use crate::checks::Judgement;

pub use drive::drive;

/// Two clocks on one machine read a moment so much apart.
const SLACK_US: u64 = 50_000;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// One for each target.
    pub lanes: Vec<Lane>,
}

/// One rotation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// `auth.rotation_window_ms` of the target.
    pub window_ms: u64,
    /// The request that rotated the key.
    pub rotated: Option<Tried>,
    /// When the target was killed, and was there again.
    pub killed_us: Option<(u64, u64)>,
    /// What was tried, in order.
    pub uses: Vec<Use>,
}

/// A key that was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Use {
    /// Which.
    pub key: Key,
    /// What came of it.
    pub tried: Tried,
}

/// Which of the two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The first one.
    Old,
    /// The one that the rotation gave.
    New,
}

/// Where in time a use of the old key lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Inside,
    Near,
    After,
}

impl Lane {
    fn when(&self, rotated: &Tried, tried: &Tried) -> When {
        let window_us = self.window_ms * 1000;
        let earliest_us = (rotated.invoked_us + window_us).saturating_sub(SLACK_US);
        let latest_us = rotated.returned_us.unwrap_or(u64::MAX / 2) + window_us + SLACK_US;
        if tried.before(earliest_us) {
            When::Inside
        } else if tried.invoked_us > latest_us {
            When::After
        } else {
            When::Near
        }
    }

    /// Whether this was tried after a KILL.
    fn outlived(&self, tried: &Tried) -> bool {
        self.killed_us
            .is_some_and(|(_, back_us)| tried.invoked_us >= back_us)
    }
}

/// How often what matters was seen.
#[derive(Default)]
struct Tally {
    /// Old keys inside, at once and after a KILL.
    inside: [u64; 2],
    /// Old keys after the window, likewise.
    after: [u64; 2],
    /// New keys, likewise.
    new: [u64; 2],
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let (mut judgement, mut tally) = (Judgement::default(), Tally::default());
    for lane in &seen.lanes {
        judge_lane(lane, &mut tally, &mut judgement);
    }
    let kills = seen
        .lanes
        .iter()
        .filter(|lane| lane.uses.iter().any(|one| lane.outlived(&one.tried)))
        .count() as u64;
    let Tally { inside, after, new } = tally;
    judgement.exercised("inside_window", inside[0]);
    judgement.exercised("inside_window_after_kill", inside[1]);
    judgement.exercised("after_window", after[0]);
    judgement.exercised("after_window_after_kill", after[1]);
    judgement.exercised("new_keys", new[0]);
    judgement.exercised("new_keys_after_kill", new[1]);
    judgement.exercised("kills", kills);
    judgement.detail = format!(
        "{} rotations, {kills} kills: old keys served {} times inside the window and {} after a \
         KILL, refused {} times after it and {} after a KILL; new ones served {} and {} times",
        seen.lanes.len(),
        inside[0],
        inside[1],
        after[0],
        after[1],
        new[0],
        new[1],
    );
    judgement
}

fn judge_lane(lane: &Lane, tally: &mut Tally, judgement: &mut Judgement) {
    let Some(rotated) = &lane.rotated else {
        judgement.undecided("no key was rotated");
        return;
    };
    judgement.expect(rotated.ok(), || {
        format!("a rotation: {rotated}, expected 2xx")
    });
    for Use { key, tried } in &lane.uses {
        let killed = usize::from(lane.outlived(tried));
        let (what, right, expected) = match key {
            Key::New => {
                tally.new[killed] += u64::from(tried.ok());
                ("the new key", tried.ok(), "2xx")
            }
            Key::Old => match lane.when(rotated, tried) {
                When::Inside => {
                    tally.inside[killed] += u64::from(tried.ok());
                    ("the old key inside the window", tried.ok(), "2xx")
                }
                When::After => {
                    tally.after[killed] += u64::from(tried.status == 401);
                    ("the old key after the window", tried.status == 401, "401")
                }
                When::Near => {
                    let either = tried.ok() || tried.status == 401;
                    ("the old key at the end of the window", either, "2xx or 401")
                }
            },
        };
        judgement.expect(right, || {
            let since = ["", " after a KILL"][killed];
            format!(
                "{what} of {} ms{since}: {tried}, expected {expected}",
                lane.window_ms
            )
        });
    }
}
