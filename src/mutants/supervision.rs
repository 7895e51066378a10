//! Defects of the supervisor. Those about one service are about the one that the gate looks at.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::Parts;
use crate::reference::config::Supervisor;
use crate::reference::store::{StoreError, Tx};
use crate::reference::supervision::budgets::{Budgets, Spent, Table};
use crate::reference::supervision::probe::Probe;
use crate::reference::supervision::spawn::{Plan, Process, Spawn};
use crate::reference::supervision::table::Row;

/// Whose restarts are only said to be done, or are told with an old process.
const SAID: &str = "openclaw";
/// Whose restarts never come.
const FORGOTTEN: &str = "memory-engine";
const ORCHESTRATOR: &str = "orchestrator";
/// No process has this id: it is past the largest one of Linux.
const NO_PROCESS: u32 = 4_194_305;

/// Whoever spends a budget and waits for its window sees these too.
const BUDGETS: &[May] = &[May {
    gate: "supervisor-budget-persist",
    reason: "it spends the budget first, and waits for the end of its window last",
}];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "restart-reported-not-done",
        must: &["restart-method"],
        may: &[],
        apply: |levers| spawn(levers, SaidOnly::default()),
    },
    Mutant {
        name: "restart-reports-stale-pid",
        must: &["restart-method"],
        may: &[],
        apply: |levers| spawn(levers, FirstPid::default()),
    },
    Mutant {
        name: "restart-unlimited",
        must: &["restart-policy"],
        may: BUDGETS,
        apply: |levers| settings(levers, |settings| settings.max_restarts = 1_000_000),
    },
    Mutant {
        name: "restart-without-backoff",
        must: &["restart-policy"],
        may: &[],
        apply: |levers| settings(levers, |settings| settings.backoff_ms = vec![0]),
    },
    Mutant {
        name: "restart-window-never-expires",
        must: &["restart-policy"],
        may: BUDGETS,
        apply: |levers| {
            settings(levers, |settings| settings.window_ms = 1_000_000_000_000);
            budgets(levers, FromTheBeginning);
        },
    },
    Mutant {
        name: "restart-on-first-failure",
        must: &["health-restart-trigger"],
        may: &[],
        apply: |levers| settings(levers, |settings| settings.unreachable_after = 1),
    },
    Mutant {
        name: "restart-never-triggered",
        must: &["health-restart-trigger"],
        may: &[
            May {
                gate: "restart-policy",
                reason: "what is never restarted is not restarted three times",
            },
            May {
                gate: "supervisor-budget-persist",
                reason: "what is never restarted spends nothing",
            },
        ],
        apply: |levers| row(levers, FORGOTTEN, |row| row.restarted = false),
    },
    Mutant {
        name: "restart-budget-fresh-at-boot",
        must: &["supervisor-budget-persist"],
        may: &[],
        apply: |levers| levers.sql("eva-os", "DELETE FROM restart_budgets"),
    },
    Mutant {
        name: "restart-budget-corrupt-resets",
        must: &["supervisor-budget-persist"],
        may: &[],
        apply: |levers| budgets(levers, ResetWhenCorrupt),
    },
    Mutant {
        name: "orchestrator-wrong-health-path",
        must: &["orchestrator-supervised"],
        may: &[May {
            gate: "supervisor-ports-clean",
            reason: "the supervisor never finds the orchestrator well",
        }],
        apply: |levers| row(levers, ORCHESTRATOR, |row| row.health_path = "/health"),
    },
    Mutant {
        name: "orchestrator-missing-from-restart-table",
        must: &["orchestrator-supervised"],
        may: &[],
        apply: |levers| row(levers, ORCHESTRATOR, |row| row.restarted = false),
    },
    Mutant {
        name: "orchestrator-flag-ignored",
        must: &["orchestrator-boot"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                let honest = Arc::clone(&parts.supervision.wanted);
                parts.supervision.wanted = Arc::new(move |row, named, wanted| {
                    row.on_request || honest(row, named, wanted)
                });
            });
        },
    },
    Mutant {
        name: "orchestrator-starts-first",
        must: &["orchestrator-boot"],
        may: &[],
        apply: |levers| row(levers, ORCHESTRATOR, |row| row.tier = 0),
    },
    Mutant {
        name: "orchestrator-start-failure-ignored",
        must: &["orchestrator-boot"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.supervision.start_failed = Arc::new(|failed| match failed.service {
                    ORCHESTRATOR => Ok(()),
                    _ => Err(failed),
                });
            });
        },
    },
    Mutant {
        name: "optional-service-not-probed",
        must: &["vision-supervised"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                let honest = Arc::clone(&parts.supervision.probe);
                parts.supervision.probe = Arc::new(NotOptional(honest));
            });
        },
    },
    Mutant {
        name: "optional-service-mandatory",
        must: &["vision-supervised"],
        may: &[],
        apply: |levers| {
            for service in ["vision-capture", "perception"] {
                row(levers, service, |row| row.optional = false);
            }
        },
    },
];

fn spawn(levers: &mut Levers, spawn: impl Spawn + 'static) {
    levers.part(|parts| parts.supervision.spawn = Arc::new(spawn));
}

fn budgets(levers: &mut Levers, budgets: impl Budgets + 'static) {
    levers.part(|parts| parts.supervision.budgets = Arc::new(budgets));
}

