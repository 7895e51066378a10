//! Histories: who asked what when, and what came back. One JSON object a line, so that a history can
//! be grepped, cut and read by other tools.
//!
//! The words are Jepsen's: an `invoke` is followed by `ok` (answered), `fail` (certainly without
//! effect) or `info` (nobody knows). It does not say what an operation means; specifications do.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::linear::Operation;

/// What an event says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It was answered; the answer may be a refusal.
    Ok,
    /// It certainly had no effect, and its answer explains nothing.
    Fail,
    /// Whether it happened is unknown: it stays open for ever.
    Info,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Who acts; a process has one operation under way at a time.
    pub process: u64,
    /// Which kind of event.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The operation's name.
    pub f: String,
    /// Its argument, or its answer.
    #[serde(default)]
    pub value: Value,
    /// Microseconds since the start of the run.
    pub time_us: u64,
    /// The id under which the target saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// An invocation with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<'a> {
    /// Its `invoke` event.
    pub invoke: &'a Event,
    /// Its `ok`, `fail` or `info` event; `None` when the history ends first.
    pub end: Option<&'a Event>,
}

impl Call<'_> {
    /// Microseconds from which to which it was under way, if it was answered.
    pub fn interval(&self) -> Option<(u64, u64)> {
        match self.end {
            Some(end) if end.kind == Kind::Ok => Some((self.invoke.time_us, end.time_us)),
            _ => None,
        }
    }
}

/// Why a history cannot be read. Lines count from 1.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Malformed {
    /// Not a JSON object with the fields of an event.
    #[error("line {line}: {what}")]
    Line {
        /// Where.
        line: usize,
        /// What the parser said.
        what: String,
    },
    /// A process began a second operation while its first was under way.
    #[error("event {event}: process {process} invokes {f} while it has an operation under way")]
    Busy {
        /// Which event, from 1.
        event: usize,
        /// Whose.
        process: u64,
        /// What it invoked.
        f: String,
    },
    /// An end without a beginning.
    #[error("event {event}: process {process} ends {f} without having invoked it")]
    NotInvoked {
        /// Which event, from 1.
        event: usize,
        /// Whose.
        process: u64,
        /// What it ended.
        f: String,
    },
    /// An operation that ends before it begins.
    #[error("event {event}: {f} ends at {ended} us, expected no earlier than {invoked} us")]
    Backwards {
        /// Which event, from 1.
        event: usize,
        /// What it ended.
        f: String,
        /// When it began.
        invoked: u64,
        /// When it ended.
        ended: u64,
    },
}

/// Events in the order in which they were recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The events.
    pub events: Vec<Event>,
}

impl History {
    /// Reads JSON lines; empty lines are skipped.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let mut events = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let event = serde_json::from_str(line).map_err(|error| Malformed::Line {
                line: number + 1,
                what: error.to_string(),
            })?;
            events.push(event);
        }
        Ok(Self { events })
    }

    /// Writes JSON lines.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            text += &serde_json::to_string(event).expect("an event is plain data");
            text.push('\n');
        }
        text
    }

    /// Adds one operation: its invocation, and its end if there is one. Operations that end in
    /// `info`, or never, need a process of their own, since theirs has nothing to say any more.
    pub fn record(&mut self, invoke: Event, end: Option<Event>) {
        self.events.push(invoke);
        self.events.extend(end);
    }

    /// Puts events in the order of their times; at one tick invocations come first. Recorded
    /// operation by operation, a history needs this before it is paired.
    pub fn sort(&mut self) {
        self.events
            .sort_by_key(|event| (event.time_us, event.kind != Kind::Invoke));
    }

    /// Pairs invocations with their ends, in order of invocation.
    pub fn calls(&self) -> Result<Vec<Call<'_>>, Malformed> {
        let mut calls: Vec<Call<'_>> = Vec::new();
        let mut under_way: HashMap<u64, usize> = HashMap::new();
        for (index, event) in self.events.iter().enumerate() {
            let (process, f, number) = (event.process, event.f.clone(), index + 1);
            if event.kind == Kind::Invoke {
                if under_way.insert(process, calls.len()).is_some() {
                    return Err(Malformed::Busy {
                        event: number,
                        process,
                        f,
                    });
                }
                calls.push(Call {
                    invoke: event,
                    end: None,
                });
                continue;
            }
            let Some(call) = under_way.remove(&process).map(|call| &mut calls[call]) else {
                return Err(Malformed::NotInvoked {
                    event: number,
                    process,
                    f,
                });
            };
            let invoked = call.invoke.time_us;
            if event.time_us < invoked {
                return Err(Malformed::Backwards {
                    event: number,
                    f,
                    invoked,
                    ended: event.time_us,
                });
            }
            call.end = Some(event);
        }
        Ok(calls)
    }

    /// What the checker takes: `fail` leaves no trace, `info` and a missing end stay open. `read`
    /// gives the input of an invocation, and the output of an `ok` together with its invocation.
    pub fn operations<I, O, E>(
        &self,
        mut input: impl FnMut(&Event) -> Result<I, E>,
        mut output: impl FnMut(&Event, &Event) -> Result<O, E>,
    ) -> Result<Vec<Operation<I, O>>, E>
    where
        E: From<Malformed>,
    {
        let mut operations = Vec::new();
        for call in self.calls()? {
            let invoked = call.invoke.time_us;
            let answered = match call.end {
                Some(end) if end.kind == Kind::Fail => continue,
                Some(end) if end.kind == Kind::Ok => Some((end.time_us, output(call.invoke, end)?)),
                _ => None,
            };
            operations.push(Operation {
                input: input(call.invoke)?,
                invoked,
                answered,
            });
        }
        Ok(operations)
    }
}

