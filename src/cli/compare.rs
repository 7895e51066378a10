//! `compare`: two reports, gate by gate.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Stop};
use super::screen;
use crate::report::{GateReport, REPORT_FILE};
use crate::verdict::{Comparison, compare, read_report};

/// Example: sonia-gate compare releases/v4.7.0-baseline releases/v4.7.0
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 nothing broke; 1 a gate that passed does not, is gone, or is not proven any more; 2 no
report there.
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
        as_text(&all).iter().for_each(|line| screen::print(line));
    }
    let lost = [
        all.regressions.len(),
        all.gone.len(),
        all.newly_unproven.len(),
    ];
    Ok(if lost == [0; 3] {
        Exit::Green
    } else {
        Exit::Red
    })
}

/// A line a change, and one that counts them.
fn as_text(all: &Comparison) -> Vec<String> {
    let mut lines = changes(all);
    lines.push(format!("{} {}", screen::verb("Summary"), counted(all)));
    lines
}

/// A line a change.
pub(super) fn changes(all: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |word: &str, text: String| lines.push(format!("{} {text}", screen::verb(word)));
    for (word, changes) in [
        ("BROKEN", &all.regressions),
        ("MENDED", &all.fixes),
        ("CHANGED", &all.other),
    ] {
        for one in changes {
            let (gate, before, after) = (&one.gate, one.before, one.after);
            let text = format!("{gate} was {before}, is {after}  {}", one.detail);
            say(word, text.trim_end().to_owned());
        }
    }
    for (word, names) in [
        ("GONE", &all.gone),
        ("NEW", &all.new),
        ("UNPROVEN", &all.newly_unproven),
    ] {
        for name in names {
            say(word, name.clone());
        }
    }
    for one in &all.slower {
        let text = format!(
            "{} took {} s, takes {} s",
            one.gate, one.before_s, one.after_s
        );
        say("SLOWER", text);
    }
    lines
}

/// `0 broken, 2 mended, ...; 24.1 s before, 22.9 s now`
pub(super) fn counted(all: &Comparison) -> String {
    let (before, after) = all.elapsed_s;
    format!(
        "{} broken, {} mended, {} otherwise changed, {} gone, {} new, {} newly unproven, {} much slower; \
         {before} s before, {after} s now",
        all.regressions.len(),
        all.fixes.len(),
        all.other.len(),
        all.gone.len(),
        all.new.len(),
        all.newly_unproven.len(),
        all.slower.len()
    )
}

/// The report of a folder, or one that stands alone.
pub(super) fn report(path: &Path) -> Result<GateReport, Stop> {
    let path = if path.is_dir() {
        path.join(REPORT_FILE)
    } else {
        path.to_owned()
    };
    read_report(&path).map_err(|why| Stop::usage(why, "give a gate-report.json or its folder"))
}
