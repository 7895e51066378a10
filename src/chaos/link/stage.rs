//! What one toxic does to one direction of one connection. It takes parcels, and gives them when
//! they are due. Time is an argument and chance comes from a seed: it touches no socket.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use tokio::time::Instant;

use super::roster::Entry;
use super::toxic::{Per, Toxic, ToxicKind};
use crate::base::Seed;

/// Chunks in flight in a latency; a sender who is further ahead is slowed down.
const CHUNKS_IN_FLIGHT: usize = 1024;
/// A slow stream gets its bytes this often.
const TICK_MS: u64 = 100;
/// A chunk that comes so soon after the last one began in time: timers are late, and the rate is met
/// all the same.
const MADE_UP: Duration = Duration::from_millis(5);
/// No delay is longer, so that no time is beyond what a clock can say.
const MOST_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// Something on its way through the stages.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// When it came to the stage that has it.
    pub(super) came: Instant,
    /// Which request of the connection it belongs to.
    pub(super) request: u64,
    pub(super) what: What,
}

/// What is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Bytes(Bytes),
    /// The sender has said all.
    End,
    /// A toxic closes the connection.
    Close,
}

/// What a stage has to give.
#[derive(Debug)]
pub(super) enum Next {
    Parcel(Parcel),
    /// Nothing before then.
    At(Instant),
    /// Nothing until something comes.
    Nothing,
}

/// A parcel and when it leaves; none is never.
struct Waiting {
    due: Option<Instant>,
    parcel: Parcel,
}

pub(super) struct Stage {
    entry: Arc<Entry>,
    luck: Luck,
    queue: VecDeque<Waiting>,
    /// When the last parcel leaves: nothing overtakes.
    last: Option<Instant>,
    /// From when on the next piece may begin (bandwidth, slicer).
    free: Option<Instant>,
    /// Bytes let through (limit_data).
    passed: u64,
    /// Bytes until the next cut (slicer).
    to_cut: u64,
    /// When the connection ends (timeout, reset_peer).
    deadline: Option<Instant>,
    /// Bytes are being lost here (timeout).
    losing: bool,
    /// It closed the connection and takes no more.
    shut: bool,
}

impl Stage {
    /// A stage for this toxic from now on. `seed` is that of the connection.
    pub(super) fn new(entry: Arc<Entry>, seed: Seed, now: Instant) -> Self {
        let luck = Luck::new(seed.child(&entry.toxic.name));
        let mut stage = Self {
            entry,
            luck,
            queue: VecDeque::new(),
            last: None,
            free: None,
            passed: 0,
            to_cut: 0,
            deadline: None,
            losing: false,
            shut: false,
        };
        stage.begin(now);
        stage
    }

    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    fn toxic(&self) -> &Toxic {
        &self.entry.toxic
    }

    /// A timeout counts before anything came.
    fn begin(&mut self, now: Instant) {
        let toxic = &self.entry.toxic;
        if let ToxicKind::Timeout { timeout_ms } = toxic.kind
            && toxic.per == Per::Connection
            && self.luck.strikes(toxic, 0)
        {
            self.losing = true;
            self.deadline = closing(now, timeout_ms);
        }
    }

    /// Whether it would take another parcel.
    pub(super) fn room(&self) -> bool {
        match self.toxic().kind {
            _ if self.shut => false,
            // What waits for its time does not hold up the next; what waits for room does.
            ToxicKind::Latency {
                latency_ms: 0,
                jitter_ms: 0,
            } => match self.queue.front() {
                Some(waiting) if waiting.due == Some(waiting.parcel.came) => false,
                _ => self.queue.len() < CHUNKS_IN_FLIGHT,
            },
            ToxicKind::Latency { .. } => self.queue.len() < CHUNKS_IN_FLIGHT,
            _ => self.queue.is_empty(),
        }
    }

    /// Whether it does nothing to what may come, and has nothing.
    pub(super) fn transparent(&self) -> bool {
        let nothing = ToxicKind::Latency {
            latency_ms: 0,
            jitter_ms: 0,
        };
        self.queue.is_empty() && self.toxic().kind == nothing
    }

