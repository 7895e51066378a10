//! The SONIA contract as a client sees it: answers, audit entries and proofs, and their verification.
//! Written from the contract's text and `fixtures/contract/` alone; it never sees the reference.

pub mod answers;
pub mod audit;
pub mod breakers;
pub mod bundle;
pub mod checkpoint;
pub mod consent;
pub mod dead_letters;
pub mod decisions;
pub mod defaults;
pub mod effects;
pub mod events;
pub mod load;
pub mod memory;
pub mod merkle;
pub mod note;
pub mod recall;
pub mod recorded;
pub mod routes;
#[cfg(test)]
mod samples;
pub mod slo;
pub mod supervision;
pub mod trace;
pub mod users;
pub mod voice;

pub use answers::{Body, Fault, Refusal, SessionAnswer, ToolCall, TurnAnswer};
pub use audit::{AuditEntry, Export, Flaw, Proof, verify_entries, verify_export};
pub use checkpoint::{Checkpoint, Consistency, Signed};
pub use dead_letters::{DeadLetter, DeadLetters, Rehearsed, Replayed};
pub use decisions::{Action, Actor, Decided, Execution, Pending};
pub use effects::{Effect, effects};
pub use events::Event;
pub use routes::{Route, routes};
pub use slo::SloStatus;
pub use trace::Trace;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a body as `T`; fields that `T` does not name are let be, as a client must.
///
/// # Errors
/// Where and why the body is none: `tool_calls[1].fence_token: invalid type: string ...`.
pub fn read<T: DeserializeOwned>(body: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(body).map_err(|error| error.to_string())
}
