//! A running operation: the guard that makes it a sample, however it ends.

use std::future::Future;
use std::time::Duration;

use super::feed::Slo;

/// From begin to end of one operation. Dropping it ends it too: a client that goes away, an error
/// and a panic all leave a sample.
#[must_use = "an operation that is dropped at once is a sample of nothing"]
pub struct Operation {
    slo: Slo,
    id: u64,
    ended: bool,
}

impl Operation {
    pub(super) fn begin(slo: Slo, probe: bool) -> Self {
        let id = slo.feed.enter(probe);
        Self {
            slo,
            id,
            ended: false,
        }
    }

    /// A stage was passed and took this long. It counts when the operation ends.
    pub fn stage(&self, stage: &str, took: Duration) {
        if let Some(underway) = self.slo.feed.open().running.get_mut(&self.id) {
            underway.stages.push((stage.to_owned(), took));
        }
    }

    /// Runs a stage and measures it. While it runs it is known, so that one that hangs is seen.
    /// The time it took is given back too; a stage that is dropped half-way leaves its time.
    pub async fn measure<T>(&self, stage: &str, work: impl Future<Output = T>) -> (T, Duration) {
        let running = RunningStage::begin(self, stage);
        let answer = work.await;
        let took = running.took();
        drop(running);
        (answer, took)
    }

    /// The operation has ended. When its sample closes a window, returns after that window was
    /// counted: its state is kept and its events are written.
    pub async fn end(mut self) {
        self.ended = true;
        if self.slo.feed.leave(self.id, true) {
            self.slo.settle().await;
        }
    }

    /// Takes the operation out without a sample.
    pub(super) fn discard(mut self) {
        self.ended = true;
        self.slo.feed.leave(self.id, false);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.ended || !self.slo.feed.leave(self.id, true) {
            return;
        }
        // Nobody waits for this close; without a runtime the ticker's next turn counts it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let slo = self.slo.clone();
            runtime.spawn(async move { slo.settle().await });
        }
    }
}

/// A stage that is being measured.
struct RunningStage<'a> {
    operation: &'a Operation,
    stage: &'a str,
    began: Duration,
}

impl<'a> RunningStage<'a> {
    fn begin(operation: &'a Operation, stage: &'a str) -> Self {
        let feed = &operation.slo.feed;
        let began = feed.now();
        if let Some(underway) = feed.open().running.get_mut(&operation.id) {
            underway.running.stage = Some((stage.to_owned(), began));
        }
        Self {
            operation,
            stage,
            began,
        }
    }

    fn took(&self) -> Duration {
        self.operation.slo.feed.now().saturating_sub(self.began)
    }
}

impl Drop for RunningStage<'_> {
    fn drop(&mut self) {
        let took = self.took();
        if let Some(underway) = self
            .operation
            .slo
            .feed
            .open()
            .running
            .get_mut(&self.operation.id)
        {
            underway.running.stage = None;
            underway.stages.push((self.stage.to_owned(), took));
        }
    }
}
