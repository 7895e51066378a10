//! What is acknowledged is there after a crash, as it was and no longer than it was to be.

pub mod session_restore;
