//! Operations under idempotency keys over KILLs: requests of every route that takes a key, killed
//! while they stand at a point that is visible from outside, repeated, and held against what the
//! doubles saw and against the specification of keys.

pub mod drive;
pub mod history;
pub mod operations;
pub mod requests;
pub mod survival;
mod tally;

pub use tally::Tally;
