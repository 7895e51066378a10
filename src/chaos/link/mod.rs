//! A TCP link between two parties, in process: it delays, cuts and goes down while bytes flow, and
//! takes toxics in Toxiproxy's vocabulary ([`Toxic`]).
//!
//! Bytes leave in the order in which they came, and none is lost except by a cut or by a toxic that
//! says so; toxics come and go while bytes flow. Latency does not serialize: every chunk waits for
//! its own release time, many are in flight, and a later one never overtakes. It understands no
//! protocol. One seed decides every draw: it is split by connection and toxic, and neither time nor
//! another connection has a part in it.
//!
//! What a toxic does is a state machine without sockets ([`stage`]), several make a [`pipe`], and a
//! [`flow`] moves bytes through it.

mod alarm;
mod conduit;
mod faults;
mod flow;
mod pipe;
#[cfg(test)]
mod pipe_tests;
mod roster;
mod stage;
#[cfg(test)]
mod stage_tests;
#[cfg(test)]
mod tests;
mod toxic;
#[cfg(test)]
mod toxics_tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub(in crate::chaos) use conduit::{Conduit, Upstream};
pub use faults::{Delay, Direction, Faults};
pub use toxic::{Per, Stream, Toxic, ToxicError, ToxicKind};
pub(in crate::chaos) use wire::carry;

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

/// A link; dropping it ends its connections and gives its port back.
pub struct Link {
    conduit: Arc<Conduit>,
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
        let conduit = Arc::new(Conduit::new(Upstream::Address(upstream), seed));
        let (open, wanted) = watch::channel(true);
        let (reach, reached) = watch::channel(true);
        let accepting = tokio::spawn(accept(Arc::clone(&conduit), addr, listener, wanted, reach));
        Ok(Self {
            conduit,
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
        self.conduit.lead_to(Upstream::Address(upstream));
    }

    /// Sets what happens to bytes that come in from now on; those under way keep their times.
    pub fn faults(&self, faults: Faults) {
        self.conduit.faults(faults);
    }

    /// Adds a toxic for what comes in from now on, behind those that there are. It is in force when
    /// this returns.
    ///
    /// # Errors
    /// When there is one of its name, or it cannot be meant.
    pub fn add(&self, toxic: Toxic) -> Result<(), ToxicError> {
        self.conduit.add(toxic)
    }

    /// Gives the toxic of this name other attributes and another toxicity. What it holds gets the
    /// time that it would have had under them.
    ///
    /// # Errors
    /// When there is none of its name, it has another type or stream, or it cannot be meant.
    pub fn update(&self, toxic: Toxic) -> Result<(), ToxicError> {
        self.conduit.update(toxic)
    }

    /// Takes a toxic away. What it holds goes on at once, in order; a connection of which it lost
    /// bytes is closed.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&self, name: &str) -> Result<(), ToxicError> {
        self.conduit.remove(name)
    }

    /// The toxics in the order in which they were added.
    #[must_use]
    pub fn toxics(&self) -> Vec<Toxic> {
        self.conduit.toxics()
    }

    /// No faults and no toxics from now on.
    pub fn heal(&self) {
        self.faults(Faults::default());
        self.conduit.clear();
    }

    /// Resets every connection that exists; bytes in flight are lost. New ones are accepted.
    pub fn cut(&self) {
        self.conduit.cut();
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
        self.conduit.traffic()
    }
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
    conduit: Arc<Conduit>,
    addr: SocketAddr,
    listener: TcpListener,
    mut wanted: watch::Receiver<bool>,
    reach: watch::Sender<bool>,
) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
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
                    connections.spawn(carry(Arc::clone(&conduit), client));
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
