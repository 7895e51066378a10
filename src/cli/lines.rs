//! The words of a run's lines: one a gate, one summary, one verdict. Pure.

use std::time::Duration;

use super::exit::Exit;
use super::screen::verb;
use crate::model::{Plan, Ruling, Verdict};
use crate::runner::Row;

/// How many violations of a gate are shown; the report has all.
const VIOLATIONS_SHOWN: usize = 5;

/// `        PASS [   0.036s] ( 1/84) v4.7/A1 audit-chain-present  12 entries, 0 gaps`
pub(super) fn gate(row: &Row, number: usize, of: usize) -> String {
    let time = if row.driven {
        time(row.duration)
    } else {
        " ".repeat(9)
    };
    let (width, id) = (of.to_string().len(), format!("{:<7}", row.id));
    let verb = verb(row.status.word());
    format!(
        "{verb} [{time}] ({number:>width$}/{of}) {id} {}  {}",
        row.name, row.detail
    )
}

/// A failure again, with what was seen.
pub(super) fn failure(row: &Row) -> Vec<String> {
    let mut lines = vec![format!("{} {} {}", verb("FAIL"), row.id, row.name)];
    let shown = row.violations.iter().take(VIOLATIONS_SHOWN);
    lines.extend(shown.map(|violation| format!("{:>12} {violation}", "")));
    if row.violations.len() > VIOLATIONS_SHOWN {
        let more = row.violations.len() - VIOLATIONS_SHOWN;
        lines.push(format!("{:>12} and {more} more, in the report", ""));
    }
    lines
}

/// `    Unsigned by anybody: ...`
pub(super) fn unsigned() -> String {
    let text = "by anybody: `verdict` will hold the report; say --sign-key FILE";
    format!("{} {text}", verb("Unsigned"))
}

/// `     Summary [   4.812s] 84 gates: 6 pass, 0 fail, 78 unknown, 0 skip; floor 0/66, delta 6/18`
pub(super) fn summary(ruling: &Ruling, elapsed: Duration) -> String {
    let (all, floor, delta) = (
        ruling.summary.all,
        ruling.summary.floor,
        ruling.summary.delta,
    );
    format!(
        "{} [{}] {} gates: {} pass, {} fail, {} unknown, {} skip; floor {}/{}, delta {}/{}",
        verb("Summary"),
        time(elapsed),
        all.total(),
        all.pass,
        all.fail,
        all.unknown,
        all.skip,
        floor.pass,
        floor.total(),
        delta.pass,
        delta.total()
    )
}

/// `        HOLD v4.7: 78 undecided, 84 unproven`
pub(super) fn verdict(ruling: &Ruling, plan: &Plan) -> String {
    let all = ruling.summary.all;
    let mut reasons = Vec::new();
    for (gates, word) in [
        (&ruling.blockers, "failed"),
        (&ruling.undecided, "undecided"),
        (&ruling.unproven, "unproven"),
    ] {
        if !gates.is_empty() {
            reasons.push(format!("{} {word}", gates.len()));
        }
    }
    reasons.extend(ruling.remarks.iter().cloned());
    let text = match (ruling.verdict, reasons.is_empty()) {
        (Verdict::Promote, _) => format!("{}/{} gates pass and are proven", all.pass, all.total()),
        (Verdict::Partial, true) => {
            format!(
                "{} of {} gates selected, all pass",
                all.total() - all.skip,
                all.total()
            )
        }
        (Verdict::Partial, false) => {
            let selected = all.total() - all.skip;
            format!(
                "{selected} of {} gates selected: {}",
                all.total(),
                reasons.join(", ")
            )
        }
        (Verdict::Hold, _) => reasons.join(", "),
    };
    format!(
        "{} {}: {text}",
        verb(ruling.verdict.word()),
        plan.release.name
    )
}

/// How a gate run ends: FAIL before anything that stayed open.
pub(super) fn exit(ruling: &Ruling) -> Exit {
    match (ruling.blockers.is_empty(), ruling.green) {
        (false, _) => Exit::Red,
        (true, true) => Exit::Green,
        (true, false) => Exit::Open,
    }
}

/// Where the time of each driven gate went.
pub(super) fn timings(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| row.driven) {
        let parts: Vec<String> = row
            .phases
            .named()
            .iter()
            .map(|(name, duration)| format!("{name} {}", time(*duration).trim_start()))
            .collect();
        lines.push(format!(
            "{} [{}] {}  {}",
            verb("Timing"),
            time(row.duration),
            row.name,
            parts.join(", ")
        ));
    }
    lines
}

/// Seconds in nine columns: `   0.036s`.
pub(super) fn time(duration: Duration) -> String {
    format!("{:>8.3}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Class, Facts, Model, Selection, Status};

    fn plan() -> Plan {
        Model::embedded()
            .unwrap()
            .plan("v4.7", &Selection::default())
            .unwrap()
    }

    fn plain(line: &str) -> String {
        anstream::adapter::strip_str(line).to_string()
    }

    #[test]
    fn a_gate_is_one_line_with_its_verb_in_twelve_columns() {
        let plan = plan();
        let mut row = Row::settled(&plan.gates[66], Status::Pass, "12 entries, 0 gaps");
        row.driven = true;
        row.duration = Duration::from_millis(36);
        assert_eq!(
            plain(&gate(&row, 1, 84)),
            "        PASS [   0.036s] ( 1/84) v4.7/A1 audit-chain-present  12 entries, 0 gaps"
        );
        let row = Row::settled(&plan.gates[66], Status::Unknown, "no check yet");
        assert_eq!(
            plain(&gate(&row, 84, 84)),
            "     UNKNOWN [         ] (84/84) v4.7/A1 audit-chain-present  no check yet"
        );
    }

    #[test]
    fn the_summary_and_the_verdict_count() {
        let statuses = [Status::Pass, Status::Unknown, Status::Unknown];
        let ruling = Facts {
            rows: statuses
                .iter()
                .map(|status| ("gate", Class::Delta, *status))
                .collect(),
            expected: (0, 3),
            whole: true,
            unproven: vec!["gate".to_owned()],
            ..Facts::default()
        }
        .rule();
        assert_eq!(
            plain(&summary(&ruling, Duration::from_millis(4812))),
            "     Summary [   4.812s] 3 gates: 1 pass, 0 fail, 2 unknown, 0 skip; floor 0/0, delta 1/3"
        );
        assert_eq!(
            plain(&verdict(&ruling, &plan())),
            "        HOLD v4.7: 2 undecided, 1 unproven"
        );
    }

    #[test]
    fn the_exit_code_follows_the_ruling() {
        let end = |statuses: &[Status], mutated| {
            let rows = statuses
                .iter()
                .map(|status| ("gate", Class::Delta, *status))
                .collect();
            exit(
                &Facts {
                    rows,
                    expected: (0, statuses.len()),
                    mutated,
                    ..Facts::default()
                }
                .rule(),
            )
        };
        use Status::{Fail, Pass, Skip, Unknown};
        assert_eq!(end(&[Pass, Skip], false), Exit::Green);
        assert_eq!(end(&[Pass, Unknown], false), Exit::Open);
        assert_eq!(end(&[Fail, Unknown], false), Exit::Red);
        assert_eq!(end(&[Fail], true), Exit::Red);
        assert_eq!(end(&[Pass], true), Exit::Open);
    }
}
