//! A TCP link between two parties, in process: it delays, cuts and goes down while bytes flow.
//!
//! Bytes leave in the order in which they came, and none is lost except by a cut. Latency does not
//! serialize: every chunk waits for its own release time, many are in flight, and a later one never
//! overtakes. It understands no protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::base::Seed;

/// The most bytes that share one release time.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks in flight per connection and direction; a sender who is further ahead is slowed down.
const CHUNKS_IN_FLIGHT: usize = 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From who connected to the link, towards the upstream.
    ToUpstream,
    /// From the upstream back.
    ToClient,
}

/// How long bytes take in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Milliseconds that a chunk takes.
    pub delay_ms: u64,
    /// Each chunk takes up to this much more or less, evenly drawn, but never less than nothing.
    pub jitter_ms: u64,
}

impl Delay {
    fn draw(self, rng: &mut ChaCha8Rng) -> Duration {
        let least_us = self.delay_ms.saturating_sub(self.jitter_ms) * 1_000;
        let most_us = (self.delay_ms + self.jitter_ms) * 1_000;
        Duration::from_micros(rng.random_range(least_us..=most_us))
    }
}

/// What a link does to bytes. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// On the way to the upstream.
    pub to_upstream: Delay,
    /// On the way back.
    pub to_client: Delay,
}

impl Faults {
    /// This much in one direction, nothing in the other.
    #[must_use]
    pub fn one_way(direction: Direction, delay: Delay) -> Self {
        match direction {
            Direction::ToUpstream => Self {
                to_upstream: delay,
                ..Self::default()
            },
            Direction::ToClient => Self {
                to_client: delay,
                ..Self::default()
            },
        }
    }

    /// This much in each direction: a round trip takes twice as long.
    #[must_use]
    pub fn both_ways(delay: Delay) -> Self {
        Self {
            to_upstream: delay,
            to_client: delay,
        }
    }

    fn of(self, direction: Direction) -> Delay {
        match direction {
            Direction::ToUpstream => self.to_upstream,
            Direction::ToClient => self.to_client,
        }
    }
}

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
                    connections.spawn(carry(Arc::clone(&shared), client, number));
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

/// One connection, until both sides are done, one fails or the link is cut.
async fn carry(shared: Arc<Shared>, mut client: TcpStream, number: u64) {
    let mut cuts = shared.cuts.subscribe();
    let upstream = *guard(&shared.upstream);
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        reset(&client);
        return;
    };
    // Otherwise a small write may wait for the acknowledgement of one that this link delays.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let carried = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pump(
            &shared,
            Direction::ToUpstream,
            number,
            from_client,
            to_server,
        );
        let back = pump(&shared, Direction::ToClient, number, from_server, to_client);
        tokio::select! {
            biased;
            _ = cuts.changed() => {
                shared.counters.cut.fetch_add(1, Ordering::Relaxed);
                Err(io::ErrorKind::ConnectionReset.into())
            }
            carried = async { tokio::try_join!(there, back) } => carried.map(|_| ()),
        }
    };
    if carried.is_err() {
        reset(&client);
        reset(&server);
    }
}

/// Makes the coming drop send a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

struct Chunk {
    release: Instant,
    bytes: Vec<u8>,
}

/// One direction of one connection. An end of stream travels like a chunk.
async fn pump(
    shared: &Shared,
    direction: Direction,
    number: u64,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let (send, mut receive) = mpsc::channel::<Chunk>(CHUNKS_IN_FLIGHT);
    let mut timetable = Timetable::new(shared.seed, number, direction);
    let taking = async move {
        loop {
            let mut bytes = vec![0; CHUNK_BYTES];
            let length = from.read(&mut bytes).await?;
            bytes.truncate(length);
            shared
                .counters
                .taken_bytes
                .fetch_add(length as u64, Ordering::Relaxed);
            let delay = guard(&shared.faults).of(direction);
            let release = timetable.release(Instant::now(), delay);
            let sent = send.send(Chunk { release, bytes }).await;
            if length == 0 || sent.is_err() {
                return Ok::<_, io::Error>(());
            }
        }
    };
    let giving = async move {
        while let Some(chunk) = receive.recv().await {
            if chunk.release > Instant::now() {
                tokio::time::sleep_until(chunk.release).await;
            }
            if chunk.bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk.bytes).await?;
            let given = chunk.bytes.len() as u64;
            shared
                .counters
                .given_bytes
                .fetch_add(given, Ordering::Relaxed);
        }
        Ok(())
    };
    tokio::try_join!(taking, giving).map(|_| ())
}

