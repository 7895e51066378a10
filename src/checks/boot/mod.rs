//! How a target starts and ends.

pub mod compile_all;
pub mod restore_ordering;
