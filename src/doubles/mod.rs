//! Stand-ins for the backends a target calls. They log, delay, fail, cut, hold and script; they never judge.

mod behaviour;
mod double;
mod ledger;
mod server;
pub mod speech;
#[cfg(test)]
mod speech_tests;
#[cfg(test)]
mod tests;
pub mod tones;

pub use behaviour::{Behaviour, Point};
pub use double::{Double, HeldTooFew, Kind};
pub use ledger::{Call, Effect};
