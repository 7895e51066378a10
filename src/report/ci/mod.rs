//! A report in the words of build servers: JUnit XML, SARIF, GitHub's annotations and step summary,
//! and what happens as lines of JSON while it does. None of them carries a verdict that anything is
//! decided by; that is the exit code's and the report's.

mod events;
mod github;
mod junit;
#[cfg(test)]
pub(super) mod sample;
mod sarif;

pub use events::event_line;
pub use github::{annotations, step_summary};
pub use junit::{JUNIT_FILE, junit};
pub use sarif::{SARIF_FILE, sarif};
