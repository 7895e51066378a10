//! Gates about what is heard and said: speech in, speech out, and the socket between.

pub mod talk;
pub mod wav;
