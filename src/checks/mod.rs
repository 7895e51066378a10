//! The checks: one file a gate, one folder a subject. `drive` talks to a target and records,
//! `judge` is pure and decides. No check sees the reference.
