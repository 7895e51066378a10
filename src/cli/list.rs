//! `list`: the gates of a release and their claims.

use super::exit::{Exit, Stop};
use super::{GatesFolder, screen};
use crate::model::Selection;

/// Example: sonia-gate list v4.7
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sonia-gate list v4.7")]
pub(super) struct Arguments {
    /// v4.3 ... v4.7; the newest when left out
    release: Option<String>,
    #[command(flatten)]
    gates: GatesFolder,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = arguments.gates.model()?;
    let release = match &arguments.release {
        Some(name) => model.release(name)?,
        None => model.newest(),
    };
    let plan = model.plan(&release.name, &Selection::default())?;
    let width = plan
        .gates
        .iter()
        .map(|gate| gate.spec.name.len())
        .max()
        .unwrap_or(0);
    for gate in &plan.gates {
        let (id, spec) = (gate.spec.full_id(), &gate.spec);
        screen::print(&format!("{id:<8} {:<width$}  {}", spec.name, spec.claim));
    }
    Ok(Exit::Green)
}
