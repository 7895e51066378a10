//! Rate limits: one token bucket a credential, one a peer for requests without one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Buckets that are remembered; past it full ones are forgotten, which changes nothing for them.
const BUCKETS: usize = 4096;

/// All buckets of one service.
#[derive(Default)]
pub struct Limiter {
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// Takes a token. `Err`: whole seconds until there is one again.
    ///
    /// # Errors
    /// When the bucket is empty.
    pub fn take(&self, who: &str, per_second: u32, burst: u32, now: Instant) -> Result<(), u64> {
        let (rate, burst) = (f64::from(per_second), f64::from(burst));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(who) {
            buckets.retain(|_, bucket| bucket.level(rate, burst, now) < burst);
        }
        // Everybody is busy: a newcomer waits rather than that memory grows without a bound.
        if buckets.len() >= BUCKETS && !buckets.contains_key(who) {
            return Err(1);
        }
        let bucket = buckets.entry(who.to_owned()).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        bucket.tokens = bucket.level(rate, burst, now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(((1.0 - bucket.tokens) / rate).ceil().max(1.0) as u64)
    }
}

impl Bucket {
    fn level(&self, rate: f64, burst: f64, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + since * rate).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        let take = |who: &str, ms| limiter.take(who, 20, 40, start + Duration::from_millis(ms));
        assert_eq!((0..40).filter(|_| take("a", 0).is_ok()).count(), 40);
        assert_eq!(take("a", 0), Err(1));
        assert_eq!(take("b", 0), Ok(()));
        assert_eq!((0..40).filter(|_| take("a", 1000).is_ok()).count(), 20);
    }
}
