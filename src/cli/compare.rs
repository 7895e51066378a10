//! `compare`: two reports, gate by gate.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Stop};
use super::screen;
use crate::report::{GateReport, REPORT_FILE};
use crate::verdict::{Change, compare, read_report};

/// Example: sonia-gate compare releases/v4.7.0-baseline releases/v4.7.0
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 nothing broke; 1 a gate that passed does not, or is gone; 2 no report there.
Example: sonia-gate compare releases/v4.7.0-baseline releases/v4.7.0")]
pub(super) struct Arguments {
    /// The older report, or its folder
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The newer one
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let (first, second) = (report(&arguments.first)?, report(&arguments.second)?);
    let all = compare(&first, &second);
    if arguments.json {
        let text = serde_json::to_string(&all).unwrap_or_default();
        screen::print(&text);
    } else {
        let changes = |word: &str, changes: &[Change]| {
            for one in changes {
                screen::print(&format!(
                    "{} {} was {}, is {}  {}",
                    screen::verb(word),
                    one.gate,
                    one.before,
                    one.after,
                    one.detail
                ));
            }
        };
        changes("BROKEN", &all.regressions);
        changes("MENDED", &all.fixes);
        changes("CHANGED", &all.other);
        for (word, names) in [
            ("GONE", &all.gone),
            ("NEW", &all.new),
            ("UNPROVEN", &all.newly_unproven),
        ] {
            for name in names {
                screen::print(&format!("{} {name}", screen::verb(word)));
            }
        }
        let (before, after) = all.elapsed_s;
        screen::print(&format!(
            "{} {} broken, {} mended, {} otherwise changed, {} gone, {} new; {before} s before, {after} s now",
            screen::verb("Summary"),
            all.regressions.len(),
            all.fixes.len(),
            all.other.len(),
            all.gone.len(),
            all.new.len()
        ));
    }
    Ok(if all.regressions.is_empty() && all.gone.is_empty() {
        Exit::Green
    } else {
        Exit::Red
    })
}

fn report(path: &Path) -> Result<GateReport, Stop> {
    let path = if path.is_dir() {
        path.join(REPORT_FILE)
    } else {
        path.to_owned()
    };
    read_report(&path).map_err(|why| Stop::usage(why, "give a gate-report.json or its folder"))
}
