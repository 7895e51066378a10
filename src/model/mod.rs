//! The gate model: releases, gates, plans, statuses and verdicts, read from `gates/*.toml`.
//! Pure data and rules; nothing here speaks HTTP or starts anything.

mod complaint;
mod embedded;
mod gate;
mod mutant;
mod partition;
mod plan;
mod read;
mod release;
mod rules;
mod status;
mod suggest;
pub mod target_spec;
mod verdict;

pub use complaint::ModelError;
pub use gate::GateSpec;
pub use mutant::{May, MutantSpec};
pub use partition::Partition;
pub use plan::{Class, Plan, PlannedGate, Selection};
pub use release::{Epic, Model, Release};
pub use status::{Counts, Status, Summary};
pub use suggest::nearest;
pub use target_spec::{Capability, NULL_TARGETS, TargetKind, TargetSpec};
pub use verdict::{Facts, Ruling, Verdict};
