//! What happens in a run, as lines of JSON: one object a line, `version` 1, times in milliseconds
//! since the run began.

use std::time::Duration;

use serde::Serialize;

use crate::model::Status;
use crate::runner::{Row, RunEvent};

/// The version of the lines.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    at_ms: u64,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What<'a> {
    /// The run begins with that many rows, of which so many are driven.
    Started { rows: usize, driven: usize },
    /// A drive of a gate begins.
    GateStarted { gate: &'a str, attempt: usize },
    /// A gate is decided.
    GateFinished {
        gate: &'a str,
        id: &'a str,
        status: Status,
        detail: &'a str,
        duration_ms: u64,
        violations: &'a [String],
        undecided: &'a [String],
    },
}

/// The line of an event, without its line break; `rows` are those of the run.
#[must_use]
pub fn event_line(event: &RunEvent, rows: &[Row], at: Duration) -> String {
    let name = |index: usize| rows.get(index).map_or("", |row| row.name.as_str());
    let what = match event {
        RunEvent::Started { rows, order } => What::Started {
            rows: rows.len(),
            driven: order.len(),
        },
        RunEvent::GateStarted { index, attempt } => What::GateStarted {
            gate: name(*index),
            attempt: *attempt,
        },
        RunEvent::GateFinished { row, .. } => What::GateFinished {
            gate: &row.name,
            id: &row.id,
            status: row.status,
            detail: &row.detail,
            duration_ms: milliseconds(row.duration),
            violations: &row.violations,
            undecided: &row.undecided,
        },
    };
    let line = Line {
        version: VERSION,
        at_ms: milliseconds(at),
        what,
    };
    serde_json::to_string(&line).unwrap_or_default()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Model, Selection};

    #[test]
    fn an_event_is_a_line() {
        let plan = Model::embedded()
            .unwrap()
            .plan("v4.7", &Selection::default())
            .unwrap();
        let row = Row::settled(&plan.gates[0], Status::Fail, "two\nlines");
        let rows = vec![row.clone()];
        let said = |event: RunEvent| -> Value {
            let line = event_line(&event, &rows, Duration::from_millis(1500));
            assert!(!line.contains('\n'));
            serde_json::from_str(&line).unwrap()
        };
        let started = RunEvent::Started {
            rows: rows.clone(),
            order: vec![0],
        };
        let expected = json!({
            "version": 1, "at_ms": 1500, "event": "started", "rows": 1, "driven": 1,
        });
        assert_eq!(said(started), expected);
        let begun = said(RunEvent::GateStarted {
            index: 0,
            attempt: 2,
        });
        assert_eq!(
            (&begun["gate"], &begun["attempt"]),
            (&json!("file-exists"), &json!(2))
        );
        let finished = said(RunEvent::GateFinished {
            index: 0,
            row: Box::new(row),
        });
        assert_eq!(finished["status"], "FAIL");
        assert_eq!(finished["detail"], "two\nlines");
    }
}