/// When the chunks of one direction of one connection leave.
struct Timetable {
    rng: ChaCha8Rng,
    last: Option<Instant>,
}

impl Timetable {
    fn new(seed: Seed, connection: u64, direction: Direction) -> Self {
        let rng = seed
            .child(&format!("connection {connection} {direction:?}"))
            .rng();
        Self { rng, last: None }
    }

    /// Its own delay after it came, but never before the chunk that came before it.
    fn release(&mut self, came: Instant, delay: Delay) -> Instant {
        let own = came + delay.draw(&mut self.rng);
        let release = self.last.map_or(own, |last| own.max(last));
        self.last = Some(release);
        release
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far longer than anything here takes.
    const DEADLINE: Duration = Duration::from_secs(30);
    /// Longer than any test: what is delayed so does not arrive.
    const NEVER: Delay = Delay {
        delay_ms: 3_600_000,
        jitter_ms: 0,
    };

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(DEADLINE, future)
            .await
            .expect("within the deadline")
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        soon(async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    struct Pair {
        link: Link,
        client: TcpStream,
        server: TcpStream,
        upstream: TcpListener,
    }

    async fn pair() -> Pair {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::open(upstream.local_addr().unwrap(), Seed(7))
            .await
            .unwrap();
        let client = soon(TcpStream::connect(link.addr())).await.unwrap();
        let (server, _) = soon(upstream.accept()).await.unwrap();
        Pair {
            link,
            client,
            server,
            upstream,
        }
    }

    async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon(stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    #[test]
    fn latency_does_not_serialize_and_nothing_overtakes() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut timetable = Timetable::new(Seed(1), 1, Direction::ToUpstream);
        let fixed = Delay {
            delay_ms: 50,
            jitter_ms: 0,
        };
        let released: Vec<_> = (0..100).map(|i| timetable.release(ms(i), fixed)).collect();
        let expected: Vec<_> = (0..100).map(|i| ms(i + 50)).collect();
        assert_eq!(
            released, expected,
            "50 ms after each came, not 50 ms after one another"
        );
        assert_eq!(
            timetable.release(ms(101), Delay::default()),
            ms(149),
            "behind the last"
        );
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_comes_from_the_seed() {
        let draws = |seed, connection, direction| {
            let mut rng = Timetable::new(Seed(seed), connection, direction).rng;
            let delay = Delay {
                delay_ms: 5,
                jitter_ms: 10,
            };
            (0..500).map(|_| delay.draw(&mut rng)).collect::<Vec<_>>()
        };
        let first = draws(1, 1, Direction::ToClient);
        assert_eq!(first, draws(1, 1, Direction::ToClient));
        assert_ne!(first, draws(2, 1, Direction::ToClient));
        assert_ne!(first, draws(1, 2, Direction::ToClient));
        assert_ne!(first, draws(1, 1, Direction::ToUpstream));
        assert!(first.iter().all(|draw| *draw <= Duration::from_millis(15)));
        assert!(first.iter().any(|draw| *draw > Duration::from_millis(13)));
        assert!(first.iter().any(|draw| *draw < Duration::from_millis(2)));
    }

    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order_while_delays_come_and_go() {
        let Pair {
            link,
            mut client,
            server,
            ..
        } = pair().await;
        let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let echo = tokio::spawn(async move {
            let mut server = server;
            let (mut from, mut to) = server.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        });
        let (mut from, mut to) = client.split();
        let writing = async {
            for (number, part) in sent.chunks(50_000).enumerate() {
                let delay = Delay {
                    delay_ms: number as u64 % 3,
                    jitter_ms: number as u64 % 2,
                };
                link.faults(if number % 7 == 6 {
                    Faults::default()
                } else {
                    Faults::both_ways(delay)
                });
                to.write_all(part).await.unwrap();
            }
            to.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let reading = from.read_to_end(&mut got);
        soon(async { tokio::join!(writing, reading) })
            .await
            .1
            .unwrap();
        assert!(
            got == sent,
            "{} bytes came back, expected the same {}",
            got.len(),
            sent.len()
        );
        soon(echo).await.unwrap();
        assert_eq!(link.traffic().taken_bytes, 2 * sent.len() as u64);
        assert_eq!(link.traffic().given_bytes, 2 * sent.len() as u64);
    }

    #[tokio::test]
    async fn a_delay_takes_at_least_its_time_in_its_direction_only() {
        let Pair {
            link,
            mut client,
            mut server,
            ..
        } = pair().await;
        link.faults(Faults::one_way(
            Direction::ToUpstream,
            Delay {
                delay_ms: 30,
                jitter_ms: 0,
            },
        ));
        let start = Instant::now();
        client.write_all(b"a").await.unwrap();
        read(&mut server, 1).await;
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(30),
            "{took:?}, expected at least 30 ms"
        );
        link.faults(Faults::one_way(Direction::ToUpstream, NEVER));
        server.write_all(b"b").await.unwrap();
        assert_eq!(
            read(&mut client, 1).await,
            b"b",
            "the other direction is free"
        );
    }

    #[tokio::test]
    async fn a_sender_is_not_held_up_by_chunks_in_flight() {
        let Pair {
            link, mut client, ..
        } = pair().await;
        link.faults(Faults::both_ways(NEVER));
        for round in 1..=50 {
            client.write_all(b"chunk").await.unwrap();
            until(|| link.traffic().taken_bytes == round * 5).await;
        }
        assert_eq!(link.traffic().given_bytes, 0);
    }

    #[tokio::test]
    async fn a_cut_resets_both_sides_and_the_next_connection_works() {
        let Pair {
            link,
            mut client,
            mut server,
            upstream,
        } = pair().await;
        link.cut();
        for side in [&mut client, &mut server] {
            let error = soon(side.read(&mut [0; 1])).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        assert_eq!(link.traffic().cut, 1);
        let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
        let (mut server, _) = soon(upstream.accept()).await.unwrap();
        client.write_all(b"again").await.unwrap();
        assert_eq!(read(&mut server, 5).await, b"again");
    }

    #[tokio::test]
    async fn down_refuses_new_connections_and_keeps_the_others_and_the_port() {
        let Pair {
            mut link,
            mut client,
            mut server,
            upstream,
        } = pair().await;
        link.down().await;
        let error = soon(TcpStream::connect(link.addr())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let taken = TcpListener::bind(link.addr()).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        client.write_all(b"still").await.unwrap();
        assert_eq!(read(&mut server, 5).await, b"still");
        link.up().await;
        let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
        let (mut server, _) = soon(upstream.accept()).await.unwrap();
        client.write_all(b"back").await.unwrap();
        assert_eq!(read(&mut server, 4).await, b"back");
    }

    #[tokio::test]
    async fn a_dead_upstream_resets_the_client_and_a_new_one_can_be_led_to() {
        let Pair { link, upstream, .. } = pair().await;
        drop(upstream);
        let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
        assert!(soon(client.read(&mut [0; 1])).await.is_err());
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        link.lead_to(upstream.local_addr().unwrap());
        let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
        let (mut server, _) = soon(upstream.accept()).await.unwrap();
        client.write_all(b"new").await.unwrap();
        assert_eq!(read(&mut server, 3).await, b"new");
    }

    #[tokio::test]
    async fn dropping_the_link_ends_its_connections_and_refuses_new_ones() {
        let Pair {
            link, mut client, ..
        } = pair().await;
        let addr = link.addr();
        drop(link);
        let ended = soon(client.read(&mut [0; 1])).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        assert!(soon(TcpStream::connect(addr)).await.is_err());
    }
}
