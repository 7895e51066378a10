//! Invocations with what became of them.

use std::collections::HashMap;

use super::{Event, Kind, Malformed};

/// An event with its place in a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The line that it came from, from 1.
    pub line: usize,
    /// What orders it: microseconds where a format has a clock (equal ones are concurrent), else the
    /// number of the event (no two are equal).
    pub at: u64,
    /// The event.
    pub event: Event,
}

/// An invocation with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its `invoke` event.
    pub invoke: Located,
    /// Its `ok`, `fail` or `info` event; `None` when the history ends first.
    pub end: Option<Located>,
}

impl Call {
    /// Its answer, if there was one.
    pub fn answer(&self) -> Option<&Located> {
        self.end.as_ref().filter(|end| end.event.kind == Kind::Ok)
    }

    /// Whether it certainly had no effect.
    pub fn failed(&self) -> bool {
        let end = self.end.as_ref();
        end.is_some_and(|end| end.event.kind == Kind::Fail)
    }

    /// From when to when it was under way, if it was answered.
    pub fn interval(&self) -> Option<(u64, u64)> {
        Some((self.invoke.at, self.answer()?.at))
    }
}

/// Pairs events into calls one by one, holding no more than what is under way.
#[derive(Debug, Default)]
pub struct Pairing {
    under_way: HashMap<u64, Located>,
}

impl Pairing {
    /// Takes the next event; gives the call that it ends.
    ///
    /// # Errors
    /// When its process is busy, or not, or busy with something else, or ends before it began.
    pub fn take(&mut self, next: Located) -> Result<Option<Call>, Malformed> {
        let Event { process, kind, .. } = next.event;
        let f = &next.event.f;
        if kind == Kind::Invoke {
            if let Some(earlier) = self.under_way.get(&process) {
                return Err(Malformed::new(
                    next.line,
                    format!("process {process} invokes {f}"),
                    format!(
                        "the end of the {} that it invoked on line {}",
                        earlier.event.f, earlier.line
                    ),
                ));
            }
            self.under_way.insert(process, next);
            return Ok(None);
        }
        let wrong = |expected: String| {
            let what = format!("process {process} ends {f}");
            Err(Malformed::new(next.line, what, expected))
        };
        let Some(invoke) = self.under_way.remove(&process) else {
            return wrong("an invocation of it before".to_owned());
        };
        if invoke.event.f != *f {
            let (f, line) = (&invoke.event.f, invoke.line);
            return wrong(format!("the end of the {f} that it invoked on line {line}"));
        }
        if next.at < invoke.at {
            return Err(Malformed::new(
                next.line,
                format!("{f} ends at {} us", next.at),
                format!("no earlier than its invocation at {} us", invoke.at),
            ));
        }
        let end = Some(next);
        Ok(Some(Call { invoke, end }))
    }

    /// What is still under way, in the order of the lines.
    #[must_use]
    pub fn rest(self) -> Vec<Call> {
        let mut rest: Vec<Call> = self
            .under_way
            .into_values()
            .map(|invoke| Call { invoke, end: None })
            .collect();
        rest.sort_by_key(|call| call.invoke.line);
        rest
    }
}

/// All calls of a history, in the order of their invocations.
///
/// # Errors
/// The first event that cannot have happened, or cannot be read.
pub fn calls(
    events: impl IntoIterator<Item = Result<Located, Malformed>>,
) -> Result<Vec<Call>, Malformed> {
    let (mut pairing, mut calls) = (Pairing::default(), Vec::new());
    for event in events {
        calls.extend(pairing.take(event?)?);
    }
    calls.extend(pairing.rest());
    calls.sort_by_key(|call| (call.invoke.at, call.invoke.line));
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn event(process: u64, kind: Kind, time_us: u64) -> Event {
        Event {
            process,
            kind,
            f: "read".into(),
            value: Value::Null,
            time_us,
            correlation_id: None,
        }
    }

    fn paired(events: Vec<Event>) -> Result<Vec<Call>, Malformed> {
        let located = events.into_iter().enumerate().map(|(index, event)| {
            Ok(Located {
                line: index + 1,
                at: event.time_us,
                event,
            })
        });
        calls(located)
    }

    #[test]
    fn calls_are_paired_by_process() {
        let calls = paired(vec![
            event(1, Kind::Invoke, 1),
            event(2, Kind::Invoke, 2),
            event(2, Kind::Ok, 3),
            event(1, Kind::Info, 4),
            event(3, Kind::Invoke, 5),
            event(4, Kind::Invoke, 6),
            event(4, Kind::Fail, 7),
        ])
        .unwrap();
        let intervals: Vec<_> = calls.iter().map(Call::interval).collect();
        assert_eq!(intervals, [None, Some((2, 3)), None, None]);
        assert_eq!(calls[0].end.as_ref().unwrap().event.kind, Kind::Info);
        assert_eq!(calls[2].end, None);
        let failed: Vec<_> = calls.iter().map(Call::failed).collect();
        assert_eq!(failed, [false, false, false, true]);
    }

    #[test]
    fn what_cannot_have_happened_is_refused_with_its_line() {
        let refused = |events: &[Event]| paired(events.to_vec()).unwrap_err().to_string();
        assert_eq!(
            refused(&[event(1, Kind::Invoke, 1), event(1, Kind::Invoke, 2)]),
            "line 2: process 1 invokes read, expected the end of the read that it invoked on line 1"
        );
        assert_eq!(
            refused(&[event(1, Kind::Ok, 1)]),
            "line 1: process 1 ends read, expected an invocation of it before"
        );
        assert_eq!(
            refused(&[event(1, Kind::Invoke, 2), event(1, Kind::Ok, 1)]),
            "line 2: read ends at 1 us, expected no earlier than its invocation at 2 us"
        );
        let mut other = event(1, Kind::Ok, 2);
        other.f = "write".into();
        assert_eq!(
            refused(&[event(1, Kind::Invoke, 1), other]),
            "line 2: process 1 ends write, expected the end of the read that it invoked on line 1"
        );
    }
}
