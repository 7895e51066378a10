//! Follows the config file while the process runs. Its folder is watched, because a file that is
//! replaced by a rename is another file; a content that has stayed for [`QUIET`] is taken.
//!
//! Only `slo` is taken. A content that is refused leaves everything as it was: one warning and one
//! event for each distinct one. Other keys that differ are named in a warning and wait for a start.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::live::{LiveConfig, Taken, look};
use super::settling::{Content, Next, Settling};
use super::{ConfigError, Slo};
use crate::base::ids::random_id;
use crate::reference::digest::sha256;
use crate::reference::service::Service;

/// How long a content has to stay before it is read.
const QUIET: Duration = Duration::from_millis(50);
/// Between two looks when nothing rings: for rings that were lost, a folder that was replaced, a
/// link that now points elsewhere.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);
/// Between two looks when nothing can ring.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Distinct contents that are remembered as told; past it the oldest is forgotten.
const REMEMBERED: usize = 1024;
/// Events that may wait for a store that refuses; past it the oldest is given up.
const OWED_EVENTS: usize = 64;

/// What is put in force when a content is refused: nothing, unless somebody here has an answer.
pub type Refused = Arc<dyn Fn(&Slo) -> Option<Slo> + Send + Sync>;

/// Writes an event of this type. The error is for a log line.
type Announce =
    Arc<dyn Fn(&'static str, Value) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Follows the file of a gateway as long as the process runs.
pub async fn follow(gateway: Arc<Service>) {
    let (live, refused) = (
        Arc::clone(&gateway.shared.config),
        Arc::clone(&gateway.parts.config_refused),
    );
    let store = gateway.store.clone();
    let announce: Announce = Arc::new(move |kind, data| {
        let (store, correlation_id) = (store.clone(), random_id("cfg_", &mut rand::rng()));
        Box::pin(async move {
            let written = store.write(move |tx| tx.event(kind, &correlation_id, data));
            written.await.map_err(|error| error.to_string())
        })
    });
    let bell = Arc::new(Notify::new());
    let watch = watch(live.file(), Arc::clone(&bell));
    Follower::new(live, refused, announce)
        .run(watch, &bell)
        .await;
}

/// Rings for whatever happens to the file, except that somebody reads it.
fn watch(file: &Path, bell: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = |path: &std::path::PathBuf| path.file_name().map(ToOwned::to_owned) == name;
        match event {
            Ok(event) if event.kind.is_access() => {}
            Ok(event) if !event.need_rescan() && !event.paths.iter().any(ours) => {}
            _ => bell.notify_one(),
        }
    })?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

struct Follower {
    live: Arc<LiveConfig>,
    refused: Refused,
    announce: Announce,
    settling: Settling,
    told: Told,
    owed: VecDeque<(&'static str, Value)>,
}

impl Follower {
    fn new(live: Arc<LiveConfig>, refused: Refused, announce: Announce) -> Self {
        Self {
            settling: Settling::read(live.loaded().clone(), QUIET),
            live,
            refused,
            announce,
            told: Told::default(),
            owed: VecDeque::new(),
        }
    }

    async fn run(mut self, watch: notify::Result<RecommendedWatcher>, bell: &Notify) {
        let pace = match &watch {
            Ok(_) => LOOK_AT_LEAST,
            Err(error) => {
                tracing::warn!(%error, "the config file cannot be watched: it is looked at instead");
                POLL_INTERVAL
            }
        };
        let started = Instant::now();
        loop {
            let again = self.look(started.elapsed()).await;
            tokio::select! {
                () = bell.notified() => {}
                () = tokio::time::sleep(again.unwrap_or(pace)) => {}
            }
        }
    }

    /// One look. How soon the next one is due, when the file is not settled.
    async fn look(&mut self, now: Duration) -> Option<Duration> {
        let live = Arc::clone(&self.live);
        let found = tokio::task::spawn_blocking(move || look(live.file())).await;
        let found = found.unwrap_or_else(|error| Content::Absent(error.to_string()));
        let again = match self.settling.look(now, found) {
            Next::Rest => None,
            Next::Again(left) => Some(left),
            Next::Settled(Content::Absent(why)) => {
                tracing::warn!(%why, "the config file is gone: what is in force stays");
                None
            }
            Next::Settled(Content::Bytes(bytes)) => {
                self.take(&bytes);
                None
            }
        };
        self.pay().await;
        again
    }

    fn take(&mut self, bytes: &[u8]) {
        let sha256 = sha256(bytes);
        let config = match self.live.read(bytes) {
            Ok(config) => config,
            Err(error) => return self.refuse(error, sha256),
        };
        if let Taken::Applied(generation) = self.live.adopt(&config.slo) {
            tracing::info!(generation, %sha256, "slo.config.applied");
            let data = json!({"config_generation": generation, "sha256": sha256});
            self.owe("slo.config.applied", data);
        }
        let waiting = self.live.waiting(&config);
        if !waiting.is_empty() && self.told.first(&sha256) {
            let keys = waiting.join(", ");
            tracing::warn!(%keys, "other keys than slo take effect at the next start");
        }
    }

    fn refuse(&mut self, error: ConfigError, sha256: String) {
        if let Some(slo) = (self.refused)(&self.live.current().slo) {
            self.live.adopt(&slo);
        }
        if !self.told.first(&sha256) {
            return;
        }
        let ConfigError { path, message } = error;
        tracing::warn!(?path, ?message, %sha256, "slo.config.rejected: the last good values stay");
        let generation = self.live.generation().1;
        let data = json!({
            "path": path, "message": message, "sha256": sha256, "config_generation": generation,
        });
        self.owe("slo.config.rejected", data);
    }

    fn owe(&mut self, kind: &'static str, data: Value) {
        if self.owed.len() >= OWED_EVENTS {
            let given_up = self.owed.pop_front();
            tracing::warn!(?given_up, "too many events of the config wait to be kept");
        }
        self.owed.push_back((kind, data));
    }

    /// Writes the events that are due, in order; what the store refuses is tried at the next look.
    async fn pay(&mut self) {
        while let Some((kind, data)) = self.owed.front().cloned() {
            if let Err(error) = (self.announce)(kind, data).await {
                tracing::warn!(%error, kind, "an event of the config could not be kept");
                return;
            }
            self.owed.pop_front();
        }
    }
}

/// The contents that were told of, by digest.
#[derive(Default)]
struct Told {
    known: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Told {
    /// Whether this is the first time; from now on it is not.
    fn first(&mut self, sha256: &str) -> bool {
        if !self.known.insert(sha256.to_owned()) {
            return false;
        }
        self.order.push_back(sha256.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
