//! One connection of a link: two directions, each a reader that stamps chunks with their release
//! time and a writer that waits for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::rngs::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Delay, Direction, Shared, guard};
use crate::base::Seed;

/// The most bytes that share one release time.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks in flight per connection and direction; a sender who is further ahead is slowed down.
const CHUNKS_IN_FLIGHT: usize = 1024;

/// One connection, until both sides are done, one fails or the link is cut.
pub(super) async fn carry(shared: Arc<Shared>, mut client: TcpStream, number: u64) {
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
pub(super) struct Timetable {
    pub(super) rng: ChaCha8Rng,
    last: Option<Instant>,
}

impl Timetable {
    pub(super) fn new(seed: Seed, connection: u64, direction: Direction) -> Self {
        let rng = seed
            .child(&format!("connection {connection} {direction:?}"))
            .rng();
        Self { rng, last: None }
    }

    /// Its own delay after it came, but never before the chunk that came before it.
    pub(super) fn release(&mut self, came: Instant, delay: Delay) -> Instant {
        let own = came + delay.draw(&mut self.rng);
        let release = self.last.map_or(own, |last| own.max(last));
        self.last = Some(release);
        release
    }
}