/// How many pairs of closed intervals share at least one tick.
pub fn overlapping_pairs(intervals: &[(u64, u64)]) -> u64 {
    let mut ends: Vec<u64> = intervals.iter().map(|&(_, end)| end).collect();
    let mut starts: Vec<u64> = intervals.iter().map(|&(start, _)| start).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut over, mut pairs) = (0, 0);
    for (begun, start) in starts.iter().enumerate() {
        while ends[over] < *start {
            over += 1;
        }
        pairs += (begun - over) as u64;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(process: u64, kind: Kind, time_us: u64) -> Event {
        Event {
            process,
            kind,
            f: "approve".into(),
            value: json!({"fence": 41}),
            time_us,
            correlation_id: (kind == Kind::Invoke).then(|| format!("req_{process}")),
        }
    }

    #[test]
    fn a_history_survives_writing_and_reading() {
        let mut history = History::default();
        history.record(event(1, Kind::Invoke, 10), Some(event(1, Kind::Ok, 30)));
        history.record(event(2, Kind::Invoke, 20), None);
        history.sort();
        assert_eq!(History::read(&history.write()), Ok(history.clone()));
        let times: Vec<u64> = history.events.iter().map(|event| event.time_us).collect();
        assert_eq!(times, [10, 20, 30]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = r#"{"process":1,"type":"invoke","f":"read","time_us":1}"#;
        assert_eq!(History::read(good).unwrap().events.len(), 1);
        for bad in [
            r#"{"process":1}"#,
            "nonsense",
            &good.replace("invoke", "begin"),
        ] {
            let error = History::read(&format!("{good}\n\n{bad}\n")).unwrap_err();
            assert!(matches!(error, Malformed::Line { line: 3, .. }), "{error}");
        }
    }

    #[test]
    fn calls_are_paired_by_process() {
        let history = History {
            events: vec![
                event(1, Kind::Invoke, 1),
                event(2, Kind::Invoke, 2),
                event(2, Kind::Ok, 3),
                event(1, Kind::Info, 4),
                event(3, Kind::Invoke, 5),
            ],
        };
        let calls = history.calls().unwrap();
        let intervals: Vec<_> = calls.iter().map(Call::interval).collect();
        assert_eq!(intervals, [None, Some((2, 3)), None]);
        assert_eq!(calls[0].end.unwrap().kind, Kind::Info);
        assert_eq!(calls[2].end, None);
    }

    #[test]
    fn what_cannot_have_happened_is_refused() {
        let busy = [event(1, Kind::Invoke, 1), event(1, Kind::Invoke, 2)];
        let orphan = [event(1, Kind::Ok, 1)];
        let backwards = [event(1, Kind::Invoke, 2), event(1, Kind::Ok, 1)];
        let refused = |events: &[Event]| {
            History {
                events: events.to_vec(),
            }
            .calls()
            .unwrap_err()
        };
        assert!(matches!(refused(&busy), Malformed::Busy { event: 2, .. }));
        assert!(matches!(
            refused(&orphan),
            Malformed::NotInvoked { event: 1, .. }
        ));
        assert!(matches!(
            refused(&backwards),
            Malformed::Backwards { event: 2, .. }
        ));
    }

    #[test]
    fn failed_operations_leave_no_trace_and_unknown_ones_stay_open() {
        let history = History {
            events: vec![
                event(1, Kind::Invoke, 1),
                event(2, Kind::Invoke, 2),
                event(3, Kind::Invoke, 3),
                event(1, Kind::Fail, 4),
                event(2, Kind::Info, 5),
                event(3, Kind::Ok, 6),
            ],
        };
        let operations: Vec<Operation<u64, Kind>> = history
            .operations(|e| Ok::<_, Malformed>(e.process), |_, end| Ok(end.kind))
            .unwrap();
        assert_eq!(
            operations,
            [Operation::open(2, 2), Operation::closed(3, Kind::Ok, 3, 6)]
        );
    }

    #[test]
    fn overlaps_are_counted_on_closed_intervals() {
        assert_eq!(overlapping_pairs(&[]), 0);
        assert_eq!(overlapping_pairs(&[(0, 1), (2, 3)]), 0);
        assert_eq!(
            overlapping_pairs(&[(0, 2), (2, 3)]),
            1,
            "they shared a tick"
        );
        assert_eq!(overlapping_pairs(&[(0, 9), (1, 2), (3, 4), (4, 5)]), 4);
        assert_eq!(overlapping_pairs(&[(5, 5); 64]), 64 * 63 / 2);
    }

    proptest::proptest! {
        #[test]
        fn the_sweep_counts_what_a_double_loop_counts(
            raw in proptest::collection::vec((0_u64..40, 0_u64..10), 0..30),
        ) {
            let intervals: Vec<_> = raw.iter().map(|&(from, long)| (from, from + long)).collect();
            let mut pairs = 0;
            for (i, a) in intervals.iter().enumerate() {
                pairs += intervals[..i].iter().filter(|b| a.0 <= b.1 && b.0 <= a.1).count() as u64;
            }
            proptest::prop_assert_eq!(overlapping_pairs(&intervals), pairs);
        }
    }
}
