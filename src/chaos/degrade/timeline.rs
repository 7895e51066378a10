//! What was seen of one target during degrade cycles, in the order it was seen: batches of turns,
//! reads of the event log, probes of what is shed, status reads, starts and kills.
//!
//! Observations only. [`Batch::speed`] is arithmetic over recorded times, for driver and judge.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The target rounds what it measures to three digits, so that close to a threshold we do not
/// know: this share of it, on both sides.
pub(super) const ROUNDING: f64 = 0.002;

/// One turn as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Just before it was sent.
    pub invoked_us: u64,
    /// After the last byte of the answer; none when there was no answer.
    pub returned_us: Option<u64>,
    /// The status, 0 without an answer.
    pub status: u16,
    /// `error.code` of a refusal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
}

/// What the recorded times say of turns against a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Every one was certainly over it.
    Slow,
    /// Every one was certainly under it.
    Fast,
    /// The times do not say.
    Either,
}

/// Turns that were sent together and awaited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Before the first was sent.
    pub invoked_us: u64,
    /// After the last returned.
    pub returned_us: u64,
    /// The turns.
    pub turns: Vec<Turn>,
    /// Arrival and release of each call that reached the model's double meanwhile.
    pub model_calls: Vec<(u64, u64)>,
    /// What the link to the model added, in each direction, during the whole batch.
    pub wire_delay_ms: u64,
}

impl Batch {
    /// How its turns stand to a threshold. Slow by what the double and the link held back, fast
    /// by what the client measured: neither is the target's own word.
    pub fn speed(&self, threshold_ms: f64) -> Speed {
        let (over_us, under_us) = (
            threshold_ms * 1e3 * (1.0 + ROUNDING),
            threshold_ms * 1e3 * (1.0 - ROUNDING),
        );
        let held = self.model_calls.len() >= self.turns.len()
            && self
                .model_calls
                .iter()
                .all(|(at, out)| out.saturating_sub(*at) as f64 >= over_us);
        if !self.all_sampled() {
            // A refused turn may be no sample at all.
            Speed::Either
        } else if held || self.wire_delay_ms as f64 * 1e3 >= over_us {
            Speed::Slow
        } else if self
            .turns
            .iter()
            .all(|turn| turn.took_us() as f64 <= under_us)
        {
            Speed::Fast
        } else {
            Speed::Either
        }
    }

    /// When the last of its turns can have ended at the earliest: after the model let it go.
    pub fn released_us(&self) -> u64 {
        self.model_calls
            .iter()
            .map(|call| call.1)
            .max()
            .unwrap_or(0)
            .max(self.invoked_us)
    }
}

impl Turn {
    /// How long the client waited; without an answer, for ever.
    fn took_us(&self) -> u64 {
        self.returned_us.map_or(u64::MAX, |returned| {
            returned.saturating_sub(self.invoked_us)
        })
    }
}

/// One event of the target's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log.
    pub seq: u64,
    /// `slo.window`, `slo.degrade.entered`, `slo.degrade.exited`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub data: Value,
}

/// Reads of the event log after what was known before. Reads in a row that found nothing new are
/// one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// When the first was sent.
    pub invoked_us: u64,
    /// When the last returned.
    pub returned_us: u64,
    /// How many there were.
    pub reads: u32,
    /// The status of the last, 0 without an answer.
    pub status: u16,
    /// The new events whose type begins with `slo.`.
    pub events: Vec<Event>,
}

/// A kind of work that may be shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// `POST /v1/vision/frames`: shed while not normal.
    VisionFrame,
    /// `POST /store` with priority `low`: shed while not normal.
    MemoryWriteLow,
    /// `POST /store` with priority `normal`: never shed.
    MemoryWriteNormal,
}

impl Work {
    /// Its name in the `slo.shed` config and in the counters.
    pub fn name(self) -> &'static str {
        match self {
            Work::VisionFrame => "vision_frame",
            Work::MemoryWriteLow => "memory_write_low",
            Work::MemoryWriteNormal => "memory_write_normal",
        }
    }
}