    /// Takes a parcel.
    pub(super) fn put(&mut self, parcel: Parcel) {
        if self.shut {
            return;
        }
        let came = parcel.came;
        if !self.luck.strikes(&self.entry.toxic, parcel.request) {
            self.push(Some(came), parcel);
            return;
        }
        match self.toxic().kind {
            ToxicKind::Latency {
                latency_ms,
                jitter_ms,
            } => {
                let delay = self.luck.delay(latency_ms, jitter_ms);
                self.push(Some(came + delay), parcel);
            }
            ToxicKind::Bandwidth { rate_kb_s } => self.throttle(parcel, rate_kb_s),
            ToxicKind::Slicer {
                average_bytes,
                variation_bytes,
                delay_us,
            } => {
                let least = average_bytes.saturating_sub(variation_bytes).max(1);
                let lengths = least..=average_bytes.saturating_add(variation_bytes);
                self.slice(parcel, lengths, us(delay_us));
            }
            ToxicKind::LimitData { bytes } => self.limit(parcel, bytes),
            ToxicKind::Timeout { timeout_ms } => {
                self.losing = true;
                self.deadline = closing(came, timeout_ms).or(self.deadline);
                if !matches!(parcel.what, What::Bytes(_)) {
                    self.close(parcel);
                }
            }
            ToxicKind::ResetPeer { timeout_ms } => {
                self.deadline = self.deadline.or(Some(came + ms(timeout_ms)));
                self.push(None, parcel);
            }
            ToxicKind::SlowClose { delay_ms } => {
                let bytes = matches!(parcel.what, What::Bytes(_));
                let delay = ms(if bytes { 0 } else { delay_ms });
                self.push(Some(came + delay), parcel);
            }
        }
    }

    /// At most so much in each tick, and never faster than the rate.
    fn throttle(&mut self, parcel: Parcel, rate_kb_s: u64) {
        if rate_kb_s == 0 {
            self.push(None, parcel);
            return;
        }
        let mut at = match self.free {
            Some(free) if parcel.came <= free + MADE_UP => free,
            _ => parcel.came,
        };
        let Parcel {
            request,
            what: What::Bytes(mut bytes),
            ..
        } = parcel
        else {
            self.push(Some(at), parcel);
            return;
        };
        // A thousand bytes a second are a byte a millisecond.
        let most = usize::try_from(rate_kb_s.saturating_mul(TICK_MS)).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            let piece = bytes.split_to(most.min(bytes.len()));
            at += Duration::from_nanos(piece.len() as u64 * 1_000_000 / rate_kb_s);
            let parcel = Parcel {
                came: parcel.came,
                request,
                what: What::Bytes(piece),
            };
            self.push(Some(at), parcel);
        }
        self.free = Some(at);
    }

    /// The places of the cuts depend on the seed and on nothing else: not on how the bytes came.
    fn slice(&mut self, parcel: Parcel, lengths: RangeInclusive<u64>, delay: Duration) {
        let mut at = self.free.map_or(parcel.came, |free| free.max(parcel.came));
        let Parcel {
            came,
            request,
            what: What::Bytes(mut bytes),
        } = parcel
        else {
            self.push(Some(at), parcel);
            return;
        };
        while !bytes.is_empty() {
            if self.to_cut == 0 {
                self.to_cut = self.luck.rng.random_range(lengths.clone());
            }
            let length = usize::try_from(self.to_cut).unwrap_or(usize::MAX);
            let piece = bytes.split_to(length.min(bytes.len()));
            self.to_cut -= piece.len() as u64;
            let what = What::Bytes(piece);
            let parcel = Parcel {
                came,
                request,
                what,
            };
            self.push(Some(at), parcel);
            at += delay;
        }
        self.free = Some(at);
    }

    fn limit(&mut self, parcel: Parcel, most: u64) {
        let What::Bytes(bytes) = &parcel.what else {
            self.push(Some(parcel.came), parcel);
            return;
        };
        let left = usize::try_from(most.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let passing = bytes.slice(..left.min(bytes.len()));
        self.passed += passing.len() as u64;
        if !passing.is_empty() {
            let what = What::Bytes(passing);
            let came = parcel.came;
            self.push(Some(came), Parcel { what, ..parcel });
        }
        if self.passed >= most {
            self.close(parcel);
        }
    }

    /// Sends the end of the connection after what is under way.
    fn close(&mut self, parcel: Parcel) {
        let what = What::Close;
        let came = parcel.came;
        self.push(Some(came), Parcel { what, ..parcel });
        self.deadline = None;
        self.shut = true;
    }

    fn push(&mut self, due: Option<Instant>, parcel: Parcel) {
        let due = due.map(|due| self.last.map_or(due, |last| last.max(due)));
        self.last = due.or(self.last);
        self.queue.push_back(Waiting { due, parcel });
    }

    /// When it resets the connection, if it does.
    pub(super) fn resets_at(&self) -> Option<Instant> {
        match self.toxic().kind {
            ToxicKind::ResetPeer { .. } => self.deadline,
            _ => None,
        }
    }

    /// What there is to give.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let closes_at = match self.toxic().kind {
            ToxicKind::Timeout { .. } => self.deadline,
            _ => None,
        };
        if let Some(at) = closes_at.filter(|at| *at <= now) {
            self.close(Parcel {
                came: at,
                request: 0,
                what: What::Close,
            });
        }
        let due = self.queue.front().and_then(|waiting| waiting.due);
        match due {
            Some(due) if due <= now => match self.queue.pop_front() {
                Some(waiting) => {
                    let parcel = waiting.parcel;
                    Next::Parcel(Parcel {
                        came: due,
                        ..parcel
                    })
                }
                None => Next::Nothing,
            },
            due => match due.into_iter().chain(closes_at).min() {
                Some(at) => Next::At(at),
                None => Next::Nothing,
            },
        }
    }

    /// The toxic is gone: what is still here, in order. A connection that lost bytes is closed.
    pub(super) fn release(self, now: Instant) -> Vec<Parcel> {
        let closes = self.losing && !self.shut;
        let mut parcels: Vec<Parcel> = self.queue.into_iter().map(|one| one.parcel).collect();
        for parcel in &mut parcels {
            parcel.came = now;
        }
        if closes {
            parcels.push(Parcel {
                came: now,
                request: 0,
                what: What::Close,
            });
        }
        parcels
    }

    /// Other attributes or another toxicity. What is under way gets the time that it would have had
    /// under them, but none that has passed.
    pub(super) fn update(&mut self, entry: Arc<Entry>, now: Instant) {
        self.entry = entry;
        if self.shut {
            return;
        }
        match self.toxic().kind {
            // What it let through is counted.
            ToxicKind::LimitData { .. } => {}
            ToxicKind::Timeout { .. } => {
                let lost = std::mem::take(&mut self.losing);
                self.deadline = None;
                self.begin(now);
                if lost && !self.losing && self.toxic().per == Per::Connection {
                    // What follows would follow a hole.
                    self.close(Parcel {
                        came: now,
                        request: 0,
                        what: What::Close,
                    });
                }
                self.losing |= lost;
            }
            _ => {
                let under_way = std::mem::take(&mut self.queue);
                (self.last, self.free, self.deadline) = (None, Some(now), None);
                for waiting in under_way {
                    self.put(waiting.parcel);
                }
            }
        }
    }

    /// Other attributes for what comes from now on; what is under way keeps its times.
    pub(super) fn follow(&mut self, entry: Arc<Entry>) {
        self.entry = entry;
    }
}

