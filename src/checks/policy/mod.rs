//! Gates of policy determinism under concurrency: decisions, idempotency, fences.

pub mod approval_race_safe;
pub mod approve_endpoint;
pub mod fence_token_enforcement;
pub mod idempotency_key_support;
pub mod idempotency_store_durable;
pub mod replay_determinism;
pub mod task_mutation_serial;
pub mod tasks_endpoint;
