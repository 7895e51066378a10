//! One monotonic zero per run, so that times of the client, the doubles and the links compare.
//! It says nothing about the time of day.

use std::time::Instant;

/// Microseconds since the start of a run. Clones share the zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            zero: Instant::now(),
        }
    }

    /// Microseconds since the zero. Never falls; two calls may get the same tick.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn clones_share_the_zero_and_time_never_falls() {
        let clock = Clock::start();
        let copy = clock;
        let before = clock.now_us();
        let after = copy.now_us();
        assert!(before <= after, "{before} then {after}");
    }
}
