//! Drills: chaos experiments as files, in the format of Chaos Toolkit, with a provider of our own.
//!
//! Reading order: `experiment` (what a file may say, read strictly), `vocabulary` (the closed set
//! of actions and probes), `run` (hypothesis, method, hypothesis, rollbacks), `world` (what each
//! action does, with the driving that the gates use), `judge` (pure: the specifications of the
//! gates over what was recorded), `told` (a line a window, a round, a KILL) and `journal`.
//!
//! Stricter than the tool whose format this is: an action that failed, a fault that met nobody and
//! a hypothesis that was not met are no success here. No shell, no Python, no URL is called.

pub mod experiment;
pub mod journal;
pub mod judge;
mod read;
pub mod record;
pub mod run;
mod shipped;
pub mod told;
mod tolerance;
pub mod vocabulary;
mod world;

pub use experiment::Experiment;
pub use judge::{Verdict, judge};
pub use read::Malformed;
pub use record::Record;
pub use run::{Event, run};
pub use shipped::SHIPPED;
