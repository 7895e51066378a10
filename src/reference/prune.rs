//! Removes expired idempotency keys, and nothing else, at a fixed pace.

use std::sync::Arc;
use std::time::Duration;

use super::service::Service;

/// Runs as long as the process does.
pub async fn run(svc: Arc<Service>) {
    let pace = Duration::from_millis(svc.config().idempotency.prune_interval_ms);
    loop {
        tokio::time::sleep(pace).await;
        let claims = svc.parts.claims.clone();
        match svc.store.write(move |tx| claims.prune(tx)).await {
            Ok(0) => {}
            Ok(keys) => tracing::debug!(service = svc.name, keys, "pruned"),
            Err(error) => tracing::warn!(service = svc.name, %error, "not pruned"),
        }
    }
}
