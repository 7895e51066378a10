//! Gates about the audit chains, and what they share: traffic that writes to every chain, and
//! reading chains over HTTP and from the database.

pub mod audit_chain_present;
pub mod bundle_manifest_signed;
pub mod stored;
pub mod traffic;
