//! A degrade cycle: driving real turns window by window under injected latency, the timeline of
//! what was seen, and the specification of the modes by which a judge reads it.
//!
//! The driving decides nothing; the machine never asks the target. Latency comes from the model's
//! double or from a link on the wire, never from a hook of the target.

pub mod absence;
pub mod cycle;
pub mod edits;
pub mod in_force;
pub mod lane;
pub mod latency;
pub mod machine;
mod probes;
pub mod timeline;
pub mod walk;

pub use cycle::{Cycle, Went};
pub use lane::{Injection, Lane};
pub use machine::{Change, Class, Count, Mode, Possible, Rules, State};
pub use timeline::{Batch, Edit, Event, Probe, Read, Step, Timeline, Turn, Work};
