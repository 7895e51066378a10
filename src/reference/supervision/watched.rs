//! What the supervisor knows of everybody, as the routes show it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::machine::State;
use super::table::Row;

/// One supervised service.
pub struct Watched {
    /// Its row.
    pub row: Row,
    shown: Mutex<Shown>,
    /// Rung when somebody asks for a restart.
    pub(super) asked: Notify,
    /// Rung when maintenance ends.
    pub(super) resumed: Notify,
}

/// What is shown of a service.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What is known of it.
    pub state: State,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Where it is asked how it is.
    pub url: String,
    /// Restarts in the window, as the store had them at the last look.
    pub spent: usize,
}

impl Watched {
    pub(super) fn new(row: Row, pid: u32, url: String) -> Self {
        let shown = Shown {
            state: State::started(),
            pid: Some(pid),
            url,
            spent: 0,
        };
        Self {
            row,
            shown: Mutex::new(shown),
            asked: Notify::new(),
            resumed: Notify::new(),
        }
    }

    /// As it is now.
    pub fn shown(&self) -> Shown {
        self.lock().clone()
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everybody.
pub struct Supervision {
    /// The services that run as processes of ours, in the order in which they were started.
    pub watched: Vec<Arc<Watched>>,
    maintenance: AtomicBool,
    readable: AtomicBool,
}

impl Supervision {
    pub(super) fn new(watched: Vec<Arc<Watched>>, maintenance: bool, readable: bool) -> Self {
        Self {
            watched,
            maintenance: AtomicBool::new(maintenance),
            readable: AtomicBool::new(readable),
        }
    }

    /// The service of this name, when it is supervised.
    pub fn find(&self, service: &str) -> Option<&Arc<Watched>> {
        self.watched
            .iter()
            .find(|watched| watched.row.service == service)
    }

    /// Somebody asked for its restart, and that is on disk.
    pub fn ask(&self, service: &str) {
        if let Some(watched) = self.find(service) {
            watched.asked.notify_one();
        }
    }

    /// Whether nothing is restarted just now.
    pub fn maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Acquire)
    }

    /// Begins or ends maintenance, which is on disk already.
    pub fn maintain(&self, enabled: bool) {
        let before = self.maintenance.swap(enabled, Ordering::AcqRel);
        if before && !enabled {
            for watched in &self.watched {
                watched.resumed.notify_one();
            }
        }
    }

    /// Whether the store of budgets could be read the last time.
    pub fn readable(&self) -> bool {
        self.readable.load(Ordering::Acquire)
    }

    pub(super) fn set_readable(&self, readable: bool) {
        self.readable.store(readable, Ordering::Release);
    }
}
