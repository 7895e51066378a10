//! Turns, tools and decisions of the reference, in this process: a temporary directory, ports of its
//! own, and stand-ins for the model and the tool backend that count what they are asked.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod agents;
mod backend;
mod dead_letters;
mod keys;
mod levers;
mod races;
mod resume;
mod samples;
mod traces;
mod world;
