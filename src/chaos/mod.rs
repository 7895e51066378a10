//! Faults and the proof that a target survived them: links that delay and cut, storms through one
//! barrier, histories, and the linearizability checker with its specifications.
//!
//! Nothing here knows a gate or decides a release: links break, storms race, histories record, and
//! [`linear::check`] says whether a history has an explanation.

pub mod history;
pub mod linear;
pub mod specs;
