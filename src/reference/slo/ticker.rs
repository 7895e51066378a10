//! Closing by time, and the calls of our own that fill a window without enough traffic while the
//! service is not normal: recovery never waits for a client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use super::feed::{Feed, Slo};
use super::machine::Mode;
use super::operation::Operation;
use crate::reference::config::Slo as Settings;

/// Probes under way at the same time.
const PROBES_AT_ONCE: usize = 8;
/// The stage that a probe measures.
const PROBED_STAGE: &str = "model";

impl Slo {
    /// Starts the ticker, which ends when the last handle is gone.
    pub fn start(&self) -> JoinHandle<()> {
        let bell = Arc::clone(&self.feed.bell);
        let feed = Arc::downgrade(&self.feed);
        tokio::spawn(async move {
            loop {
                // Listening begins before the look, so that no ring in between is lost.
                let rung = bell.notified();
                tokio::pin!(rung);
                rung.as_mut().enable();
                let Some(feed) = feed.upgrade() else { return };
                let slo = Slo { feed };
                let left = slo.until_due();
                if left.is_zero() {
                    slo.tick().await;
                    continue;
                }
                drop(slo);
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    () = rung => {}
                }
            }
        })
    }

    fn until_due(&self) -> Duration {
        let due = self.feed.open().window.due();
        due.saturating_sub(self.feed.now())
    }

    /// Closes the open window when its time is up, after filling it when that is due.
    pub(super) async fn tick(&self) {
        self.settle().await;
        let mode = self.mode();
        if let Some((index, missing)) = self.feed.close_or_fill(mode) {
            self.fill(missing).await;
            self.feed.close_if_open(index);
        }
        self.settle().await;
    }

    async fn fill(&self, missing: u64) {
        stream::iter(0..missing)
            .for_each_concurrent(PROBES_AT_ONCE, |_| self.probe())
            .await;
    }

    /// One probe. One that gets no answer within every threshold is a sample of that length; one
    /// that fails earlier is none: a refused connection is quick and says nothing about health.
    async fn probe(&self) {
        let patience = patience(&self.feed.open().window.settings);
        let operation = Operation::begin(self.clone(), true);
        let call = operation.measure(PROBED_STAGE, self.feed.wiring.probe.call());
        match tokio::time::timeout(patience, call).await {
            Ok((Err(error), _)) => {
                tracing::debug!(%error, "a probe failed");
                operation.discard();
            }
            Ok((Ok(()), _)) | Err(_) => operation.end().await,
        }
    }
}

impl Feed {
    /// Closes the open window when its time is up; or, when it would be neutral and is to be
    /// filled, says which window it is and how many samples are missing.
    fn close_or_fill(&self, mode: Mode) -> Option<(u64, u64)> {
        let now = self.now();
        let mut open = self.open();
        if now < open.window.due() {
            return None;
        }
        let overdue = open
            .overdue(now)
            .filter(|sample| sample.total.is_some())
            .count() as u64;
        let settings = &open.window.settings;
        let missing = settings
            .min_samples
            .saturating_sub(open.window.samples() + overdue);
        if missing > 0 && mode != Mode::Normal && settings.self_probe {
            return Some((open.window.index, missing));
        }
        self.close(&mut open, now);
        None
    }

    /// Closes the window of this number, unless its samples have closed it already.
    fn close_if_open(&self, index: u64) {
        let now = self.now();
        let mut open = self.open();
        if open.window.index == index {
            self.close(&mut open, now);
        }
    }
}

/// Longer than every threshold, so that a probe that hangs is past each of them.
fn patience(settings: &Settings) -> Duration {
    let limits = settings
        .thresholds
        .values()
        .flat_map(|each| [each.p95, each.p99])
        .flatten()
        .map(|limit| limit.0);
    let longest = limits.fold(settings.window_ms as f64, f64::max);
    Duration::try_from_secs_f64(longest * 1.01 / 1e3 + 0.002).unwrap_or(Duration::MAX)
}
