//! How a target starts and ends.

pub mod compile_all;
pub mod file_exists;
pub mod lifespan_wiring;
pub mod migration_integrity;
pub mod older;
pub mod restore_ordering;
