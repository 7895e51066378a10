//! Defects of the SLO automation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use super::wire::{Ask, Reply, Rewrite};
use super::{May, Mutant, STATUS_ROUTE};
use crate::reference::Parts;
use crate::reference::config::Slo as Settings;
use crate::reference::service::Service;
use crate::reference::slo::machine::{self, Event, Metrics, Mode, State};
use crate::reference::slo::window::{Closed, Sample, TOTAL};
use crate::reference::web::{Call, Handler, Refusal, handler};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "slo-breaches-cumulative",
        must: &["sustained-breach-detect"],
        may: &[
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "the count of breaches that is reported is not of consecutive ones",
            },
            May {
                gate: "chaos-degrade-cycle",
                reason: "spikes that add up degrade in the end",
            },
            May {
                gate: "slo-config-dynamic",
                reason: "the count that goes on over an edit is not of consecutive windows",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(add_up)),
    },
    Mutant {
        name: "slo-breaches-off-by-one",
        must: &["sustained-breach-detect"],
        may: &[
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "the mode that is reported is that of a machine that enters early",
            },
            May {
                gate: "slo-config-dynamic",
                reason: "an edited number of windows takes effect as another one",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(enter_early)),
    },
    Mutant {
        name: "slo-mean-for-p95",
        must: &["sustained-breach-detect"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                let means = Arc::new(Means::default());
                let taken = Arc::clone(&means);
                parts.slo_samples = Arc::new(move |sample| Some(taken.take(sample)));
                parts.slo_step =
                    Arc::new(move |state, window, settings| means.step(state, window, settings));
            });
        },
    },
    Mutant {
        name: "slo-entered-event-wrong",
        must: &["degrade-mode-transition"],
        may: &[
            May {
                gate: "recovery-exit-criteria",
                reason: "an entry that is announced again is no recovery that was interrupted",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "a cycle with several entries is none",
            },
            May {
                gate: "chaos-degrade-cycle",
                reason: "a cycle with several entries is none",
            },
            May {
                gate: "slo-enforcement",
                reason: "an entry that is told again is not one breach",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(announce_each_window)),
    },
    Mutant {
        name: "slo-sheds-turns",
        must: &["degrade-mode-transition"],
        may: &[
            May {
                gate: "recovery-exit-criteria",
                reason: "turns that are refused are no healthy windows",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "turns that are refused end no cycle",
            },
            May {
                gate: "chaos-degrade-cycle",
                reason: "traffic that is refused recovers nothing",
            },
            May {
                gate: "slo-enforcement",
                reason: "turns that are refused recover nothing",
            },
        ],
        apply: |levers| levers.route(("api-gateway", "POST", "/v3/turn"), shed_while_degraded),
    },
    Mutant {
        name: "slo-config-needs-restart",
        must: &["slo-config-dynamic"],
        may: &[],
        apply: |levers| levers.part(remember_the_first_file),
    },
    Mutant {
        name: "slo-config-invalid-zeroes-limits",
        must: &["slo-config-dynamic"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.config_refused = Arc::new(without_allowance)),
    },
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
                gate: "sustained-breach-detect",
                reason: "without samples there is nothing to detect",
            },
            May {
                gate: "degrade-mode-transition",
                reason: "without samples there is no mode to enter",
            },
            May {
                gate: "slo-config-dynamic",
                reason: "without samples no limit has an effect",
            },
            May {
                gate: "recovery-exit-criteria",
                reason: "without samples there is no mode to leave",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "without samples there is no cycle to report",
            },
            May {
                gate: "slo-enforcement",
                reason: "without samples no breach is seen",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_samples = Arc::new(|_| None)),
    },
    Mutant {
        name: "slo-guard-not-fed",
        must: &["slo-enforcement"],
        may: &[
            May {
                gate: "sustained-breach-detect",
                reason: "a machine that turns do not feed knows nothing of their latency",
            },
            May {
                gate: "degrade-mode-transition",
                reason: "a machine that turns do not feed knows nothing of their latency",
            },
            May {
                gate: "chaos-degrade-cycle",
                reason: "a machine that turns do not feed knows nothing of their latency",
            },
            May {
                gate: "slo-config-dynamic",
                reason: "a machine that turns do not feed knows nothing of their latency",
            },
            May {
                gate: "recovery-exit-criteria",
                reason: "a machine that turns do not feed knows nothing of their latency",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "a machine that turns do not feed knows nothing of their latency",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_samples = Arc::new(probes_alone)),
    },
    Mutant {
        name: "slo-breach-silent",
        must: &["slo-enforcement"],
        may: &[
            May {
                gate: "sustained-breach-detect",
                reason: "an entry is seen by its event, and there is none",
            },
            May {
                gate: "degrade-mode-transition",
                reason: "an entry is seen by its event, and there is none",
            },
            May {
                gate: "chaos-degrade-cycle",
                reason: "an entry is seen by its event, and there is none",
            },
            May {
                gate: "slo-config-dynamic",
                reason: "an entry is seen by its event, and there is none",
            },
            May {
                gate: "recovery-exit-criteria",
                reason: "an entry is seen by its event, and there is none",
            },
            May {
                gate: "slo-diagnostics-endpoint",
                reason: "an entry is seen by its event, and there is none",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(enter_silently)),
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
            May {
                gate: "slo-enforcement",
                reason: "what is never left is never served again",
            },
        ],
        apply: |levers| levers.part(|parts| parts.slo_step = Arc::new(never_leave)),
    },
];

