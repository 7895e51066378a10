//! Gates of memory: who keeps what, and what is found again.

pub mod memory_proxy_canonical;
