//! Gates of load: what the stages of a turn take, and what becomes of work that comes faster than
//! it can be done.

pub mod latency_budget;
