//! Histories: who asked what when, and what came back.
//!
//! Three formats are read. *JSON lines*, our own: one object a line, so that a history can be grepped,
//! cut and read by other tools ([`Event`] has its fields; [`Format::Jsonl`]). *Jepsen's EDN*
//! ([`Format::Edn`]), which is written too, and the lines of *Jepsen's log* ([`Format::JepsenLog`]).
//! A JSON line has a clock, and what shares a tick was concurrent; Jepsen's formats are ordered as
//! they stand.
//!
//! The words are Jepsen's: an `invoke` is followed by `ok` (answered), `fail` (certainly without
//! effect) or `info` (nobody knows). Nothing here says what an operation means; models do.

mod calls;
mod edn;
mod lines;
mod log;
mod malformed;

#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use calls::{Call, Located, Pairing, calls};
pub use malformed::Malformed;

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

impl Kind {
    const ALL: [Self; 4] = [Self::Invoke, Self::Ok, Self::Fail, Self::Info];

    /// `invoke`, `ok`, `fail` or `info`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One event of a history; as JSON, a line of it.
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

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON lines.
    Jsonl,
    /// Jepsen's EDN.
    Edn,
    /// Lines of Jepsen's log.
    JepsenLog,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jsonl, Self::JepsenLog, Self::Edn];

    /// `jsonl`, `edn` or `jepsen-log`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Edn => "edn",
            Self::JepsenLog => "jepsen-log",
        }
    }

    /// What a text that begins so seems to be: a JSON object, a line of Jepsen's log, or a form of
    /// EDN. None for anything else.
    #[must_use]
    pub fn guess(beginning: &str) -> Option<Self> {
        let text = beginning.trim_start();
        // An object's first letter after the brace is a quote in JSON and a colon in EDN.
        let inside = text.strip_prefix('{').map(str::trim_start);
        match (inside, text.chars().next()?) {
            (Some(inside), _) if inside.starts_with('"') => Some(Self::Jsonl),
            (Some(inside), _) if inside.starts_with(':') => Some(Self::Edn),
            (_, '[' | ';' | '#') => Some(Self::Edn),
            _ if beginning.contains("jepsen.") => Some(Self::JepsenLog),
            _ => None,
        }
    }

    /// The events of a text, one by one. JSON lines and logs are not held in memory; EDN is, since a
    /// form may be as long as it likes.
    #[must_use]
    pub fn read<'a>(self, text: impl BufRead + 'a) -> Events<'a> {
        match self {
            Self::Jsonl => Box::new(lines::numbered(text).map(|line| {
                let (number, line) = line?;
                lines::event(number, &line)
            })),
            Self::JepsenLog => {
                let mut events = 0;
                Box::new(lines::numbered(text).filter_map(move |line| {
                    let event = line.and_then(|(number, line)| log::event(number, events, &line));
                    events += u64::from(matches!(event, Ok(Some(_))));
                    event.transpose()
                }))
            }
            Self::Edn => match std::io::read_to_string(text) {
                Ok(text) => {
                    let mut reader = edn::Reader::new(text);
                    Box::new(std::iter::from_fn(move || reader.next_event()))
                }
                Err(error) => {
                    let wrong = Malformed::new(1, error.to_string(), "a readable UTF-8 text");
                    Box::new(std::iter::once(Err(wrong)))
                }
            },
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        let names = || Self::ALL.map(Self::name).join(", ");
        known.ok_or_else(|| format!("expected one of {}", names()))
    }
}

/// Events in the order in which they are written down, until the first that cannot be read.
pub type Events<'a> = Box<dyn Iterator<Item = Result<Located, Malformed>> + 'a>;

/// Events in the order in which they were recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The events.
    pub events: Vec<Event>,
}

impl History {
    /// The events of a text.
    ///
    /// # Errors
    /// The first one that cannot be read.
    pub fn read(format: Format, text: &str) -> Result<Self, Malformed> {
        let events = format.read(text.as_bytes());
        let events = events.map(|located| Ok(located?.event));
        let events = events.collect::<Result<_, _>>()?;
        Ok(Self { events })
    }

    /// Writes JSON lines.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            text += &json_line(event);
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
}

/// An event as a JSON line.
#[must_use]
pub fn json_line(event: &Event) -> String {
    serde_json::to_string(event).expect("an event is plain data")
}

/// An event as a line of Jepsen's EDN, the `index`th of its history.
#[must_use]
pub fn edn_line(index: usize, event: &Event) -> String {
    edn::line(index, event)
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
