//! Gates about load: who waits, who is turned away, and what the stages of a turn take.

pub mod backpressure;
pub mod flood;
pub mod global_backpressure;
pub mod latency_budget;
pub mod stream_backpressure;
