//! Gates about what a target shows to the outside: where it listens, what it speaks there, and from
//! which origins it may be called.

pub mod bind_audit;
pub mod cors_env;
pub mod tls_config;
