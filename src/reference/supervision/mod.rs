//! eva-os as a supervisor: the other services run as processes of this program, are asked how they
//! are, and are started again when they are gone, as often as their budget lets them.
//!
//! `machine` decides, purely; `watch` is what stands around it. The budget is rows of eva-os's
//! database, read at each decision and nowhere else remembered: one that cannot be read refuses.
//! No service outlives its supervisor: it ends when the pipe between them closes.

mod boot;
pub mod budgets;
pub mod machine;
pub mod probe;
mod routes;
pub mod spawn;
mod state;
pub mod table;
mod watch;
mod watched;

use std::sync::Arc;

use serde_json::Value;

pub use boot::{BootError, Booted, ChildFailed, Wanted, boot};
pub use routes::routes;
pub use state::met;
pub use watched::Supervision;

use super::config::Supervisor as Settings;
use super::service::Service;
use machine::{Observation, State, Stepped};

/// The step function: [`machine::step`], unless a deployment swaps it.
pub type Step = Arc<dyn Fn(&State, &Observation, &Settings, bool, i64) -> Stepped + Send + Sync>;

/// What a start that fails while everybody is started means; an error ends the boot.
pub type StartFailed = Arc<dyn Fn(ChildFailed) -> Result<(), ChildFailed> + Send + Sync>;

/// Whether a row is to be started, by whom the config names and what the command line asks for.
pub type IsWanted = Arc<dyn Fn(&table::Row, Option<&[String]>, Wanted) -> bool + Send + Sync>;

/// Where a supervised service is, from its row and its listening line.
pub type Locate = Arc<dyn Fn(&Service, &table::Row, &Value) -> String + Send + Sync>;

/// What of supervision may be swapped.
#[derive(Clone)]
pub struct Seams {
    /// Who is supervised, and how.
    pub table: Vec<table::Row>,
    /// Who of them is started.
    pub wanted: IsWanted,
    /// What an observation leads to.
    pub step: Step,
    /// How processes are made.
    pub spawn: Arc<dyn spawn::Spawn>,
    /// Where they are.
    pub locate: Locate,
    /// How services are asked how they are.
    pub probe: Arc<dyn probe::Probe>,
    /// Where restarts are written down.
    pub budgets: Arc<dyn budgets::Budgets>,
    /// What a start that fails means.
    pub start_failed: StartFailed,
}

impl Default for Seams {
    fn default() -> Self {
        Self {
            table: table::ALL.to_vec(),
            wanted: Arc::new(boot::is_wanted),
            step: Arc::new(machine::step),
            spawn: Arc::new(spawn::Processes),
            locate: Arc::new(watch::address),
            probe: Arc::new(probe::Http),
            budgets: Arc::new(budgets::Table),
            start_failed: boot::give_up(),
        }
    }
}
