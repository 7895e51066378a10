//! Soak: drills that nobody wrote, round after round. A seed makes each round an experiment of what the
//! drills do, in an order of its own; all the time the invariants are looked at; and a round that
//! finds a violation is made as small as it gets, as an experiment file that anybody can run again.
//!
//! Reading order: `moves` (what a round is made of), `round` (an experiment of some moves), `minimal`
//! (which moves a violation needs).

mod minimal;
mod moves;
mod round;

pub use minimal::{Minimal, minimal};
pub use moves::Move;
pub use round::Round;
