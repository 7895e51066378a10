//! Gates about eva-os as a supervisor of processes.

pub mod health_restart_trigger;
mod kills;
pub mod orchestrator_boot;
pub mod orchestrator_supervised;
mod recovery;
pub mod restart_method;
pub mod restart_policy;
mod stack;
pub mod supervisor_budget_persist;
pub mod supervisor_ports_clean;
pub mod vision_supervised;
