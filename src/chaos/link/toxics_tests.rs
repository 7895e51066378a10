//! Each toxic over real sockets: bytes, ends, resets and the least that things take. How long they
//! take at most is for a benchmark.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::tests::{Pair, pair, pair_of, read, soon, until};
use super::{Link, Per, Stream, Toxic, ToxicKind};
use crate::base::Seed;

fn latency(latency_ms: u64) -> ToxicKind {
    ToxicKind::Latency {
        latency_ms,
        jitter_ms: 0,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How the stream ends, after how many bytes.
async fn end(stream: &mut TcpStream) -> (usize, Option<io::ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = soon(stream.read_to_end(&mut bytes)).await;
    (bytes.len(), ended.err().map(|error| error.kind()))
}

/// Reads as much and gives the time since then.
async fn took(stream: &mut TcpStream, length: usize, since: Instant) -> Duration {
    read(stream, length).await;
    since.elapsed()
}

#[tokio::test]
async fn a_latency_is_in_its_stream_only_and_ends_with_the_toxic() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    link.add(Toxic::new(latency(30), Stream::Downstream))
        .unwrap();
    let start = Instant::now();
    server.write_all(b"a").await.unwrap();
    let late = took(&mut client, 1, start).await;
    assert!(late >= ms(30), "{late:?}, expected at least 30 ms");
    link.update(Toxic::new(latency(3_600_000), Stream::Downstream))
        .unwrap();
    client.write_all(b"b").await.unwrap();
    assert_eq!(read(&mut server, 1).await, b"b", "the other stream is free");
    server.write_all(b"c").await.unwrap();
    link.remove("latency_downstream").unwrap();
    assert_eq!(read(&mut client, 1).await, b"c", "what it held goes on");
    assert!(link.toxics().is_empty());
}

#[tokio::test]
async fn a_bandwidth_slows_a_stream_down_and_its_sender() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    let kind = ToxicKind::Bandwidth { rate_kb_s: 500 };
    link.add(Toxic::new(kind, Stream::Upstream)).unwrap();
    let start = Instant::now();
    let sent = vec![7; 60_000];
    client.write_all(&sent).await.unwrap();
    let late = took(&mut server, sent.len(), start).await;
    assert!(late >= ms(120), "{late:?}, expected at least 120 ms");
    link.update(Toxic::new(
        ToxicKind::Bandwidth { rate_kb_s: 0 },
        Stream::Upstream,
    ))
    .unwrap();
    let before = link.traffic().taken_bytes;
    let sending = tokio::spawn(async move {
        client.write_all(&vec![7; 32 << 20]).await.unwrap();
    });
    until(|| link.traffic().taken_bytes > before).await;
    let ahead = link.traffic().taken_bytes - before;
    // One chunk that the toxic has, and one that waits for it.
    assert!(
        ahead <= 64 << 10,
        "{ahead} bytes were read, and none can be given"
    );
    link.remove("bandwidth_upstream").unwrap();
    read(&mut server, 32 << 20).await;
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn a_slicer_takes_its_time_and_loses_nothing() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    let kind = ToxicKind::Slicer {
        average_bytes: 10,
        variation_bytes: 0,
        delay_us: 3_000,
    };
    link.add(Toxic::new(kind, Stream::Upstream)).unwrap();
    let start = Instant::now();
    let sent: Vec<u8> = (0..100).collect();
    client.write_all(&sent).await.unwrap();
    assert_eq!(read(&mut server, 100).await, sent);
    let late = start.elapsed();
    assert!(late >= ms(27), "{late:?}, expected 9 pauses of 3 ms");
}

#[tokio::test]
async fn limit_data_lets_just_so_many_bytes_through_and_ends_both_sides() {
    let Pair {
        link,
        mut client,
        mut server,
        upstream,
    } = pair().await;
    let kind = ToxicKind::LimitData { bytes: 100_000 };
    link.add(Toxic::new(kind, Stream::Downstream)).unwrap();
    client.write_all(b"give me all").await.unwrap();
    read(&mut server, 11).await;
    let giving = tokio::spawn(async move {
        // It ends in the middle.
        let _ = server.write_all(&vec![7; 300_000]).await;
        end(&mut server).await
    });
    assert_eq!(end(&mut client).await, (100_000, None));
    soon(giving).await.unwrap();
    // The count is of one connection.
    let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
    let (mut server, _) = soon(upstream.accept()).await.unwrap();
    server.write_all(&[7; 5]).await.unwrap();
    read(&mut client, 5).await;
}

#[tokio::test]
async fn a_timeout_swallows_everything_and_closes_in_its_time() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    let start = Instant::now();
    let kind = ToxicKind::Timeout { timeout_ms: 40 };
    link.add(Toxic::new(kind, Stream::Upstream)).unwrap();
    client.write_all(b"anybody?").await.unwrap();
    assert_eq!(end(&mut server).await, (0, None));
    let late = start.elapsed();
    assert!(late >= ms(40), "{late:?}, expected at least 40 ms");
    assert_eq!(end(&mut client).await, (0, None));
}

#[tokio::test]
async fn a_timeout_without_end_closes_when_it_is_taken_away() {
    let Pair {
        link,
        mut client,
        mut server,
        upstream,
    } = pair().await;
    let kind = ToxicKind::Timeout { timeout_ms: 0 };
    link.add(Toxic::new(kind, Stream::Downstream)).unwrap();
    server.write_all(b"lost").await.unwrap();
    client.write_all(b"not lost").await.unwrap();
    read(&mut server, 8).await;
    link.remove("timeout_downstream").unwrap();
    assert_eq!(end(&mut client).await, (0, None));
    let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
    let (mut server, _) = soon(upstream.accept()).await.unwrap();
    server.write_all(b"free").await.unwrap();
    read(&mut client, 4).await;
}

