//! What is counted of keyed operations, over all that were driven.

use std::collections::BTreeSet;

use crate::chaos::crash::Moment;

/// The sum over all operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What contradicts the claim.
    pub violations: Vec<String>,
    /// What could not be decided.
    pub undecided: Vec<String>,
    /// Keys used.
    pub keys: u64,
    /// Stored answers that came back as they should.
    pub replays: u64,
    /// Those of them after a KILL.
    pub replays_after_kill: u64,
    /// KILLs that certainly cut at least one operation.
    pub kills_inside: u64,
    /// The moments at which they came.
    pub moments: BTreeSet<Moment>,
    /// Operations that were certainly cut.
    pub cut: u64,
    /// The cut operations that had an effect more than once.
    pub cut_twice: u64,
    /// Effects beyond the first, over all operations.
    pub second_effects: u64,
    /// Answers `KEY_IN_PROGRESS`.
    pub in_progress: u64,
    /// Answers `KEY_REUSED`.
    pub reused: u64,
    /// Executions after a TTL.
    pub expired: u64,
    /// Rows seen and later gone.
    pub pruned: u64,
    /// Looks at an expired or unexpired row that had to be there, and was.
    pub kept: u64,
    /// Requests refused because the store could not be written.
    pub refused: u64,
}

impl Tally {
    /// Adds a violation unless `holds`.
    pub fn expect(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(text());
        }
    }
}