/// The machine goes by other settings than those of the config.
fn settings(levers: &mut Levers, change: impl Fn(&mut Supervisor) + Send + Sync + 'static) {
    levers.part(|parts| {
        let honest = Arc::clone(&parts.supervision.step);
        parts.supervision.step = Arc::new(move |state, seen, settings, maintenance, now_us| {
            let mut settings = settings.clone();
            change(&mut settings);
            honest(state, seen, &settings, maintenance, now_us)
        });
    });
}

/// Nothing of a budget is on disk.
pub(super) fn budgets_in_memory(levers: &mut Levers) {
    budgets(levers, InMemory::default());
}

/// Changes a row of the table.
fn row(levers: &mut Levers, service: &str, change: impl FnOnce(&mut Row)) {
    levers.part(|parts: &mut Parts| {
        let table = &mut parts.supervision.table;
        let row = table.iter_mut().find(|row| row.service == service);
        change(row.unwrap_or_else(|| panic!("no row of {service}")));
    });
}

/// The first process of each service by name, and whether this is a later one.
#[derive(Default)]
struct First(Mutex<BTreeMap<&'static str, u32>>);

impl First {
    fn of(&self, service: &'static str) -> Option<u32> {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(service).copied()
    }

    fn note(&self, service: &'static str, pid: u32) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.entry(service).or_insert(pid);
    }
}

/// Restarts of one service are announced, and nothing is started.
#[derive(Default)]
struct SaidOnly(First);

impl Spawn for SaidOnly {
    fn start(&self, plan: &Plan, service: &'static str) -> io::Result<Box<dyn Process>> {
        if service == SAID && self.0.of(service).is_some() {
            return Ok(Box::new(Nobody));
        }
        let process = crate::reference::supervision::spawn::Processes.start(plan, service)?;
        self.0.note(service, process.pid());
        Ok(process)
    }
}

/// A process that there is not.
struct Nobody;

impl Process for Nobody {
    fn pid(&self) -> u32 {
        NO_PROCESS
    }

    fn ready(&mut self) -> BoxFuture<'_, Result<Value, String>> {
        let line = json!({"services": {SAID: "http://127.0.0.1:9"}});
        Box::pin(std::future::ready(Ok(line)))
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn end(&mut self, _patience: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A service is shown under the process of its first start.
#[derive(Default)]
struct FirstPid(First);

impl Spawn for FirstPid {
    fn start(&self, plan: &Plan, service: &'static str) -> io::Result<Box<dyn Process>> {
        let process = crate::reference::supervision::spawn::Processes.start(plan, service)?;
        self.0.note(service, process.pid());
        match self.0.of(service) {
            Some(pid) if service == SAID => Ok(Box::new(Shown { pid, process })),
            _ => Ok(process),
        }
    }
}

/// A process under another id.
struct Shown {
    pid: u32,
    process: Box<dyn Process>,
}

impl Process for Shown {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn ready(&mut self) -> BoxFuture<'_, Result<Value, String>> {
        self.process.ready()
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        self.process.ended()
    }

    fn end(&mut self, patience: Duration) -> BoxFuture<'_, ()> {
        self.process.end(patience)
    }
}

/// What can be missed is well without being asked.
struct NotOptional(Arc<dyn Probe>);

impl Probe for NotOptional {
    fn ask(
        &self,
        client: &reqwest::Client,
        row: &Row,
        url: &str,
        bound: Duration,
    ) -> BoxFuture<'static, Result<(), String>> {
        if row.optional && !row.on_request {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.0.ask(client, row, url, bound)
    }
}

/// A table that cannot be read is one in which nothing is spent.
struct ResetWhenCorrupt;

impl Budgets for ResetWhenCorrupt {
    fn spent(&self, sql: &Connection, service: &str, after_us: i64) -> rusqlite::Result<Vec<i64>> {
        Ok(Table.spent(sql, service, after_us).unwrap_or_default())
    }

    fn spend(&self, tx: &mut Tx<'_>, restart: &Spent<'_>, after_us: i64) -> Result<(), StoreError> {
        // What cannot be written is not missed either.
        let _ = Table.spend(tx, restart, after_us);
        Ok(())
    }
}

/// A restart is never forgotten.
struct FromTheBeginning;

impl Budgets for FromTheBeginning {
    fn spent(&self, sql: &Connection, service: &str, _: i64) -> rusqlite::Result<Vec<i64>> {
        Table.spent(sql, service, i64::MIN)
    }

    fn spend(&self, tx: &mut Tx<'_>, restart: &Spent<'_>, _: i64) -> Result<(), StoreError> {
        Table.spend(tx, restart, i64::MIN)
    }
}

/// Every process of the supervisor begins with nothing spent.
#[derive(Default)]
struct InMemory(Mutex<Vec<(String, i64)>>);

impl Budgets for InMemory {
    fn spent(&self, _: &Connection, service: &str, after_us: i64) -> rusqlite::Result<Vec<i64>> {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = spent
            .iter()
            .filter(|(name, at_us)| name == service && *at_us > after_us);
        Ok(own.map(|(_, at_us)| *at_us).collect())
    }

    fn spend(&self, _: &mut Tx<'_>, restart: &Spent<'_>, _: i64) -> Result<(), StoreError> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.push((restart.service.to_owned(), restart.at_us));
        Ok(())
    }
}
