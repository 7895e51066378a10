//! What holds under load and with parts of the world missing.

pub mod queue_storm;
