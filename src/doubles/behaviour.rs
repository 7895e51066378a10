//! What a double does with a call, beside answering it.

use std::time::Duration;

/// A moment in the life of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// It is logged and has no effect yet.
    Arrived,
    /// Its effect is counted and no byte of the answer is written.
    Committed,
    /// The answer is written. Nothing can be held back here any more: a call "held" at this
    /// point is one that got its answer.
    Answered,
}

/// How calls are treated from now on. The default answers at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Between arrival and effect.
    pub delay_ms: u64,
    /// Answer this status and have no effect.
    pub fail: Option<u16>,
    /// Close the connection at this point instead of answering.
    pub cut: Option<Point>,
    /// Stop at this point until released.
    pub hold: Option<Point>,
    /// Between two chunks of an answer that has several.
    pub chunk_delay_ms: u64,
    /// Stop after so many chunks of the answer until released.
    pub stall_after: Option<usize>,
    /// Close the connection after so many chunks of the answer.
    pub cut_after: Option<usize>,
}

impl Behaviour {
    /// Slow by this much.
    #[must_use]
    pub fn slow(delay_ms: u64) -> Self {
        Self {
            delay_ms,
            ..Self::default()
        }
    }

    /// Holds every call at this point.
    #[must_use]
    pub fn hold(point: Point) -> Self {
        Self {
            hold: Some(point),
            ..Self::default()
        }
    }

    /// Cuts every call at this point.
    #[must_use]
    pub fn cut(point: Point) -> Self {
        Self {
            cut: Some(point),
            ..Self::default()
        }
    }

    /// Fails every call with this status.
    #[must_use]
    pub fn fail(status: u16) -> Self {
        Self {
            fail: Some(status),
            ..Self::default()
        }
    }

    /// Stops every answer after so many chunks, until released.
    #[must_use]
    pub fn stall_after(chunks: usize) -> Self {
        Self {
            stall_after: Some(chunks),
            ..Self::default()
        }
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}
