//! sonia-gate: a release gate and chaos test harness.
//!
//! A *release* is *planned* from `gates/`; the *runner* runs each gate's *check* against a *target*,
//! among *doubles* and under *chaos*; events go to *reports*; the *reference* is one target; a
//! *mutant* is a target made wrong on purpose, so that every gate is seen to fail.

pub mod base;
pub mod chaos;
pub mod checks;
pub mod cli;
pub mod contract;
pub mod doubles;
pub mod model;
pub mod mutants;
pub mod reference;
pub mod report;
pub mod runner;
pub mod target;
pub mod verdict;
