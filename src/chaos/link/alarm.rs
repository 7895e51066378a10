//! A timer that is met to a fraction of a millisecond, where the system has such timers and a file
//! descriptor for one. The runtime's own are met within two: it counts whole milliseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

pub(super) enum Alarm {
    Exact {
        timer: AsyncFd<Timer>,
        at: Option<Instant>,
    },
    Coarse(Pin<Box<Sleep>>),
}

impl Alarm {
    pub(super) fn new() -> Self {
        match Timer::new().and_then(watched) {
            Ok(timer) => Self::Exact { timer, at: None },
            Err(_) => Self::Coarse(Box::pin(sleep_until(Instant::now()))),
        }
    }

    /// Ready once it is `at`, and never before.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        match self {
            Self::Exact { timer, at: set } => {
                let mut wanted = *set != Some(at);
                *set = Some(at);
                loop {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Poll::Ready(());
                    }
                    if wanted && timer.get_ref().set(left).is_err() {
                        *self = Self::Coarse(Box::pin(sleep_until(at)));
                        return self.poll(cx, at);
                    }
                    let Ok(mut ready) = ready!(timer.poll_read_ready(cx)) else {
                        // The runtime is ending.
                        return Poll::Pending;
                    };
                    // It may be that what was set before went off. If it is not time yet, the timer
                    // is set again.
                    ready.clear_ready();
                    wanted = true;
                }
            }
            Self::Coarse(sleep) => {
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
                sleep.as_mut().poll(cx)
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, because a file descriptor could be closed or become another \
              meanwhile; a timer owns its own, and there is no unsafe code here"
)]
fn watched(timer: Timer) -> io::Result<AsyncFd<Timer>> {
    AsyncFd::with_interest(timer, Interest::READABLE)
}

/// A timer of the system, as something that becomes readable.
pub(super) struct Timer(TimerFd);

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    fn set(&self, left: Duration) -> io::Result<()> {
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        Ok(self.0.set(once, TimerSetTimeFlags::empty())?)
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn coarse() -> Alarm {
        Alarm::Coarse(Box::pin(sleep_until(Instant::now())))
    }

    #[tokio::test]
    async fn no_alarm_goes_off_before_its_time_however_often_it_is_set_anew() {
        for mut alarm in [Alarm::new(), coarse()] {
            for (first_ms, then_ms) in [(5, 1), (1, 5), (3_600_000, 2), (0, 3), (3, 0)] {
                let now = Instant::now();
                let first = now + Duration::from_millis(first_ms);
                let then = now + Duration::from_millis(then_ms);
                // Looked at once, and then there is another time to wait for.
                let looked = poll_fn(|cx| Poll::Ready(alarm.poll(cx, first))).await;
                assert!(looked.is_pending() || Instant::now() >= first);
                poll_fn(|cx| alarm.poll(cx, then)).await;
                assert!(Instant::now() >= then, "{first_ms} ms, then {then_ms} ms");
            }
        }
        assert!(matches!(Alarm::new(), Alarm::Exact { .. }));
    }
}
