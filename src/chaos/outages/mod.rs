//! Outages of what a target needs, each over a link of its own.

mod dependencies;
pub mod flap;
pub mod partial;
