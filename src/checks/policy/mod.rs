//! Gates of policy determinism under concurrency: decisions, idempotency, fences.

pub mod idempotency_store_durable;
