//! GitHub's annotations (workflow commands on stdout) and the Markdown of its step summary.

use std::fmt::Write;

use crate::model::{Plan, Status};
use crate::report::GateReport;

/// How many annotations of a kind GitHub shows of a step.
const SHOWN: usize = 10;

/// The lines to print: an error for each gate that FAILs, a warning for each that stays open, and a
/// notice of how many more there are.
#[must_use]
pub fn annotations(report: &GateReport, plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for (status, command) in [(Status::Fail, "error"), (Status::Unknown, "warning")] {
        let rows = report.gates.iter().filter(|row| row.status == status);
        let count = rows.clone().count();
        for row in rows.take(SHOWN) {
            let gate = plan.gates.iter().find(|gate| gate.spec.name == row.name);
            let place = gate.map_or(String::new(), |gate| {
                let (file, line) = (property(&gate.spec.file), gate.spec.line);
                format!("file={file},line={line},")
            });
            let title = property(&format!("{status} {} {}", row.id, row.name));
            let text = data(&row.detail);
            lines.push(format!("::{command} {place}title={title}::{text}"));
        }
        if count > SHOWN {
            let more = count - SHOWN;
            lines.push(format!(
                "::notice::{more} more gates are {status}, in the report"
            ));
        }
    }
    lines
}

fn data(text: &str) -> String {
    let text = text.replace('%', "%25");
    text.replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The summary of a run: its verdict, counts, and every gate that is not green.
#[must_use]
pub fn step_summary(report: &GateReport) -> String {
    let counts = &report.summary;
    let mut text = format!(
        "## sonia-gate {}: {}\n\n{} gates: {} pass, {} fail, {} unknown, {} skip; floor {}/{}, delta \
         {}/{}; seed {}\n",
        report.release,
        report.verdict,
        counts.total,
        counts.pass,
        counts.fail,
        counts.unknown,
        counts.skip,
        counts.floor_pass,
        counts.floor_total,
        counts.delta_pass,
        counts.delta_total,
        report.seed
    );
    let mut rows = report
        .gates
        .iter()
        .filter(|row| matches!(row.status, Status::Fail | Status::Unknown))
        .peekable();
    if rows.peek().is_some() {
        text.push_str("\n| | gate | what was seen |\n|---|---|---|\n");
    }
    for row in rows {
        let detail = cell(&row.detail);
        let _ = writeln!(
            text,
            "| {} | {} {} | {detail} |",
            row.status, row.id, row.name
        );
    }
    for (word, gates) in [("Unproven", &report.unproven), ("Remarks", &report.remarks)] {
        if !gates.is_empty() {
            let _ = writeln!(text, "\n{word}: {}", cell(&gates.join(", ")));
        }
    }
    text
}

/// Text that neither ends a cell nor means anything to Markdown or HTML.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample::report_of_three;
    use super::*;

    #[test]
    fn what_is_red_is_an_error_and_what_is_open_a_warning() {
        let (plan, report) = report_of_three();
        let lines = annotations(&report, &plan);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("::error file=gates/v4.7.toml,line="));
        let end = ",title=FAIL v4.7/A1 audit-chain-present::seq 2 <got> 4, expected 3 (and 1 more)";
        assert!(lines[0].ends_with(end), "{}", lines[0]);
        assert!(lines[1].starts_with("::warning "));
    }

    #[test]
    fn no_text_of_a_target_ends_a_command() {
        assert_eq!(data("100 %\n::error::x"), "100 %25%0A::error::x");
        assert_eq!(property("a:b,c%"), "a%3Ab%2Cc%25");
    }

    #[test]
    fn what_github_would_hide_is_counted() {
        let (plan, mut report) = report_of_three();
        for row in &mut report.gates {
            row.status = Status::Fail;
        }
        let lines = annotations(&report, &plan);
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[10], "::notice::74 more gates are FAIL, in the report");
    }

    #[test]
    fn the_summary_has_every_gate_that_is_not_green_and_no_markup_of_theirs() {
        let (_, report) = report_of_three();
        let text = step_summary(&report);
        assert!(text.starts_with("## sonia-gate v4.7: PARTIAL\n"));
        let row =
            "| FAIL | v4.7/A1 audit-chain-present | seq 2 &lt;got&gt; 4, expected 3 (and 1 more) |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| UNKNOWN | v4.7/B1 approval-race-safe |"));
        assert!(!text.contains("sustained-breach-detect"));
        assert_eq!(cell("a|b\n*c*"), "a\\|b \\*c\\*");
    }
}
