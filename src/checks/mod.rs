//! The checks: one file a gate, one folder a subject. `drive` talks to a target and records,
//! `judge` is pure and decides. No check sees the reference.

pub mod audit;
pub mod auth;
pub(crate) mod bench;
pub mod boot;
#[cfg(test)]
pub(crate) mod by_hand;
pub mod check;
pub mod cx;
pub mod durability;
pub mod exposure;
pub mod load;
pub mod memory;
pub mod perception;
pub mod policy;
pub(crate) mod reads;
pub(crate) mod recipes;
pub mod registry;
pub mod reliability;
pub mod slo;
pub mod starts;
pub mod supervision;
pub mod tools;
pub mod voice;

pub use crate::chaos::Judgement;
pub use crate::chaos::Sent;
pub(crate) use crate::chaos::database;
pub use crate::chaos::site::Span;
pub use check::{Check, Ran, stopped};
pub(crate) use cx::cancelled;
pub use cx::{Cancel, Cx, CxParts, Undecided};
pub use registry::{CHECKS, find};