/// When a timeout closes; 0 never does.
fn closing(from: Instant, timeout_ms: u64) -> Option<Instant> {
    (timeout_ms > 0).then(|| from + ms(timeout_ms))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms.min(MOST_MS))
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us.min(MOST_MS * 1_000))
}

/// The chance of one toxic on one connection. What it gives depends on the seed and on how often it
/// was asked, never on time.
struct Luck {
    seed: Seed,
    rng: ChaCha8Rng,
    /// Drawn once: raising a toxicity only adds connections.
    connection: f32,
    /// The last request that was drawn for, and its draw.
    request: Option<(u64, f32)>,
}

impl Luck {
    fn new(seed: Seed) -> Self {
        Self {
            seed,
            rng: seed.rng(),
            connection: draw(seed.child("connection")),
            request: None,
        }
    }

    fn strikes(&mut self, toxic: &Toxic, request: u64) -> bool {
        let drawn = match toxic.per {
            Per::Connection => self.connection,
            Per::Request => match self.request {
                Some((last, drawn)) if last == request => drawn,
                _ => {
                    let drawn = draw(self.seed.child(&format!("request {request}")));
                    self.request = Some((request, drawn));
                    drawn
                }
            },
        };
        drawn < toxic.toxicity
    }

    fn delay(&mut self, latency_ms: u64, jitter_ms: u64) -> Duration {
        if jitter_ms == 0 {
            return ms(latency_ms);
        }
        let least = ms(latency_ms.saturating_sub(jitter_ms));
        let most = ms(latency_ms.saturating_add(jitter_ms));
        self.rng.random_range(least..=most)
    }
}

/// From 0 up to and without 1.
fn draw(seed: Seed) -> f32 {
    seed.rng().random()
}