/// One request for work that may be shed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was asked for.
    pub work: Work,
    /// When it was sent.
    pub invoked_us: u64,
    /// When its answer was there; none when there was no answer.
    pub returned_us: Option<u64>,
    /// The status, 0 without an answer.
    pub status: u16,
    /// `error.code` of a refusal.
    pub code: String,
    /// Whether the refusal said when to come back.
    pub retry_after: bool,
}

impl Probe {
    /// Whether it was refused as shed work is: 503 SHED with Retry-After.
    pub fn shed(&self) -> bool {
        self.status == 503 && self.code == "SHED" && self.retry_after
    }

    /// Whether it was done.
    pub fn served(&self) -> bool {
        self.status == 201
    }
}

/// One read of the status route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The path.
    pub path: String,
    /// Whether credentials were sent.
    pub credentials: bool,
    /// When it was sent.
    pub invoked_us: u64,
    /// When its answer was there; none when there was no answer.
    pub returned_us: Option<u64>,
    /// The status code, 0 without an answer.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// Turns that do not end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hanging {
    /// Before the first was sent.
    pub invoked_us: u64,
    /// How many the model had when all had arrived there that would.
    pub held: usize,
    /// When that was.
    pub held_us: u64,
}

/// A content of the config file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// What it is called in messages.
    pub name: String,
    /// Before it was written.
    pub invoked_us: u64,
    /// When it was all there.
    pub returned_us: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// The `slo` key of a content that is to be taken; none for one that is not.
    pub slo: Option<Value>,
    /// What a refusal has to name, in path or message.
    pub names: String,
    /// The process, if it still ran.
    pub pid: Option<u32>,
}

/// Looks at `config.slo` of the gateway's `/status` until it was as awaited, or for long enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effective {
    /// When the first was sent.
    pub invoked_us: u64,
    /// When the last returned.
    pub returned_us: u64,
    /// How many there were.
    pub looks: u32,
    /// What the last one showed.
    pub slo: Value,
    /// The process, if it still ran.
    pub pid: Option<u32>,
}

/// One thing that was seen or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The target was started with this `slo` key, and was ready.
    Started {
        /// Before the process was made.
        from_us: u64,
        /// After its ready line.
        ready_us: u64,
        /// The `slo` key of its config.
        slo: Value,
    },
    /// It was killed.
    Killed {
        /// Before the signal was sent.
        at_us: u64,
    },
    /// Turns.
    Batch(Batch),
    /// The event log.
    Read(Read),
    /// Work that may be shed.
    Probe(Probe),
    /// The status route.
    Status(Status),
    /// Turns were sent that the model holds; none of them ends before the next batch does.
    Hanging(Hanging),
    /// The config file got another content.
    Edit(Edit),
    /// The config that the target says is in force.
    Effective(Effective),
}

