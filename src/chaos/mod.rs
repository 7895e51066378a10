//! Faults and the proof that a target survived them: links that delay and cut, storms through one
//! barrier, histories, and the linearizability checker with its specifications.
//!
//! Nothing here knows a gate or decides a release: links break, storms race, histories record, and
//! [`linear::check`] says whether a history has an explanation.

pub mod bounds;
pub mod crash;
pub mod degrade;
pub mod history;
pub mod linear;
pub mod link;
pub mod specs;
pub mod storm;

pub use bounds::clopper_pearson_upper;
pub use history::overlapping_pairs;
pub use link::{Delay, Direction, Faults, Link};
pub use storm::storm;
