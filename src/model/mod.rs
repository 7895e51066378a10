//! The gate model: releases, gates, plans, statuses and verdicts, read from `gates/*.toml`.
//! Pure data and rules; nothing here speaks HTTP or starts anything.
pub mod target_spec;
