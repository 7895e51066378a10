//! `explain`: everything that is known of one gate.

use owo_colors::OwoColorize;

use super::exit::{Exit, Stop};
use super::{GatesFolder, screen};
use crate::checks;

/// Example: sonia-gate explain approval-race-safe
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sonia-gate explain approval-race-safe")]
pub(super) struct Arguments {
    /// A name, B1 (of the newest release) or v4.4/B1
    gate: String,
    #[command(flatten)]
    gates: GatesFolder,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = arguments.gates.model()?;
    let gate = model.gate(&arguments.gate)?;
    let release = model.release(&gate.release)?;
    screen::print(&format!("{} {}", gate.full_id(), gate.name.bold()));
    screen::print(&format!("  {}", gate.claim));
    if let Some(epic) = release.epics.iter().find(|epic| epic.id == gate.epic) {
        field("epic", &format!("{} {}", epic.id, epic.title));
    }
    let needs: Vec<&str> = gate.needs.iter().map(|need| need.name()).collect();
    field(
        "needs",
        if needs.is_empty() {
            "nothing but its routes".to_owned()
        } else {
            needs.join(", ")
        }
        .as_str(),
    );
    let minimum: Vec<String> = gate
        .exercised
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    field("at least", &minimum.join(", "));
    field("deadline", &format!("{} s", gate.deadline.as_secs()));
    match checks::find(&gate.name) {
        Some(check) => {
            field("check", check.file);
            for (index, line) in check.how().enumerate() {
                field(if index == 0 { "how" } else { "" }, line);
            }
        }
        None => field(
            "check",
            &format!("none yet; it belongs in {}", gate.check_file()),
        ),
    }
    field("row", &format!("{}:{}", gate.file, gate.line));
    for (index, mutant) in gate.mutants.iter().enumerate() {
        field(if index == 0 { "mutants" } else { "" }, mutant);
    }
    Ok(Exit::Green)
}

fn field(name: &str, value: &str) {
    screen::print(&format!("  {name:<9} {value}"));
}
