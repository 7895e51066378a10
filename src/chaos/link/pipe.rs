//! One direction of one connection between its sockets: the faults of the link, then its toxics in
//! the order in which they were added. What comes in goes through every stage in order; taking a
//! stage out hands what it has to the next one. It touches no socket.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::faults::Delay;
use super::roster::Entry;
use super::stage::{Next, Parcel, Stage};
use super::toxic::{Stream, Toxic, ToxicKind};
use crate::base::Seed;

/// The place of the link's own delay, before every toxic.
const FAULTS: usize = 0;

pub(super) struct Pipe {
    stream: Stream,
    /// Of the connection.
    seed: Seed,
    /// The first is the delay that the link has without toxics.
    stages: Vec<Stage>,
    /// What is due.
    out: VecDeque<Parcel>,
}

/// What time has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A toxic resets the connection.
    Reset,
    /// Nothing more happens by itself before then; none is until something comes.
    Wake(Option<Instant>),
}

impl Pipe {
    pub(super) fn new(stream: Stream, seed: Seed, now: Instant) -> Self {
        let faults = Stage::new(delay(stream, Delay::default()), seed, now);
        Self {
            stream,
            seed,
            stages: vec![faults],
            out: VecDeque::new(),
        }
    }

    /// The link's own delay for what comes from now on.
    pub(super) fn faults(&mut self, delays: Delay) {
        self.stages[FAULTS].follow(delay(self.stream, delays));
    }

    /// Brings the stages to what the link has now.
    pub(super) fn follow(&mut self, entries: &[Arc<Entry>], now: Instant) {
        let stream = self.stream;
        let wanted = || entries.iter().filter(|entry| entry.toxic.stream == stream);
        // From the last to the first: what one gives up finds the way free of those that went.
        for at in (FAULTS + 1..self.stages.len()).rev() {
            let id = self.stages[at].entry().id;
            match wanted().find(|entry| entry.id == id) {
                Some(entry) if Arc::ptr_eq(entry, self.stages[at].entry()) => {}
                Some(entry) => self.stages[at].update(Arc::clone(entry), now),
                None => {
                    for parcel in self.stages.remove(at).release(now) {
                        match self.stages.get_mut(at) {
                            Some(next) => next.put(parcel),
                            None => self.out.push_back(parcel),
                        }
                    }
                }
            }
        }
        let last = self.stages.last().map_or(0, |stage| stage.entry().id);
        for entry in wanted().filter(|entry| entry.id > last) {
            let stage = Stage::new(Arc::clone(entry), self.seed, now);
            self.stages.push(stage);
        }
    }

    /// Whether bytes may pass by: nothing is here, and nothing would happen to them.
    pub(super) fn plain(&self) -> bool {
        self.stages.len() == 1 && self.stages[FAULTS].transparent() && self.out.is_empty()
    }

    /// Whether more may come.
    pub(super) fn room(&self) -> bool {
        self.stages[FAULTS].room()
    }

    /// Takes what came.
    pub(super) fn put(&mut self, parcel: Parcel) {
        self.stages[FAULTS].put(parcel);
    }

    /// What is to be given next.
    pub(super) fn out(&mut self) -> &mut VecDeque<Parcel> {
        &mut self.out
    }

    /// Moves everything that is due, as far as there is room.
    pub(super) fn advance(&mut self, now: Instant) -> Due {
        loop {
            let (mut moved, mut wake) = (false, None);
            for at in (0..self.stages.len()).rev() {
                let resets_at = self.stages[at].resets_at();
                if resets_at.is_some_and(|at| at <= now) {
                    return Due::Reset;
                }
                wake = sooner(wake, resets_at);
                while self.room_after(at) {
                    match self.stages[at].next(now) {
                        Next::Parcel(parcel) => {
                            moved = true;
                            match self.stages.get_mut(at + 1) {
                                Some(next) => next.put(parcel),
                                None => self.out.push_back(parcel),
                            }
                        }
                        Next::At(at) => {
                            wake = sooner(wake, Some(at));
                            break;
                        }
                        Next::Nothing => break,
                    }
                }
            }
            if !moved {
                return Due::Wake(wake);
            }
        }
    }

    fn room_after(&self, at: usize) -> bool {
        match self.stages.get(at + 1) {
            Some(next) => next.room(),
            None => self.out.is_empty(),
        }
    }
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The link's own delay, said as a toxic. It is on no list, and no list has its id.
fn delay(stream: Stream, delay: Delay) -> Arc<Entry> {
    let kind = ToxicKind::Latency {
        latency_ms: delay.delay_ms,
        jitter_ms: delay.jitter_ms,
    };
    let name = format!("faults {}", stream.word());
    let toxic = Toxic::new(kind, stream).named(name);
    Arc::new(Entry { id: 0, toxic })
}
