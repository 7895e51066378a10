//! Ctrl-C, SIGTERM and SIGHUP end a run early instead of tearing it down.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Stop;
use crate::runner::Cancel;

/// What becomes true at the first SIGINT, SIGTERM or SIGHUP. Has to be called inside a runtime.
pub(super) fn cancel() -> Result<Cancel, Stop> {
    let refused = |error| Stop::usage(format!("cannot watch signals: {error}"), "try again");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(refused)?;
    let (stop, cancel) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        let _ = stop.send(true);
        // Held open: a closed channel would look like nobody ever asking.
        stop.closed().await;
    });
    Ok(cancel)
}
