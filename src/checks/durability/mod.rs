//! What is acknowledged is there after a crash, as it was and no longer than it was to be.

pub mod approvals_restore;
pub mod confirmation_restore;
pub mod durable_state_tables;
pub mod outbox_idempotent;
pub mod outbox_pattern;
pub mod restart_ordering_strict;
pub mod session_restore;
pub mod standing;
pub mod tasks_persist;
pub mod wal_mode;
pub mod written;