#[tokio::test]
async fn reset_peer_resets_both_sides_and_passes_nothing() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    let kind = ToxicKind::ResetPeer { timeout_ms: 20 };
    link.add(Toxic::new(kind, Stream::Upstream)).unwrap();
    let start = Instant::now();
    client.write_all(b"hello").await.unwrap();
    let reset = (0, Some(io::ErrorKind::ConnectionReset));
    assert_eq!(end(&mut client).await, reset);
    let late = start.elapsed();
    assert!(late >= ms(20), "{late:?}, expected at least 20 ms");
    assert_eq!(end(&mut server).await, reset);
    assert_eq!(link.traffic().cut, 0, "a toxic is no cut");
}

#[tokio::test]
async fn slow_close_holds_the_end_back() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    let kind = ToxicKind::SlowClose { delay_ms: 40 };
    link.add(Toxic::new(kind, Stream::Upstream)).unwrap();
    let start = Instant::now();
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(end(&mut server).await, (3, None));
    let late = start.elapsed();
    assert!(late >= ms(40), "{late:?}, expected at least 40 ms");
    server.write_all(b"bye bye").await.unwrap();
    drop(server);
    assert_eq!(end(&mut client).await, (7, None), "half of it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_arrive_whole_and_in_order_while_toxics_come_change_and_go() {
    let Pair {
        link,
        mut client,
        mut server,
        ..
    } = pair().await;
    let sent: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
    let echo = tokio::spawn(async move {
        let (mut from, mut to) = server.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let (mut from, mut to) = client.split();
    let writing = async {
        let slice = ToxicKind::Slicer {
            average_bytes: 900,
            variation_bytes: 400,
            delay_us: 1,
        };
        for (number, part) in sent.chunks(10_000).enumerate() {
            let stream = if number % 2 == 0 {
                Stream::Upstream
            } else {
                Stream::Downstream
            };
            let (kind, again) = match number % 5 {
                0 => (latency(3), latency(1)),
                1 => (
                    ToxicKind::Bandwidth { rate_kb_s: 0 },
                    ToxicKind::Bandwidth { rate_kb_s: 90_000 },
                ),
                2 => (slice, slice),
                3 => (latency(3_600_000), latency(2)),
                _ => (
                    ToxicKind::SlowClose { delay_ms: 1 },
                    ToxicKind::SlowClose { delay_ms: 2 },
                ),
            };
            let name = format!("{number}");
            link.add(Toxic::new(kind, stream).named(&name)).unwrap();
            to.write_all(part).await.unwrap();
            link.update(Toxic::new(again, stream).named(&name)).unwrap();
            if number >= 3 {
                link.remove(&format!("{}", number - 3)).unwrap();
            }
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

/// How many requests each of 30 connections gets through before it is reset, up to 20.
async fn survived(seed: u64, toxicity: f32, per: Per) -> Vec<usize> {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = Link::open(upstream.local_addr().unwrap(), Seed(seed))
        .await
        .unwrap();
    let kind = ToxicKind::ResetPeer { timeout_ms: 0 };
    link.add(Toxic::new(kind, Stream::Upstream).with_toxicity(toxicity, per))
        .unwrap();
    let mut counts = Vec::new();
    for _ in 0..30 {
        let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
        let (mut server, _) = soon(upstream.accept()).await.unwrap();
        let mut count = 0;
        while count < 20 {
            client.write_all(b"?").await.unwrap();
            if soon(server.read_exact(&mut [0])).await.is_err() {
                break;
            }
            server.write_all(b"!").await.unwrap();
            read(&mut client, 1).await;
            count += 1;
        }
        counts.push(count);
    }
    counts
}

#[tokio::test]
async fn the_same_seed_strikes_the_same_connections_for_good() {
    let one = survived(1, 0.5, Per::Connection).await;
    assert_eq!(one, survived(1, 0.5, Per::Connection).await);
    assert_ne!(one, survived(2, 0.5, Per::Connection).await);
    assert!(one.iter().all(|count| [0, 20].contains(count)), "{one:?}");
    assert!(one.contains(&0) && one.contains(&20), "{one:?}");
}

#[tokio::test]
async fn the_same_seed_strikes_the_same_requests() {
    let one = survived(1, 0.2, Per::Request).await;
    assert_eq!(one, survived(1, 0.2, Per::Request).await);
    assert_ne!(one, survived(2, 0.2, Per::Request).await);
    assert!(one.iter().any(|count| (1..20).contains(count)), "{one:?}");
}

#[tokio::test]
async fn a_cut_and_a_restore_leave_nothing_of_the_toxics() {
    let Pair {
        mut link,
        mut client,
        mut server,
        upstream,
    } = pair_of(Seed(3)).await;
    link.add(Toxic::new(latency(3_600_000), Stream::Upstream))
        .unwrap();
    client.write_all(b"never").await.unwrap();
    link.restore().await;
    let reset = (0, Some(io::ErrorKind::ConnectionReset));
    assert_eq!(end(&mut client).await, reset);
    assert_eq!(end(&mut server).await, reset);
    assert!(link.toxics().is_empty());
    let mut client = soon(TcpStream::connect(link.addr())).await.unwrap();
    let (mut server, _) = soon(upstream.accept()).await.unwrap();
    client.write_all(b"new").await.unwrap();
    assert_eq!(read(&mut server, 3).await, b"new");
}
