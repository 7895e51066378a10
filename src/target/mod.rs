//! Targets: how a system under test is started, killed, restarted and talked to.
//! The only folder that spawns processes. It decides nothing about right and wrong.

pub mod ask;
pub mod client;
pub mod command;
mod disk;
pub mod fleet;
pub mod incident;
pub mod instance;
pub mod keys;
pub mod launcher;
pub mod listeners;
pub mod listening;
pub mod process;
pub mod program;
pub mod raw;
pub mod secure;
pub mod socket;
mod stderr;
#[cfg(test)]
mod tests;
pub mod tools;

pub use ask::{Answer, Ask, Exchange};
pub use client::Client;
pub use command::Ran;
pub use fleet::Fleet;
pub use incident::{Incident, Incidents};
pub use instance::{Instance, Starting, StopError, Writing};
pub use keys::{Credential, Keys};
pub use launcher::{Launcher, Setup, StartError};
pub use listening::Listening;
pub use process::Process;
pub use program::Program;
pub use secure::Authority;
pub use socket::{Heard, NotOpen, Socket};
