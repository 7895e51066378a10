//! Gates of the runtime SLO automation: when degrade mode ends, whether the status route tells the
//! truth, and a whole cycle under nothing but latency and traffic.

mod absence;
mod in_force;
mod lane;
mod status_oracle;
#[cfg(test)]
mod twins;
mod walk;

pub mod chaos_degrade_cycle;
pub mod recovery_exit_criteria;
pub mod slo_diagnostics_endpoint;
