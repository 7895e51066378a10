//! The restore: its stages one after another, each announced with when it began, how long it took
//! and how much it found, also when that is nothing. No request is served before it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::config::Config;
use super::service::{Restored, Service, Shared};
use super::store::StoreError;
use super::wiring::{STAGES, Stage};

/// From the stages to the order in which they run: one group after another, those of a group at once.
pub type RestoreOrder = fn(&'static [Stage]) -> Vec<Vec<&'static Stage>>;

/// Each stage on its own, in the order of the list.
pub fn one_by_one(stages: &'static [Stage]) -> Vec<Vec<&'static Stage>> {
    stages.iter().map(|stage| vec![stage]).collect()
}

/// Restores what these services keep. The stages of another process are in its own trace.
///
/// # Errors
/// When a database cannot be read.
///
/// # Panics
/// When a process restores twice.
pub async fn run(
    services: &[Arc<Service>],
    shared: &Shared,
    config: &Arc<Config>,
    order: RestoreOrder,
) -> Result<(), StoreError> {
    let (mut trace, begun) = (Vec::new(), Instant::now());
    for group in order(STAGES) {
        let owned = group.into_iter().filter_map(|stage| {
            let owner = services.iter().find(|one| one.name == stage.service)?;
            Some(restore(stage, owner, config, begun))
        });
        trace.extend(try_join_all(owned).await?);
    }
    if shared.restored.set(trace).is_err() {
        panic!("a process restores once");
    }
    Ok(())
}

async fn restore(
    stage: &'static Stage,
    owner: &Arc<Service>,
    config: &Arc<Config>,
    all_begun: Instant,
) -> Result<Restored, StoreError> {
    let begun = all_begun.elapsed();
    let (config, now, count) = (config.clone(), owner.now(), stage.count);
    let read = owner.store.read(move |conn| count(conn, &config, now));
    let rows = read.await?;
    let restored = Restored {
        stage: stage.name,
        rows,
        begun_ms: ms(begun),
        duration_ms: ms(all_begun.elapsed()) - ms(begun),
    };
    tracing::info!(stage = stage.name, rows, "restored");
    Ok(restored)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
