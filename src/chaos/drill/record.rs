//! What a drill saw. Observations only; it is kept also when the drill was cut short.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::acts::Book;
use crate::chaos::approvals::round::Round;
use crate::chaos::degrade::Timeline;
use crate::chaos::keyed::survival::Lane;
use crate::target::Incident;

/// Everything, in the order in which it was begun.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// How long a decision stays open, as the target was configured.
    pub ttl_ms: u64,
    /// Turns, windows, modes and what was shed.
    pub line: Timeline,
    /// Races for decisions.
    pub rounds: Vec<Round>,
    /// Operations over KILLs, a lane a `crash`.
    pub lanes: Vec<Lane>,
    /// What the other steps of ours saw.
    #[serde(default)]
    pub book: Book,
    /// The hypothesis before the method.
    pub before: Option<Looked>,
    /// The method, as far as it got.
    pub run: Vec<Step>,
    /// The hypothesis while the method went on, again and again.
    #[serde(default)]
    pub during: Vec<Looked>,
    /// Whether a step ended the method.
    #[serde(default)]
    pub aborted: bool,
    /// The hypothesis after the method.
    pub after: Option<Looked>,
    /// The rollbacks, as far as they got.
    pub rollbacks: Vec<Step>,
    /// Why there was no target, or none any more.
    pub trouble: Option<String>,
    /// Whether somebody ended it early.
    pub interrupted: bool,
    /// What the target did unasked.
    pub incidents: Vec<Incident>,
}

/// A hypothesis that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// Its probes, up to the first that was not tolerated.
    pub probes: Vec<Step>,
    /// How many there are.
    pub of: usize,
}

impl Looked {
    /// Whether every probe ran and was tolerated.
    #[must_use]
    pub fn met(&self) -> bool {
        let tolerated = |probe: &Step| probe.tolerated == Some(true);
        self.probes.len() == self.of && self.probes.iter().all(tolerated)
    }

    /// Whether a probe failed, so that nothing is known of what it looks at.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.probes.iter().any(|probe| probe.failed.is_some())
    }
}

/// A step that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// As it stands in the file.
    pub activity: Value,
    /// When it began, RFC 3339 with microseconds.
    pub start: String,
    /// When it ended, likewise.
    pub end: String,
    /// Seconds in between.
    pub duration: f64,
    /// What came of it.
    pub output: Value,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// Whether nothing was done after it.
    #[serde(default)]
    pub aborts: bool,
    /// Why what it was to bring about may not have happened, although it did not fail.
    #[serde(default)]
    pub unhappy: Option<String>,
    /// Whether the output was tolerated; none where nobody asked.
    pub tolerated: Option<bool>,
}
