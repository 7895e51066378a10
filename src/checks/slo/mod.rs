//! Gates of the runtime SLO automation: when degrade mode ends, whether the status route tells the
//! truth, and a whole cycle under nothing but latency and traffic.

mod lane;
mod status_oracle;
#[cfg(test)]
mod twins;

pub mod chaos_degrade_cycle;
pub mod recovery_exit_criteria;
pub mod slo_diagnostics_endpoint;

use crate::chaos::degrade::{absence, walk};