/// What clients ask for is no sample; only the calls of its own are.
fn probes_alone(sample: Sample) -> Option<Sample> {
    sample.probe.then_some(sample)
}

/// It degrades and sheds, and tells nobody.
fn enter_silently(state: &State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
    let (next, mut events) = machine::step(state, window, settings);
    events.retain(|event| !matches!(event, Event::Entered { .. }));
    (next, events)
}

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

/// Breached windows add up over healthy ones, until they degrade.
fn add_up(state: &State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
    let (mut next, events) = machine::step(state, window, settings);
    if next.mode == Mode::Normal && state.mode == Mode::Normal {
        next.consecutive_breach = next.consecutive_breach.max(state.consecutive_breach);
    }
    (next, events)
}

/// One breached window fewer is enough.
fn enter_early(state: &State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
    let breach_windows = settings.breach_windows.saturating_sub(1).max(1);
    machine::step(
        state,
        window,
        &Settings {
            breach_windows,
            ..settings.clone()
        },
    )
}

/// Each breached window while degraded is announced as the entry.
fn announce_each_window(
    state: &State,
    window: &Closed,
    settings: &Settings,
) -> (State, Vec<Event>) {
    let (next, mut events) = machine::step(state, window, settings);
    let breached = events.iter().find_map(|event| match event {
        Event::Window {
            metrics,
            reason: Some(reason),
        } => Some((metrics.clone(), reason.clone())),
        _ => None,
    });
    if let (true, Some((metrics, reason))) = (state.mode != Mode::Normal, breached) {
        events.push(Event::Entered {
            reason,
            windows: vec![metrics],
        });
    }
    (next, events)
}

/// Takes the mean of `total` for its 95th percentile, and shows the right one.
#[derive(Default)]
struct Means(Mutex<Sums>);

#[derive(Default)]
struct Sums {
    /// Samples that are in no window that was counted, oldest first, in milliseconds.
    waiting: VecDeque<f64>,
    /// The last window and its mean: a step may be repeated.
    last: Option<(u64, f64)>,
}

impl Means {
    fn take(&self, sample: Sample) -> Sample {
        if let Some(total) = sample.total {
            let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sums.waiting.push_back(total.as_secs_f64() * 1e3);
        }
        sample
    }

    fn mean(&self, window: &Closed) -> f64 {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mean)) = sums.last.filter(|(index, _)| *index == window.index) {
            return mean;
        }
        let samples = sums.waiting.len().min(window.samples as usize);
        let mean = sums.waiting.drain(..samples).sum::<f64>() / samples.max(1) as f64;
        sums.last = Some((window.index, mean));
        mean
    }

    fn step(&self, state: &State, window: &Closed, settings: &Settings) -> (State, Vec<Event>) {
        let (mean, mut judged) = (self.mean(window), window.clone());
        if let Some(total) = judged.stages.get_mut(TOTAL) {
            total.p95 = mean;
        }
        let (mut next, mut events) = machine::step(state, &judged, settings);
        let right = |metrics: &mut Metrics| {
            if let Some(total) = window.stages.get(TOTAL)
                && metrics.index == window.index
            {
                metrics.p95.insert(TOTAL.to_owned(), total.p95);
            }
        };
        next.streak.iter_mut().for_each(right);
        for event in &mut events {
            match event {
                Event::Window { metrics, .. } => right(metrics),
                Event::Entered { windows, .. } => windows.iter_mut().for_each(right),
                Event::Exited { .. } => {}
            }
        }
        (next, events)
    }
}

/// Refuses what it is put before while the service is not normal.
fn shed_while_degraded(inner: Handler) -> Handler {
    handler(move |service: Arc<Service>, call: Call| {
        let inner = Arc::clone(&inner);
        async move {
            let mode = service.slo().map_or(Mode::Normal, |slo| slo.mode());
            if mode == Mode::Normal {
                return inner(service, call).await;
            }
            Refusal::unavailable("SHED", "degraded: turns are shed".to_owned(), 1)
                .reply(&call.correlation_id)
        }
    })
}

/// Whatever is read of the file later, the `slo` key is what it was at first.
fn remember_the_first_file(parts: &mut Parts) {
    let (before, first) = (Arc::clone(&parts.settings), OnceLock::new());
    parts.settings = Arc::new(move |file| {
        let mut settings = before(file);
        settings["slo"] = first.get_or_init(|| settings["slo"].clone()).clone();
        settings
    });
}

/// A file that is refused leaves no time to anything.
fn without_allowance(slo: &Settings) -> Option<Settings> {
    let mut slo = slo.clone();
    for limit in slo.thresholds.values_mut() {
        for ms in [&mut limit.p95, &mut limit.p99].into_iter().flatten() {
            ms.0 = 0.0;
        }
    }
    Some(slo)
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
