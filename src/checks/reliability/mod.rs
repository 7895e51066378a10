//! What holds under load and with parts of the world missing.

pub mod chaos_flap;
pub mod chaos_partial;
pub mod queue_storm;
