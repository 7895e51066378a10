//! Gates about consent: its state machine, and what stands before every inference.

pub mod consent_fail_closed;
pub mod consent_fsm;
mod inference;
pub mod perception_consent;
