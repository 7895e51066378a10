//! One proxy: a place to listen at, a place to lead to, and a conduit between. The conduit with its
//! toxics stays when the proxy goes down and comes up again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::answer::Refusal;
use super::told::{ProxyChange, ProxyTold};
use crate::base::Seed;
use crate::chaos::link::{Conduit, Stream, Toxic, Upstream, carry};

/// How long nothing is accepted after the system refused to (no file descriptors are left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// One proxy.
pub(super) struct Proxy {
    pub(super) name: String,
    /// As it was told, or where it listens really.
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) conduit: Arc<Conduit>,
    door: Option<Door>,
}

/// A proxy as clients see it, its keys in the original's order.
#[derive(Serialize)]
pub(super) struct Said {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    toxics: Vec<Toxic>,
}

impl Proxy {
    /// A proxy that is down. `seed` is its own.
    pub(super) fn new(told: &ProxyTold, toxics: Vec<Toxic>, seed: Seed) -> Result<Self, Refusal> {
        let conduit = Conduit::new(Upstream::Name(told.upstream.clone()), seed);
        for toxic in toxics {
            conduit.add(toxic)?;
        }
        Ok(Self {
            name: told.name.clone(),
            listen: told.listen.clone(),
            upstream: told.upstream.clone(),
            conduit: Arc::new(conduit),
            door: None,
        })
    }

    pub(super) fn enabled(&self) -> bool {
        self.door.is_some()
    }

    /// Listens, if it does not.
    pub(super) async fn start(&mut self) -> Result<(), Refusal> {
        if self.door.is_some() {
            return Ok(());
        }
        let refused = |why| Refusal::Listen {
            listen: self.listen.clone(),
            why,
        };
        let listener = listen(&self.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        self.listen = address.to_string();
        self.door = Some(Door::open(listener, Arc::clone(&self.conduit)));
        Ok(())
    }

    /// Listens no more and ends its connections.
    pub(super) async fn stop(&mut self) {
        if let Some(door) = self.door.take() {
            door.shut().await;
        }
    }

    /// Changes what is told. Another place to listen at or to lead to ends the connections.
    pub(super) async fn change(&mut self, change: ProxyChange) -> Result<(), Refusal> {
        let enabled = change.enabled.unwrap_or(self.enabled());
        let wanted = change.listen.unwrap_or_else(|| self.listen.clone());
        let upstream = change.upstream.unwrap_or_else(|| self.upstream.clone());
        if self.differs(&wanted, &upstream).await {
            self.stop().await;
            self.listen = wanted;
            self.conduit.lead_to(Upstream::Name(upstream.clone()));
            self.upstream = upstream;
        }
        match enabled {
            true => self.start().await,
            false => {
                self.stop().await;
                Ok(())
            }
        }
    }

    /// Whether these are other places; a name of the same place is none.
    pub(super) async fn differs(&self, listen: &str, upstream: &str) -> bool {
        self.upstream != upstream || !same(&self.listen, listen).await
    }

    /// The toxics, those of the upstream first.
    pub(super) fn toxics(&self) -> Vec<Toxic> {
        let mut toxics = self.conduit.toxics();
        toxics.sort_by_key(|toxic| toxic.stream == Stream::Downstream);
        toxics
    }

    pub(super) fn said(&self) -> Said {
        Said {
            name: self.name.clone(),
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            enabled: self.enabled(),
            toxics: self.toxics(),
        }
    }
}

/// What accepts. Dropped, it ends by itself with its connections.
struct Door {
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Door {
    fn open(listener: TcpListener, conduit: Arc<Conduit>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let accepting = tokio::spawn(accept(listener, conduit, stopped));
        Self { stop, accepting }
    }

    /// Nothing is accepted and no connection is left once this returns.
    async fn shut(self) {
        drop(self.stop);
        // It has nothing to give, and what panicked in it is told elsewhere.
        let _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, conduit: Arc<Conduit>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(Arc::clone(&conduit), client));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// The addresses of a place, those of IPv4 first, as Go has it. No host is every address.
async fn addresses(place: &str) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = place.rsplit_once(':').unwrap_or((place, "0"));
    let wildcards = ["[::]", "0.0.0.0"].map(|host| format!("{host}:{port}"));
    let places = match host {
        "" => wildcards.to_vec(),
        host => vec![format!("{host}:{port}")],
    };
    let mut found = Vec::new();
    for place in places {
        found.extend(lookup_host(place).await?);
    }
    if !host.is_empty() {
        found.sort_by_key(|address| !address.is_ipv4());
    }
    Ok(found)
}

async fn listen(place: &str) -> io::Result<TcpListener> {
    let addresses = addresses(place).await?;
    TcpListener::bind(addresses.as_slice()).await
}

/// Whether two names are of one place. Names that cannot be looked up are what they are.
async fn same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (addresses(one).await, addresses(other).await) {
        (Ok(one), Ok(other)) => !one.is_empty() && one.first() == other.first(),
        _ => false,
    }
}
