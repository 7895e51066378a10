//! Known-bad variants of a target, each a few lines through a lever, and the null targets.
//! Every gate must be seen to fail on its mutants before its green is trusted.

pub mod nulls;
pub mod wire;
