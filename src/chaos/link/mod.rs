//! A TCP link between two parties, in process: it delays, cuts and goes down while bytes flow.
//!
//! Bytes leave in the order in which they came, and none is lost except by a cut. Latency does not
//! serialize: every chunk waits for its own release time, many are in flight, and a later one never
//! overtakes. It understands no protocol.

mod faults;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use faults::{Delay, Direction, Faults};

use crate::base::Seed;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What went through a link so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that a cut reset.
    pub cut: u64,
    /// Bytes taken in, both directions.
    pub taken_bytes: u64,
    /// Bytes handed on, both directions.
    pub given_bytes: u64,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    cut: AtomicU64,
    taken_bytes: AtomicU64,
    given_bytes: AtomicU64,
}

struct Shared {
    seed: Seed,
    upstream: Mutex<SocketAddr>,
    faults: Mutex<Faults>,
    /// Raised by every cut.
    cuts: watch::Sender<u64>,
    counters: Counters,
}

/// A link; dropping it ends its connections and gives its port back.
pub struct Link {
    shared: Arc<Shared>,
    addr: SocketAddr,
    /// Bound and never listening: while the link is down the port stays ours, so that a connection
    /// is refused and not answered by whoever got the port next.
    _port: TcpSocket,
    open: watch::Sender<bool>,
    /// Which state of `open` the accepting task has brought about.
    reached: watch::Receiver<bool>,
    accepting: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Link {
    /// Opens a link to `upstream` on a free port of the loopback. The same seed gives the same
    /// draws for the same connections in the same order.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn open(upstream: SocketAddr, seed: Seed) -> io::Result<Self> {
        let port = bound(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let addr = port.local_addr()?;
        let listener = bound(addr)?.listen(BACKLOG)?;
        let shared = Arc::new(Shared {
            seed,
            upstream: Mutex::new(upstream),
            faults: Mutex::default(),
            cuts: watch::Sender::new(0),
            counters: Counters::default(),
        });
        let (open, wanted) = watch::channel(true);
        let (reach, reached) = watch::channel(true);
        let accepting = tokio::spawn(accept(Arc::clone(&shared), addr, listener, wanted, reach));
        Ok(Self {
            shared,
            addr,
            _port: port,
            open,
            reached,
            accepting,
        })
    }

    /// Where to connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where new connections go from now on: a restarted party has new ports.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *guard(&self.shared.upstream) = upstream;
    }

    /// Sets what happens to bytes that come in from now on; those under way keep their times.
    pub fn faults(&self, faults: Faults) {
        *guard(&self.shared.faults) = faults;
    }

    /// No faults from now on.
    pub fn heal(&self) {
        self.faults(Faults::default());
    }

    /// Resets every connection that exists; bytes in flight are lost. New ones are accepted.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections once this returns; those that exist go on (see [`Link::cut`]).
    pub async fn down(&mut self) {
        self.set_open(false).await;
    }

    /// Is as a party that is not there: refuses new connections and resets those that exist. One that
    /// is kept open would still be served.
    pub async fn refuse(&mut self) {
        self.down().await;
        self.cut();
    }

    /// Is as a party that takes everything and answers nothing.
    pub fn silence(&self) {
        self.faults(Faults::both_ways(Delay::NEVER));
    }

    /// Is as at first. Connections that a fault held up do not come to life again.
    pub async fn restore(&mut self) {
        self.heal();
        self.cut();
        self.up().await;
    }

    /// Accepts connections again, on the same port.
    pub async fn up(&mut self) {
        self.set_open(true).await;
    }

    async fn set_open(&mut self, open: bool) {
        self.open.send_replace(open);
        let reached = self.reached.wait_for(|reached| *reached == open).await;
        reached.expect("the accepting task lives as long as the link");
    }

    /// What went through so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let counters = &self.shared.counters;
        Traffic {
            connections: counters.connections.load(Ordering::Relaxed),
            cut: counters.cut.load(Ordering::Relaxed),
            taken_bytes: counters.taken_bytes.load(Ordering::Relaxed),
            given_bytes: counters.given_bytes.load(Ordering::Relaxed),
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Shared among ourselves. Not SO_REUSEADDR: with it a stranger could bind the port while
    // nobody listens on it.
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn accept(
    shared: Arc<Shared>,
    addr: SocketAddr,
    listener: TcpListener,
    mut wanted: watch::Receiver<bool>,
    reach: watch::Sender<bool>,
) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let open = *wanted.borrow_and_update();
                listener = if open { listener.take().or_else(|| listen(addr)) } else { None };
                reach.send_replace(open);
            }
            accepted = next(listener.as_ref()) => {
                if let Ok((client, _)) = accepted {
                    number += 1;
                    shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(wire::carry(Arc::clone(&shared), client, number));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn listen(addr: SocketAddr) -> Option<TcpListener> {
    let listener = bound(addr).and_then(|socket| socket.listen(BACKLOG));
    Some(listener.expect("the port is held while the link is down"))
}

async fn next(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
