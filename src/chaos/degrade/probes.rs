//! What a drive asks between turns: work that may be shed, and the status route.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::cycle::{Cycle, POLL_INTERVAL, Went};
use super::lane::{LEAST_BOUND, WINDOW_TURNS};
use super::timeline::{Probe, Status, Step, Work};
use crate::target::{Ask, Client, Credential};

impl Cycle<'_> {
    /// Probes what is shed, and reads the log, without any turn, for this long.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn probe_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end_us = self.clock.now_us() + time.as_micros() as u64;
        while self.clock.now_us() < end_us {
            self.probe(&[Work::VisionFrame, Work::MemoryWriteLow]).await;
            self.read().await?;
            tokio::time::sleep(POLL_INTERVAL * 4).await;
        }
        Ok(())
    }

    /// Asks for work that may be shed. While the answers are not what the last change that was
    /// read asks for, it asks again, at most [`LEAST_BOUND`] long.
    pub async fn probe(&mut self, works: &[Work]) {
        let end_us = self.clock.now_us() + LEAST_BOUND.as_micros() as u64;
        for work in works {
            loop {
                let probe = self.ask_for(*work).await;
                let shed = self.degraded() && *work != Work::MemoryWriteNormal;
                let settled = if shed { probe.shed() } else { probe.served() };
                self.line.push(Step::Probe(probe));
                if settled || self.clock.now_us() > end_us {
                    break;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    async fn ask_for(&self, work: Work) -> Probe {
        let session_id = &self.sessions[0];
        let write = |priority: &str| {
            let body = json!({"type": "fact", "content": "tea at four", "priority": priority});
            Ask::post("memory-engine", "/store", body)
        };
        let ask = match work {
            Work::VisionFrame => {
                let body = json!({"session_id": session_id, "data": "AAECAw=="});
                Ask::post("vision-capture", "/v1/vision/frames", body)
            }
            Work::MemoryWriteLow => write("low"),
            Work::MemoryWriteNormal => write("normal"),
        };
        let exchange = self.client.send(ask).await;
        let answer = exchange.answer.as_ref();
        Probe {
            work,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange.code().to_owned(),
            retry_after: answer.is_some_and(|answer| answer.headers.contains_key("retry-after")),
        }
    }

    /// Reads a status route.
    pub async fn status(&mut self, path: &str, credential: Credential) {
        let status = status(self.client.under(credential), path).await;
        self.line.push(Step::Status(status));
    }

    /// Turns, and while they run one read of each of these status routes.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn turns_while_reading(&mut self, paths: &[&str]) -> anyhow::Result<Went> {
        let client = self.client.clone();
        let (models, known) = (self.models.clone(), self.models.calls().len());
        let reading = async move {
            // In the middle of the turns: when the model has the first of them.
            let end = tokio::time::Instant::now() + LEAST_BOUND;
            while models.calls().len() == known && tokio::time::Instant::now() < end {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            join_all(paths.iter().map(|path| status(client.clone(), path))).await
        };
        let (went, seen) = tokio::join!(self.turns(WINDOW_TURNS, None), reading);
        for status in seen {
            self.line.push(Step::Status(status));
        }
        went
    }
}

async fn status(client: Client, path: &str) -> Status {
    let credentials = *client.credential() != Credential::None;
    let exchange = client.send(Ask::get("api-gateway", path)).await;
    Status {
        path: path.to_owned(),
        credentials,
        invoked_us: exchange.invoked_us,
        returned_us: exchange.returned_us,
        status: exchange.status(),
        body: exchange.answered().clone(),
    }
}
