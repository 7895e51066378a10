//! Decisions over the three approval routes: minted, raced for, and held against the specification
//! of a decision.

pub mod asked;
mod minted;
pub mod race;
pub mod round;

pub use asked::Asked;
pub use minted::{
    GUARDED_TOOL, Minted, Route, Shown, Verb, guarded_calls, look, marked, markers, mint, number,
    session, text,
};
