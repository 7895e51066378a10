//! How a target starts and ends.

pub mod compile_all;
