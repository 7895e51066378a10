//! What is refused while the service is not normal, and how much of it was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::feed::Slo;
use super::machine::Mode;

/// Kinds of work that the config may name: frames at vision-capture, and memory writes of
/// priority `low`.
pub const KINDS: [&str; 2] = ["vision_frame", "memory_write_low"];

/// Refusals by kind since the process started.
#[derive(Default)]
pub(super) struct Refusals([AtomicU64; KINDS.len()]);

impl Refusals {
    fn of(&self, kind: &str) -> Option<&AtomicU64> {
        KINDS
            .iter()
            .position(|known| *known == kind)
            .map(|at| &self.0[at])
    }

    /// As the status shows them.
    pub(super) fn shown(&self) -> Value {
        let counts = KINDS.iter().zip(&self.0).map(|(kind, count)| {
            (
                (*kind).to_owned(),
                Value::from(count.load(Ordering::Relaxed)),
            )
        });
        Value::Object(Map::from_iter(counts.collect::<BTreeMap<_, _>>()))
    }
}

impl Slo {
    /// Whether work of that kind is to be refused. A yes counts as one refusal.
    pub fn refuses(&self, kind: &str) -> bool {
        if self.mode() == Mode::Normal {
            return false;
        }
        let named = self
            .feed
            .open()
            .window
            .settings
            .shed
            .iter()
            .any(|shed| shed == kind);
        let Some(count) = self.feed.refusals.of(kind).filter(|_| named) else {
            return false;
        };
        count.fetch_add(1, Ordering::Relaxed);
        true
    }
}
