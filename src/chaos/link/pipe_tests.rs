//! Whole pipes without sockets: nothing is lost or overtakes while toxics come, change and go, and
//! the same seed does the same.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::faults::Delay;
use super::pipe::{Due, Pipe};
use super::roster::Roster;
use super::stage::{Parcel, What};
use super::toxic::{Per, Stream, Toxic, ToxicKind};
use crate::base::Seed;

/// What may happen to a pipe. Names are numbers, so that they meet.
#[derive(Clone, Debug)]
enum Deed {
    Send(usize),
    Wait(u64),
    Delay(u64, u64),
    Add(u8, ToxicKind, f32, bool),
    Update(u8, u64),
    Remove(u8),
}

/// Every kind that loses nothing by itself. A reset is far away: it may be added and taken away.
fn harmless() -> impl Strategy<Value = ToxicKind> {
    prop_oneof![
        (0..300_u64, 0..200_u64).prop_map(|(latency_ms, jitter_ms)| ToxicKind::Latency {
            latency_ms,
            jitter_ms
        }),
        (0..50_u64).prop_map(|rate_kb_s| ToxicKind::Bandwidth { rate_kb_s }),
        (1..90_u64, 0..60_u64, 0..9_000_u64).prop_map(
            |(average_bytes, variation_bytes, delay_us)| {
                ToxicKind::Slicer {
                    average_bytes,
                    variation_bytes,
                    delay_us,
                }
            }
        ),
        Just(ToxicKind::LimitData { bytes: u64::MAX }),
        Just(ToxicKind::ResetPeer {
            timeout_ms: 1_000_000_000
        }),
        (0..200_u64).prop_map(|delay_ms| ToxicKind::SlowClose { delay_ms }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let toxicity = prop_oneof![Just(1.0_f32), Just(0.5), Just(0.0)];
    prop_oneof![
        4 => (1..600_usize).prop_map(Deed::Send),
        3 => (0..250_u64).prop_map(Deed::Wait),
        1 => (0..100_u64, 0..50_u64).prop_map(|(delay, jitter)| Deed::Delay(delay, jitter)),
        2 => (0..5_u8, harmless(), toxicity, any::<bool>())
            .prop_map(|(name, kind, toxicity, requests)| Deed::Add(name, kind, toxicity, requests)),
        1 => (0..5_u8, 0..200_u64).prop_map(|(name, number)| Deed::Update(name, number)),
        2 => (0..5_u8).prop_map(Deed::Remove),
    ]
}

/// A pipe, what the link says, and what went in and came out.
struct World {
    pipe: Pipe,
    roster: Roster,
    start: Instant,
    now: Instant,
    sent: usize,
    waiting: usize,
    got: Vec<u8>,
    /// When each came out, in microseconds, and how long it was.
    given: Vec<(u128, usize)>,
    ended: bool,
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

impl World {
    fn new(seed: Seed) -> Self {
        let start = Instant::now();
        Self {
            pipe: Pipe::new(Stream::Upstream, seed, start),
            roster: Roster::default(),
            start,
            now: start,
            sent: 0,
            waiting: 0,
            got: Vec::new(),
            given: Vec::new(),
            ended: false,
        }
    }

    fn follow(&mut self) {
        self.pipe.follow(self.roster.entries(), self.now);
    }

    fn put(&mut self, what: What) {
        self.pipe.put(Parcel {
            came: self.now,
            request: (self.sent / 1_000) as u64,
            what,
        });
    }

    /// Everything that happens now. Gives when something happens next.
    fn settle(&mut self) -> Option<Instant> {
        loop {
            if self.waiting > 0 && self.pipe.room() {
                let bytes: Vec<u8> = (self.sent..self.sent + self.waiting).map(byte).collect();
                self.sent += self.waiting;
                self.waiting = 0;
                self.put(What::Bytes(Bytes::from(bytes)));
            }
            let Due::Wake(wake) = self.pipe.advance(self.now) else {
                panic!("reset, and no reset was due");
            };
            let Some(parcel) = self.pipe.out().pop_front() else {
                return wake;
            };
            match parcel.what {
                What::Bytes(bytes) => {
                    let at = (self.now - self.start).as_micros();
                    self.given.push((at, bytes.len()));
                    self.got.extend_from_slice(&bytes);
                }
                What::End => self.ended = true,
                What::Close => panic!("closed, and nothing closes"),
            }
        }
    }

    fn wait(&mut self, until: Instant) {
        while let Some(wake) = self.settle().filter(|wake| *wake <= until) {
            assert!(wake > self.now, "what was due is not given");
            self.now = wake;
        }
        self.now = until;
        self.settle();
    }

    fn does(&mut self, deed: &Deed) {
        match deed {
            Deed::Send(length) => self.waiting += length,
            Deed::Wait(ms) => self.wait(self.now + Duration::from_millis(*ms)),
            Deed::Delay(delay_ms, jitter_ms) => self.pipe.faults(Delay {
                delay_ms: *delay_ms,
                jitter_ms: *jitter_ms,
            }),
            Deed::Add(name, kind, toxicity, requests) => {
                let per = if *requests {
                    Per::Request
                } else {
                    Per::Connection
                };
                let toxic = Toxic::new(*kind, Stream::Upstream).named(name.to_string());
                // One that is there already stays.
                let _ = self.roster.add(toxic.with_toxicity(*toxicity, per));
                self.follow();
            }
            Deed::Update(name, number) => {
                let name = name.to_string();
                let mut entries = self.roster.entries().iter();
                let Some(entry) = entries.find(|entry| entry.toxic.name == name) else {
                    return;
                };
                let mut toxic = entry.toxic.clone();
                match &mut toxic.kind {
                    ToxicKind::Latency { latency_ms, .. } => *latency_ms = *number,
                    ToxicKind::Bandwidth { rate_kb_s } => *rate_kb_s = *number,
                    ToxicKind::Slicer { average_bytes, .. } => *average_bytes = number + 1,
                    ToxicKind::SlowClose { delay_ms } => *delay_ms = *number,
                    _ => toxic.toxicity = 0.5,
                }
                self.roster.update(toxic).unwrap();
                self.follow();
            }
            Deed::Remove(name) => {
                // One that is not there need not go.
                let _ = self.roster.remove(&name.to_string());
                self.follow();
            }
        }
        self.settle();
    }

    /// Sends the rest and the end, with no toxics left.
    fn finish(&mut self) {
        self.roster.clear();
        self.follow();
        self.wait(self.now + Duration::from_secs(3_600));
        self.put(What::End);
        self.wait(self.now + Duration::from_secs(3_600));
    }
}

fn story(seed: u64, deeds: &[Deed]) -> World {
    let mut world = World::new(Seed(seed));
    for deed in deeds {
        world.does(deed);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_overtakes_while_toxics_come_change_and_go(
        seed in any::<u64>(),
        deeds in prop::collection::vec(deed(), 1..60),
    ) {
        let mut world = story(seed, &deeds);
        world.finish();
        let expected: Vec<u8> = (0..world.sent).map(byte).collect();
        prop_assert!(world.got == expected, "{} bytes, expected {}", world.got.len(), world.sent);
        prop_assert!(world.ended);
        prop_assert!(world.pipe.out().is_empty());
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_at_the_same_times(
        seed in any::<u64>(),
        deeds in prop::collection::vec(deed(), 1..40),
    ) {
        let one = story(seed, &deeds);
        let two = story(seed, &deeds);
        prop_assert_eq!(one.given, two.given);
    }
}

#[test]
fn another_seed_gives_other_times() {
    let kind = ToxicKind::Latency {
        latency_ms: 100,
        jitter_ms: 90,
    };
    let deeds = [
        Deed::Add(0, kind, 1.0, false),
        Deed::Send(9),
        Deed::Wait(500),
    ];
    assert_ne!(story(1, &deeds).given, story(2, &deeds).given);
}

#[test]
fn latencies_add_up_and_a_pipe_without_toxics_is_plain_again() {
    let kind = ToxicKind::Latency {
        latency_ms: 100,
        jitter_ms: 0,
    };
    let mut world = World::new(Seed(1));
    assert!(world.pipe.plain());
    world.does(&Deed::Add(0, kind, 1.0, false));
    world.does(&Deed::Add(1, kind, 1.0, false));
    world.does(&Deed::Delay(50, 0));
    assert!(!world.pipe.plain());
    world.does(&Deed::Send(3));
    world.does(&Deed::Wait(400));
    assert_eq!(world.given, [(250_000, 3)]);
    world.does(&Deed::Delay(0, 0));
    world.does(&Deed::Remove(0));
    world.does(&Deed::Remove(1));
    assert!(world.pipe.plain());
}

#[test]
fn what_a_removed_toxic_holds_goes_on_at_once_behind_what_is_before_it() {
    let slow = |latency_ms| ToxicKind::Latency {
        latency_ms,
        jitter_ms: 0,
    };
    let mut world = World::new(Seed(1));
    world.does(&Deed::Add(0, slow(1_000), 1.0, false));
    world.does(&Deed::Add(1, slow(100), 1.0, false));
    world.does(&Deed::Send(1));
    world.does(&Deed::Wait(1_010));
    world.does(&Deed::Send(2));
    world.does(&Deed::Wait(10));
    world.does(&Deed::Remove(0));
    world.does(&Deed::Wait(500));
    assert_eq!(world.given, [(1_100_000, 1), (1_120_000, 2)]);
}
