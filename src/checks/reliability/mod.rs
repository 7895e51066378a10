//! What holds under load and with parts of the world missing.

pub mod chaos_flap;
pub mod chaos_partial;
mod dependencies;
pub mod queue_storm;
