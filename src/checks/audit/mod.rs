//! Gates about the audit chains.

pub mod audit_chain_present;
