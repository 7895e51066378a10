//! One direction of one connection over its sockets. While there is nothing to do to bytes they are
//! written from the buffer that they were read into, in the same turn of the same task.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::conduit::Conduit;
use super::pipe::{Due, Pipe};
use super::stage::{Parcel, What};
use super::toxic::Stream;
use crate::base::Seed;

/// The most bytes that share one release time.
const CHUNK_BYTES: usize = 32 << 10;

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The sender has said all, and it arrived.
    Orderly,
    /// A toxic closes the connection.
    Closed,
}

/// Whose turn it is on a connection, both directions together.
#[derive(Default)]
pub(super) struct Turns {
    request: u64,
    answered: bool,
}

impl Turns {
    /// Which request bytes in this direction belong to.
    fn now(&mut self, stream: Stream) -> u64 {
        match stream {
            Stream::Downstream => self.answered = true,
            Stream::Upstream if self.answered || self.request == 0 => {
                self.request += 1;
                self.answered = false;
            }
            Stream::Upstream => {}
        }
        self.request
    }
}

/// One direction of one connection.
pub(super) struct Flow {
    stream: Stream,
    pipe: Pipe,
    /// The state of the conduit that the pipe follows.
    version: u64,
    buffer: Box<[u8]>,
    /// What of the buffer is still to be written.
    rest: Range<usize>,
    /// The sender has said all.
    ended: bool,
    alarm: Option<Alarm>,
}

impl Flow {
    /// `seed` is that of the connection.
    pub(super) fn new(stream: Stream, seed: Seed) -> Self {
        Self {
            stream,
            pipe: Pipe::new(stream, seed, Instant::now()),
            version: 0,
            buffer: vec![0; CHUNK_BYTES].into_boxed_slice(),
            rest: 0..0,
            ended: false,
            alarm: None,
        }
    }

    /// Goes on until nothing can be done now.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        conduit: &Conduit,
        turns: &mut Turns,
        (from, to): (&mut ReadHalf<'_>, &mut WriteHalf<'_>),
    ) -> Poll<io::Result<Ended>> {
        self.follow(conduit);
        loop {
            while !self.rest.is_empty() {
                let written = Pin::new(&mut *to).poll_write(cx, &self.buffer[self.rest.clone()]);
                self.rest.start += gave(conduit, self.stream, ready!(written))?;
            }
            if self.pipe.plain() {
                if self.ended {
                    let shut = Pin::new(&mut *to).poll_shutdown(cx);
                    return shut.map_ok(|()| Ended::Orderly);
                }
                let length = ready!(self.read(cx, conduit, from))?;
                self.took(conduit, turns, length);
                continue;
            }
            let due = self.pipe.advance(Instant::now());
            let Due::Wake(wake) = due else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            let mut moved = false;
            match self.write(cx, conduit, to) {
                Poll::Ready(Ok(None)) => moved = true,
                Poll::Ready(Ok(Some(ended))) => return Poll::Ready(Ok(ended)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            if !self.ended && self.pipe.room() {
                match self.read(cx, conduit, from) {
                    Poll::Ready(length) => {
                        self.took(conduit, turns, length?);
                        moved = true;
                    }
                    Poll::Pending => {}
                }
            }
            if !moved {
                ready!(self.wait(cx, wake));
            }
        }
    }

    /// Brings the pipe to what the conduit says now.
    fn follow(&mut self, conduit: &Conduit) {
        let version = conduit.version();
        if version != self.version {
            self.version = version;
            let settings = conduit.settings();
            let now = Instant::now();
            self.pipe.faults(settings.faults.of(self.stream));
            self.pipe.follow(settings.roster.entries(), now);
        }
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        conduit: &Conduit,
        from: &mut ReadHalf<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        conduit.counters.took(self.stream, length);
        Poll::Ready(Ok(length))
    }

    /// What was read goes on. What the conduit was told before counts for it.
    fn took(&mut self, conduit: &Conduit, turns: &mut Turns, length: usize) {
        self.follow(conduit);
        self.ended = length == 0;
        if self.ended && self.pipe.plain() {
            return;
        }
        let request = match length {
            0 => turns.request,
            _ => turns.now(self.stream),
        };
        if self.pipe.plain() {
            self.rest = 0..length;
            return;
        }
        let what = match length {
            0 => What::End,
            _ => What::Bytes(Bytes::copy_from_slice(&self.buffer[..length])),
        };
        self.pipe.put(Parcel {
            came: Instant::now(),
            request,
            what,
        });
    }

    /// Writes some of what is due; pending when there is nothing, too.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        conduit: &Conduit,
        to: &mut WriteHalf<'_>,
    ) -> Poll<io::Result<Option<Ended>>> {
        let stream = self.stream;
        let out = self.pipe.out();
        match out.front_mut().map(|parcel| &mut parcel.what) {
            None => Poll::Pending,
            Some(What::Close) => Poll::Ready(Ok(Some(Ended::Closed))),
            Some(What::End) => {
                let shut = Pin::new(to).poll_shutdown(cx);
                shut.map_ok(|()| Some(Ended::Orderly))
            }
            Some(What::Bytes(bytes)) => {
                let written = ready!(Pin::new(to).poll_write(cx, bytes));
                bytes.advance(gave(conduit, stream, written)?);
                if bytes.is_empty() {
                    out.pop_front();
                }
                Poll::Ready(Ok(None))
            }
        }
    }

    /// Ready when it is time; never when there is no time to wait for.
    fn wait(&mut self, cx: &mut Context<'_>, wake: Option<Instant>) -> Poll<()> {
        let Some(at) = wake else {
            return Poll::Pending;
        };
        self.alarm.get_or_insert_with(Alarm::new).poll(cx, at)
    }
}

/// Counts what was written.
fn gave(conduit: &Conduit, stream: Stream, written: io::Result<usize>) -> io::Result<usize> {
    let length = written?;
    if length == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    conduit.counters.gave(stream, length);
    Ok(length)
}
