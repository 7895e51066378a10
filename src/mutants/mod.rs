//! Known-bad variants of a target, each a few lines through a lever, and the null targets.
//! Every gate must be seen to fail on its mutants before its green is trusted.

pub mod nulls;
pub mod wire;

use crate::model::MutantSpec;
use crate::reference::Parts;

/// All mutants as the runner sees them.
#[must_use]
pub fn all() -> Vec<MutantSpec> {
    Vec::new()
}

/// The parts of the target that this mutant is, `None` when there is no such mutant.
#[must_use]
pub fn parts(_name: &str) -> Option<Parts> {
    None
}
