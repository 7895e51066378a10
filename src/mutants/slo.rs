//! Defects of the SLO automation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::wire::{Ask, Reply, Rewrite};
use super::{May, Mutant, STATUS_ROUTE};
use crate::reference::Parts;
use crate::reference::config::Slo as Settings;
use crate::reference::slo::machine::{self, Event, Mode, State};
use crate::reference::slo::window::Closed;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "slo-leaves-after-one",
        must: &["recovery-exit-criteria"],
        may: &[May {
            gate: "slo-diagnostics-endpoint",
            reason: "the mode that is reported is that of a machine that leaves early",
        }],
        apply: |levers| levers.part(leave_after_one),
    },
    Mutant {
        name: "slo-healthy-count-not-reset",
        must: &["recovery-exit-criteria"],
        may: &[May {
            gate: "slo-diagnostics-endpoint",
            reason: "the counts that are reported are those of a machine that counts wrongly",
        }],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(keep_the_healthy_count)),
    },
    Mutant {
        name: "slo-status-static",
        must: &["slo-diagnostics-endpoint"],
        may: &[],
        apply: |levers| levers.wire(Arc::new(StaticStatus::default())),
    },
    Mutant {
        name: "slo-status-time-frozen",
        must: &["slo-diagnostics-endpoint"],
        may: &[],
        apply: |levers| levers.wire(Arc::new(FrozenTime)),
    },
    Mutant {
        name: "slo-status-unbounded-history",
        must: &["slo-diagnostics-endpoint"],
        may: &[],
        apply: |levers| levers.config(json!({ "slo": { "history_limit": 1_000_000 } })),
    },
    Mutant {
        name: "slo-not-fed-by-traffic",
        must: &["chaos-degrade-cycle"],
        may: &[
            May {
                gate: "recovery-exit-criteria",
                reason: "without samples there is no mode to leave",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "without samples there is no cycle to report",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_samples = Arc::new(|_| None)),
    },
    Mutant {
        name: "slo-manual-reset",
        must: &["chaos-degrade-cycle"],
        may: &[
            May {
                gate: "recovery-exit-criteria",
                reason: "an exit that never comes does not come with the right window either",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "the mode that is reported is that of a machine that never leaves",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(never_leave)),
    },
];

/// Swaps in a machine that is back to normal with the first healthy window.
pub(super) fn leave_after_one(parts: &mut Parts) {
    parts.slo_step = Arc::new(|state, window, settings| {
        machine::step(
            state,
            window,
            &Settings {
                recover_windows: 1,
                ..settings.clone()
            },
        )
    });
}

/// A breach while recovering goes back to degraded and forgets nothing of the count.
fn keep_the_healthy_count(
    state: &State,
    window: &Closed,
    settings: &Settings,
) -> (State, Vec<Event>) {
    let (mut next, events) = machine::step(state, window, settings);
    if state.mode != Mode::Normal && next.mode == Mode::Degraded {
        next.consecutive_healthy = state.consecutive_healthy;
    }
    (next, events)
}

/// A machine that somebody would have to put back to normal by hand.
fn never_leave(state: &State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
    machine::step(
        state,
        window,
        &Settings {
            recover_windows: u64::MAX,
            ..settings.clone()
        },
    )
}

fn asks_for_status(ask: &Ask) -> bool {
    ask.path
        .split('?')
        .next()
        .is_some_and(|path| path.ends_with(STATUS_ROUTE))
}

/// Gives the first answer of each status route for ever.
#[derive(Default)]
struct StaticStatus(Mutex<BTreeMap<String, Reply>>);

impl Rewrite for StaticStatus {
    fn before(&self, ask: &Ask) -> Option<Reply> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&ask.path)
            .cloned()
    }

    fn after(&self, ask: &Ask, reply: Reply) -> Reply {
        if asks_for_status(ask) && reply.status.is_success() {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.insert(ask.path.clone(), reply.clone());
        }
        reply
    }
}

/// The time in degrade stands still.
struct FrozenTime;

impl Rewrite for FrozenTime {
    fn after(&self, ask: &Ask, reply: Reply) -> Reply {
        let mut body = reply.value();
        match body.get_mut("time_in_degrade") {
            Some(time) if asks_for_status(ask) => *time = Value::from(0.0),
            _ => return reply,
        }
        reply.with(&body)
    }
}
