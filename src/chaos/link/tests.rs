//! Links between real sockets, without toxics.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{Delay, Direction, Faults, Link};
use crate::base::Seed;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("within the deadline")
}

pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(super) struct Pair {
    pub(super) link: Link,
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) upstream: TcpListener,
}

pub(super) async fn pair() -> Pair {
    pair_of(Seed(7)).await
}

pub(super) async fn pair_of(seed: Seed) -> Pair {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = Link::open(upstream.local_addr().unwrap(), seed)
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

pub(super) async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    soon(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
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
    link.faults(Faults::one_way(Direction::ToUpstream, Delay::NEVER));
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
    link.faults(Faults::both_ways(Delay::NEVER));
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
