//! Faults and the proof that a target survived them: links that delay and cut, storms through one
//! barrier, histories, the linearizability checker with its specifications, and the ways of driving
//! that gates and drills share.
//!
//! Nothing here knows a gate or decides a release: links break, storms race, histories record, and
//! [`linear::check`] says whether a history has an explanation.

pub mod approvals;
pub mod bounds;
pub mod bursts;
pub mod crash;
pub mod database;
pub mod degrade;
pub mod drill;
pub mod envelopes;
pub mod fences;
pub mod fleet;
pub mod history;
pub mod judgement;
pub mod keyed;
pub mod linear;
pub mod link;
pub mod models;
pub mod outages;
pub mod requests;
pub mod sent;
pub mod sessions;
pub mod site;
pub mod specs;
pub mod storm;
pub mod tampering;
pub mod tasks;
pub mod toxiproxy;

pub use bounds::clopper_pearson_upper;
pub use fleet::{Linked, Member};
pub use history::overlapping_pairs;
pub use judgement::Judgement;
pub use link::{Delay, Direction, Faults, Link, Per, Stream, Toxic, ToxicError, ToxicKind};
pub use sent::Sent;
pub use site::Site;
pub use storm::storm;
