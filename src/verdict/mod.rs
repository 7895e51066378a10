//! The adversarial reader of a release. Whoever decides on a promotion did not watch the run, and
//! whoever hands over its report may have edited it: nothing here believes what a file says about
//! itself. Rows are held against the gate model, counts are counted again, evidence is hashed and
//! judged again, the proof is recounted from its cells. A defect of any of it can only take a
//! promotion away, never give one.

mod compare;
mod dossier;
mod finding;
mod invariants;
mod merge;
mod parity;
mod release;
mod rows;
mod signed;
#[cfg(test)]
mod tests;
mod verify;

pub use compare::{Change, Comparison, Slower, compare};
pub use dossier::{Dossier, Kept, Sealed, read_report};
pub use finding::{Finding, Kind};
pub use invariants::{INVARIANTS, Invariant, InvariantState};
pub use merge::merge;
pub use parity::{Difference, Side, parity};
pub use release::{BundleReading, read_bundle};
pub use verify::{Promotion, Trust, verify};
