//! What a link can do to bytes.

use serde::{Deserialize, Serialize};

use super::toxic::Stream;

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
    /// Longer than any drive: what is delayed so does not arrive.
    pub const NEVER: Self = Self {
        delay_ms: 3_600_000,
        jitter_ms: 0,
    };
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

    pub(super) fn of(self, stream: Stream) -> Delay {
        match stream {
            Stream::Upstream => self.to_upstream,
            Stream::Downstream => self.to_client,
        }
    }
}