/// What was seen of one target, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Timeline {
    /// Adds a step. Empty reads in a row become one.
    pub fn push(&mut self, step: Step) {
        if let (Some(Step::Read(last)), Step::Read(next)) = (self.steps.last_mut(), &step)
            && last.events.is_empty()
            && last.status == next.status
        {
            last.returned_us = next.returned_us;
            last.reads += next.reads;
            last.events.clone_from(&next.events);
            return;
        }
        self.steps.push(step);
    }

    /// The batches, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.steps.iter().filter_map(|step| match step {
            Step::Batch(batch) => Some(batch),
            _ => None,
        })
    }

    /// The contents of the config file, in order.
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.steps.iter().filter_map(|step| match step {
            Step::Edit(edit) => Some(edit),
            _ => None,
        })
    }

    /// Every event that was read, in order, and when the read was over.
    pub fn events(&self) -> impl Iterator<Item = (&Event, u64)> {
        let reads = self.steps.iter().filter_map(|step| match step {
            Step::Read(read) => Some(read),
            _ => None,
        });
        reads.flat_map(|read| read.events.iter().map(|event| (event, read.returned_us)))
    }

    /// What was seen up to the first event of this type, and nothing after it.
    #[must_use]
    pub fn up_to(&self, kind: &str) -> Timeline {
        let mut line = Timeline::default();
        for step in &self.steps {
            let Step::Read(read) = step else {
                line.steps.push(step.clone());
                continue;
            };
            let mut read = read.clone();
            let at = read.events.iter().position(|event| event.kind == kind);
            if let Some(at) = at {
                read.events.truncate(at + 1);
            }
            line.steps.push(Step::Read(read));
            if at.is_some() {
                break;
            }
        }
        line
    }

    /// The probes, in order.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.steps.iter().filter_map(|step| match step {
            Step::Probe(probe) => Some(probe),
            _ => None,
        })
    }

    /// The status reads, in order.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.steps.iter().filter_map(|step| match step {
            Step::Status(status) => Some(status),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(took_ms: u64, held_ms: u64, calls: usize) -> Batch {
        let turn = Turn {
            invoked_us: 1000,
            returned_us: Some(1000 + took_ms * 1000),
            status: 200,
            code: String::new(),
        };
        Batch {
            invoked_us: 1000,
            returned_us: 1000 + took_ms * 1000,
            turns: vec![turn; 5],
            model_calls: vec![(2000, 2000 + held_ms * 1000); calls],
            wire_delay_ms: 0,
        }
    }

    #[test]
    fn speed_is_certain_only_by_times_of_our_own() {
        assert_eq!(batch(320, 300, 5).speed(250.0), Speed::Slow);
        assert_eq!(batch(20, 1, 5).speed(250.0), Speed::Fast);
        // Slow to us, but nobody held it: the harness may have been slow.
        assert_eq!(batch(320, 1, 5).speed(250.0), Speed::Either);
        // At the threshold nobody knows.
        assert_eq!(batch(260, 250, 5).speed(250.0), Speed::Either);
        // A turn that never reached the model was not slowed by it.
        assert_eq!(batch(320, 300, 4).speed(250.0), Speed::Either);
    }

    #[test]
    fn a_delay_on_the_wire_is_ours_too() {
        assert_eq!(
            Batch {
                wire_delay_ms: 300,
                ..batch(640, 1, 5)
            }
            .speed(250.0),
            Speed::Slow
        );
        assert_eq!(
            Batch {
                wire_delay_ms: 100,
                ..batch(640, 1, 5)
            }
            .speed(250.0),
            Speed::Either
        );
    }

    #[test]
    fn a_refused_or_unanswered_turn_says_nothing() {
        let mut refused = batch(20, 1, 5);
        refused.turns[3].status = 503;
        assert_eq!(refused.speed(250.0), Speed::Either);
        let mut open = batch(20, 1, 5);
        (open.turns[3].status, open.turns[3].returned_us) = (0, None);
        assert_eq!(open.speed(250.0), Speed::Either);
    }

    #[test]
    fn empty_reads_become_one_step_and_the_first_event_ends_it() {
        let read = |at: u64, events: Vec<Event>| {
            Step::Read(Read {
                invoked_us: at,
                returned_us: at + 1,
                reads: 1,
                status: 200,
                events,
            })
        };
        let event = Event {
            seq: 1,
            kind: "slo.window".into(),
            data: Value::Null,
        };
        let mut line = Timeline::default();
        for step in [
            read(0, vec![]),
            read(5, vec![]),
            read(10, vec![event]),
            read(15, vec![]),
        ] {
            line.push(step);
        }
        assert_eq!(line.steps.len(), 2);
        let Step::Read(first) = &line.steps[0] else {
            panic!("{line:?}")
        };
        assert_eq!(
            (first.invoked_us, first.returned_us, first.reads),
            (0, 11, 3)
        );
        assert_eq!(first.events.len(), 1);
    }
}
