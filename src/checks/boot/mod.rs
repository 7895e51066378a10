//! How a target starts and ends.

pub mod compile_all;
pub mod lifespan_wiring;
pub mod migration_integrity;
pub mod older;
pub mod restore_ordering;
