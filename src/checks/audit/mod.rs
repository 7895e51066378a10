//! Gates about the audit chains, and what they share: traffic that writes to every chain, and
//! reading chains over HTTP and from the database.

pub mod audit_chain_present;
pub mod cross_service_trace;
pub mod replay_provenance;
pub mod stored;
pub mod traffic;
