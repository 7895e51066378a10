//! What all connections of a link have in common: where they lead, what happens to bytes, and the
//! counts. It outlives its connections, and listens nowhere.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Traffic;
use super::faults::Faults;
use super::roster::Roster;
use super::toxic::{Stream, Toxic, ToxicError};
use crate::base::Seed;

/// Where connections lead.
#[derive(Clone, Debug)]
pub(in crate::chaos) enum Upstream {
    /// An address.
    Address(SocketAddr),
    /// Host and port, looked up anew for each connection.
    Name(String),
}

impl Upstream {
    async fn connect(self) -> io::Result<TcpStream> {
        match self {
            Self::Address(address) => TcpStream::connect(address).await,
            Self::Name(name) => TcpStream::connect(name).await,
        }
    }
}

/// What happens to bytes.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) faults: Faults,
    pub(super) roster: Roster,
}

pub(in crate::chaos) struct Conduit {
    pub(super) seed: Seed,
    upstream: Mutex<Upstream>,
    settings: Mutex<Settings>,
    /// Of the settings: raised after each change.
    version: AtomicU64,
    /// How often connections were cut; sent after each cut and each change of the settings.
    pub(super) changes: watch::Sender<u64>,
    pub(super) counters: Counters,
}

impl Conduit {
    pub(in crate::chaos) fn new(upstream: Upstream, seed: Seed) -> Self {
        Self {
            seed,
            upstream: Mutex::new(upstream),
            settings: Mutex::default(),
            version: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            counters: Counters::default(),
        }
    }

    pub(in crate::chaos) fn lead_to(&self, upstream: Upstream) {
        *guard(&self.upstream) = upstream;
    }

    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let upstream = guard(&self.upstream).clone();
        upstream.connect().await
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        guard(&self.settings)
    }

    /// Changes the settings for what comes from now on, and tells the connections.
    fn change<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        let mut settings = self.settings();
        let changed = change(&mut settings);
        self.version.fetch_add(1, Ordering::Release);
        drop(settings);
        self.changes.send_modify(|_| {});
        changed
    }

    pub(super) fn faults(&self, faults: Faults) {
        self.change(|settings| settings.faults = faults);
    }

    pub(in crate::chaos) fn add(&self, toxic: Toxic) -> Result<(), ToxicError> {
        self.change(|settings| settings.roster.add(toxic))
    }

    pub(in crate::chaos) fn update(&self, toxic: Toxic) -> Result<(), ToxicError> {
        self.change(|settings| settings.roster.update(toxic))
    }

    pub(in crate::chaos) fn remove(&self, name: &str) -> Result<(), ToxicError> {
        self.change(|settings| settings.roster.remove(name))
    }

    /// Removes every toxic.
    pub(in crate::chaos) fn clear(&self) {
        self.change(|settings| settings.roster.clear());
    }

    pub(in crate::chaos) fn toxics(&self) -> Vec<Toxic> {
        let settings = self.settings();
        let entries = settings.roster.entries().iter();
        entries.map(|entry| entry.toxic.clone()).collect()
    }

    pub(super) fn cut(&self) {
        self.changes.send_modify(|cuts| *cuts += 1);
    }

    /// Bytes of this stream that were taken in and handed on.
    pub(in crate::chaos) fn bytes(&self, stream: Stream) -> (u64, u64) {
        let of = |bytes: &[AtomicU64; 2]| bytes[stream as usize].load(Ordering::Relaxed);
        (of(&self.counters.taken), of(&self.counters.given))
    }

    pub(in crate::chaos) fn traffic(&self) -> Traffic {
        let counters = &self.counters;
        let sum =
            |bytes: &[AtomicU64; 2]| bytes.iter().map(|one| one.load(Ordering::Relaxed)).sum();
        Traffic {
            connections: counters.connections.load(Ordering::Relaxed),
            cut: counters.cut.load(Ordering::Relaxed),
            taken_bytes: sum(&counters.taken),
            given_bytes: sum(&counters.given),
        }
    }
}

/// What went through. The bytes are those to the upstream and those back.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) cut: AtomicU64,
    taken: [AtomicU64; 2],
    given: [AtomicU64; 2],
}

impl Counters {
    pub(super) fn took(&self, stream: Stream, bytes: usize) {
        self.taken[stream as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn gave(&self, stream: Stream, bytes: usize) {
        self.given[stream as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
