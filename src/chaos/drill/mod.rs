//! Drills: chaos experiments as files, in the format of Chaos Toolkit, with a provider of our own.
//!
//! Reading order: `experiment` (what a file may say, read strictly), `variables` (what `${name}` in it
//! stands for), `vocabulary` (the closed set of actions and probes of ours), `foreign` (a request to a
//! URL, a program: what an experiment for the real `chaos` does), `run` (hypothesis, method,
//! hypothesis, rollbacks), `world` and `acts` (what each action does, with the driving that the gates
//! use), `judge` (pure: the specifications of the gates over what was recorded), `told` (a line a
//! window, a round, a KILL), `journal` and `timeline`.
//!
//! Stricter than the tool whose format this is: an action that failed, a fault that met nobody and
//! a hypothesis that was not met are no success here. The journal is that of the other tool, and says
//! what it would say. Nothing runs inside this process: no Python.

pub mod acts;
pub mod experiment;
pub mod foreign;
mod http;
pub mod journal;
pub mod judge;
mod read;
pub mod record;
pub mod run;
mod shipped;
pub mod timeline;
pub mod told;
mod tolerance;
mod variables;
pub mod vocabulary;
mod world;

pub use experiment::Experiment;
pub use judge::{Verdict, judge};
pub use read::Malformed;
pub use record::Record;
pub use run::{Event, run};
pub use shipped::{SHIPPED, Shipped};
pub use variables::Environment;
