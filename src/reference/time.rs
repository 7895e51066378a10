//! A moment of the wall clock in whole microseconds: what is stored, compared and printed.
//! Durations of requests are not measured with it.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds since 1970 UTC.
    pub fn us(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970 UTC, rounded down.
    pub fn ms(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `ms` milliseconds.
    pub fn plus_ms(self, ms: u64) -> Self {
        let us = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_add(us))
    }

    /// `ms` milliseconds before this moment.
    pub fn minus_ms(self, ms: u64) -> Self {
        let us = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_sub(us))
    }

    /// Seconds from `now` until this moment, never below zero.
    pub fn seconds_after(self, now: Self) -> f64 {
        (self.0 - now.0).max(0) as f64 / 1_000_000.0
    }
}

/// RFC 3339, UTC, six decimals.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{at:.6}")
    }
}

/// Where the time of day comes from.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Another clock, moved ahead (or back) by a fixed time.
pub struct Offset {
    /// The clock that is moved.
    pub clock: Arc<dyn Clock>,
    /// How far ahead, in milliseconds.
    pub ahead_ms: i64,
}

impl Clock for Offset {
    fn now(&self) -> Timestamp {
        let us = self.ahead_ms.saturating_mul(1000);
        Timestamp(self.clock.now().0.saturating_add(us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_printed_in_utc_with_six_decimals() {
        assert_eq!(
            Timestamp(1_795_341_600_000_000).to_string(),
            "2026-11-22T10:00:00.000000Z"
        );
        assert_eq!(
            Timestamp(1_795_341_600_000_001).to_string(),
            "2026-11-22T10:00:00.000001Z"
        );
    }

    #[test]
    fn seconds_left_never_fall_below_zero() {
        let now = Timestamp(5_000_000);
        assert!((now.plus_ms(1500).seconds_after(now) - 1.5).abs() < 1e-9);
        assert_eq!(now.seconds_after(now.plus_ms(1)), 0.0);
    }
}
