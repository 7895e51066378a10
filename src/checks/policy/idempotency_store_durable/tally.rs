//! What the parts of this gate's judge add up.

use std::collections::{BTreeMap, BTreeSet};

use crate::chaos::crash::Moment;
use crate::checks::Judgement;

/// How many violations are written out; the rest is counted.
const SHOWN: usize = 24;

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

    /// The judgement with its line of numbers; `bound` is the upper end of the 95 % confidence
    /// interval of the share of cut operations with a second effect.
    pub fn judgement(mut self, bound: f64) -> Judgement {
        let detail = format!(
            "{} keys, {} replays ({} after a KILL); {} kills inside an operation cut {} of them; \
             second effects: got {}, expected 0 (below {:.1} % of cut operations at 95 %); \
             {} executions after the TTL, {} rows pruned, {} refused without a store",
            self.keys,
            self.replays,
            self.replays_after_kill,
            self.kills_inside,
            self.cut,
            self.second_effects,
            bound * 100.0,
            self.expired,
            self.pruned,
            self.refused,
        );
        let more = self.violations.len().saturating_sub(SHOWN);
        if more > 0 {
            self.violations.truncate(SHOWN);
            self.violations.push(format!("and {more} more violations"));
        }
        let exercised = [
            ("kills_inside_operation", self.kills_inside),
            ("kill_moments", self.moments.len() as u64),
            ("operations_cut", self.cut),
            ("replays_after_kill", self.replays_after_kill),
            ("key_in_progress", self.in_progress),
            ("key_reused", self.reused),
            ("executions_after_ttl", self.expired),
            ("rows_pruned", self.pruned),
            ("rows_kept", self.kept),
            ("refused_by_store", self.refused),
        ];
        let exercised: BTreeMap<_, _> = exercised
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        Judgement {
            violations: self.violations,
            exercised,
            undecided: self.undecided,
            detail,
        }
    }
}
