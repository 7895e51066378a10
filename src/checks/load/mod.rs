//! Gates about load: who waits, who is turned away, and what all of it takes.

pub mod backpressure;
pub mod flood;
pub mod global_backpressure;
pub mod stream_backpressure;
