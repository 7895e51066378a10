//! What the steps of ours do beside latency, races and KILLs, one file a subject: how it is driven,
//! what is seen of it, and (pure) what contradicts what is due.

pub mod disk;
pub mod exercise;
pub mod links;
pub mod load;
pub mod pause;
pub mod replays;
pub(super) mod stand_ins;
pub mod tamper;
pub mod work;

use serde::{Deserialize, Serialize};

use crate::chaos::bursts::{self, Burst};
use crate::chaos::envelopes::{self, Turn};
use crate::chaos::{Judgement, Sent};

/// Everything that these steps saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// Operations under keys.
    pub work: work::Work,
    /// Bursts of writes, each ended by a KILL.
    pub bursts: Vec<Burst>,
    /// Turns whose decision is known beforehand.
    pub turns: Vec<Turn>,
    /// Replays of dead letters.
    pub replays: Vec<replays::Replay>,
    /// Traffic at a rate.
    pub loads: Vec<load::Load>,
    /// What was stopped, and for how long.
    pub pauses: Vec<pause::Pause>,
    /// What was done to chains, and what was said of it.
    pub tampered: Vec<tamper::Tampered>,
    /// Whether the disk was full, and what was written meanwhile.
    pub full: Vec<disk::Full>,
    /// Faults of links, in the order in which they came.
    pub links: Vec<links::Fault>,
    /// What was driven on targets of its own.
    pub exercises: Vec<exercise::Exercise>,
}

impl Book {
    /// Judges all of it; gives a line for each subject that there is something of.
    pub fn judge(&self, judgement: &mut Judgement) -> Vec<String> {
        let mut told = Vec::new();
        told.extend(self.work.judge(judgement));
        told.extend(judge_bursts(&self.bursts, judgement));
        told.extend(judge_turns(&self.turns, judgement));
        told.extend(replays::judge(&self.replays, judgement));
        told.extend(self.loads.iter().map(|load| load.judge(judgement)));
        told.extend(pause::judge(&self.pauses, judgement));
        told.extend(self.tampered.iter().map(|one| one.judge(judgement)));
        told.extend(
            self.full
                .iter()
                .map(|full| full.judge(&self.work, judgement)),
        );
        told.extend(links::judge(&self.links, judgement));
        told.extend(self.exercises.iter().map(|one| one.judge(judgement)));
        told
    }
}

fn judge_bursts(bursts: &[Burst], judgement: &mut Judgement) -> Option<String> {
    let mut ids = std::collections::BTreeSet::new();
    for (number, burst) in bursts.iter().enumerate() {
        bursts::survived(number + 1, burst, &mut ids, judgement);
    }
    let kills = bursts.iter().filter(|burst| burst.killed).count();
    if kills == 0 && !bursts.is_empty() {
        judgement.undecided("no KILL fell into a burst");
    }
    let lines = format!(
        "{} acknowledged writes over {kills} KILLs in mid-burst",
        ids.len()
    );
    (!bursts.is_empty()).then_some(lines)
}

fn judge_turns(turns: &[Turn], judgement: &mut Judgement) -> Option<String> {
    if turns.is_empty() {
        return None;
    }
    let mut found = Judgement::default();
    let decided = envelopes::judge(turns, &mut found);
    let replays = found.exercised.get("replays").copied().unwrap_or_default();
    judgement.violations.append(&mut found.violations);
    judgement.undecided.append(&mut found.undecided);
    if replays == 0 {
        judgement.undecided("no envelope was decided on twice");
    }
    Some(format!(
        "{decided} envelopes decided on alike {replays} times"
    ))
}

/// A time as people read it.
fn ms(us: u64) -> u64 {
    us / 1000
}

/// Whether an answer is one that a busy or crippled target may give: what was asked for, or a refusal
/// that says why.
fn is_declared(sent: &Sent) -> bool {
    sent.ok() || (matches!(sent.status, 409 | 429 | 502..=504) && !sent.code().is_empty())
}
