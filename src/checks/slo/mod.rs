//! Gates of the runtime SLO automation: when degrade mode is entered, what it sheds, when it ends,
//! whether the status route tells the truth, a whole cycle under nothing but latency and traffic,
//! and limits that are edited while the target runs.

mod lane;
mod rejections;
mod status_oracle;
#[cfg(test)]
mod twins;

pub mod chaos_degrade_cycle;
pub mod degrade_mode_transition;
pub mod recovery_exit_criteria;
pub mod slo_config_dynamic;
pub mod slo_diagnostics_endpoint;
pub mod slo_enforcement;
pub mod sustained_breach_detect;

use crate::chaos::degrade::{absence, in_force, walk};
