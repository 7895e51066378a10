//! Runtime SLO automation: traffic is sampled in windows, N breached windows in a row degrade the
//! service, M healthy ones end it.
//!
//! `window` and `machine` are pure. `feed` connects them to running operations and to the
//! gateway's database. Nothing outside can force the mode: there is no reset.

pub mod machine;
pub mod settings;
pub mod window;
