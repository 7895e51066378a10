//! Gates about the audit chains, and what they share: traffic that writes to every chain, and
//! reading chains over HTTP and from the database.

pub mod actor_attribution;
pub mod audit_chain_present;
pub mod audit_export_endpoint;
pub mod bundle_manifest_signed;
pub mod chain_tamper_detection;
pub mod cross_service_trace;
pub mod entries;
pub mod replay_provenance;
pub mod stored;
pub use crate::chaos::tampering;
pub mod traffic;
#[cfg(test)]
pub(crate) mod twin_chains;
