//! Gates about memory: who keeps what, what is found again, and what may be written.

pub mod hnsw_wired;
pub mod index_manifest;
pub mod memory_lifespan;
pub mod memory_proxy_canonical;
pub mod memory_risk_tier;
mod space;
pub mod token_budget;
