//! One connection of a link: two directions in one task, until both are done, one fails, a toxic
//! ends it or the link is cut.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::conduit::Conduit;
use super::flow::{Ended, Flow, Turns};
use super::toxic::Stream;

/// Carries one connection to its end. Its number is taken here and now, in the order of accepting:
/// what the seed decides for a connection does not depend on which task runs first.
pub(in crate::chaos) fn carry(
    conduit: Arc<Conduit>,
    client: TcpStream,
) -> impl Future<Output = ()> + Send {
    let number = conduit.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
    connection(conduit, client, number)
}

async fn connection(conduit: Arc<Conduit>, mut client: TcpStream, number: u64) {
    let mut changes = conduit.changes.subscribe();
    let cuts = *changes.borrow_and_update();
    let Ok(mut server) = conduit.connect().await else {
        reset(&client);
        return;
    };
    // Otherwise a small write may wait for the acknowledgement of one that this link delays.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let carried = {
        let mut both = Both::new(&conduit, number, &mut client, &mut server);
        loop {
            tokio::select! {
                biased;
                // The conduit is ours, so its sender is there.
                _ = changes.changed() => {
                    if *changes.borrow_and_update() != cuts {
                        conduit.counters.cut.fetch_add(1, Ordering::Relaxed);
                        break Err(io::ErrorKind::ConnectionReset.into());
                    }
                    // Other settings: the directions see them when they are polled.
                }
                carried = poll_fn(|cx| both.poll(cx, &conduit)) => break carried,
            }
        }
    };
    match carried {
        Ok(Ended::Orderly) => {}
        Ok(Ended::Closed) => close([client, server]).await,
        Err(_) => {
            reset(&client);
            reset(&server);
        }
    }
}

/// Makes the coming drop send a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

/// Ends both sides so that what was sent last arrives: what nobody read would turn the end into a
/// reset, which overtakes bytes.
async fn close(streams: [TcpStream; 2]) {
    for mut stream in streams {
        // A side that is gone already needs no end.
        let _ = stream.shutdown().await;
        let mut lost = [0; 4096];
        while stream.try_read(&mut lost).is_ok_and(|length| length > 0) {}
    }
}

/// Both directions of a connection.
struct Both<'a> {
    turns: Turns,
    there: Option<Flow>,
    back: Option<Flow>,
    client: (ReadHalf<'a>, WriteHalf<'a>),
    server: (ReadHalf<'a>, WriteHalf<'a>),
}

impl<'a> Both<'a> {
    fn new(
        conduit: &Conduit,
        number: u64,
        client: &'a mut TcpStream,
        server: &'a mut TcpStream,
    ) -> Self {
        let seed = conduit.seed.child(&format!("connection {number}"));
        Self {
            turns: Turns::default(),
            there: Some(Flow::new(Stream::Upstream, seed)),
            back: Some(Flow::new(Stream::Downstream, seed)),
            client: client.split(),
            server: server.split(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, conduit: &Conduit) -> Poll<io::Result<Ended>> {
        let turns = &mut self.turns;
        let there = (&mut self.client.0, &mut self.server.1);
        let back = (&mut self.server.0, &mut self.client.1);
        for (flow, ends) in [(&mut self.there, there), (&mut self.back, back)] {
            let Some(running) = flow else {
                continue;
            };
            match running.poll(cx, conduit, turns, ends) {
                Poll::Pending => {}
                Poll::Ready(Ok(Ended::Orderly)) => *flow = None,
                Poll::Ready(other) => return Poll::Ready(other),
            }
        }
        match (&self.there, &self.back) {
            (None, None) => Poll::Ready(Ok(Ended::Orderly)),
            _ => Poll::Pending,
        }
    }
}
