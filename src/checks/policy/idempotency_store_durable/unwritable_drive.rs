//! Drives the locked store: the harness holds a service's database, asks, lets go, asks again.

use futures_util::future::join_all;
use serde_json::json;

use super::unwritable::{Blocked, Evidence};
use crate::chaos::keyed::drive::lock;
use crate::chaos::keyed::operations::{Route, Sort};
use crate::chaos::keyed::requests::{Keyed, Stage, Wanted, make_ready, operator};
use crate::checks::{Cx, Undecided};
use crate::target::{Client, Instance};

/// `store.busy_timeout_ms` of this target: how long it waits for a lock before it gives up.
const BUSY_TIMEOUT_MS: u64 = 40;

/// What is asked of each service while its own database is locked and all others are not: a call
/// that it makes nonetheless would reach its double.
const ROUTES: [(&str, &[Route]); 3] = [
    (
        "api-gateway",
        &[
            Route::Session,
            Route::Turn,
            Route::Confirmation,
            Route::Action,
        ],
    ),
    ("eva-os", &[Route::Eva]),
    ("openclaw", &[Route::Execute]),
];

/// Sets the stage.
pub(super) async fn prepare(cx: &mut Cx) -> Result<Stage, Undecided> {
    Ok(Stage::set(cx, json!({"store": {"busy_timeout_ms": BUSY_TIMEOUT_MS}})).await?)
}

/// Drives it.
pub(super) async fn drive(cx: &Cx, stage: Stage, seen: &mut Evidence) -> Result<(), Undecided> {
    let _span = cx.span("locked store");
    let mut instance = stage.start().await?;
    let outcome = run(&stage, &instance, seen).await;
    seen.backends = stage.backends();
    instance.exited();
    outcome
}

async fn run(stage: &Stage, instance: &Instance, seen: &mut Evidence) -> Result<(), Undecided> {
    let client = operator(instance);
    for (service, routes) in ROUTES {
        let wanted: Vec<Wanted> = routes
            .iter()
            .map(|route| Wanted::new(*route, format!("b4-lock-{route:?}")))
            .collect();
        let keyed = make_ready(&client, &wanted).await?;
        let first = seen.blocked.len();
        let locks = lock(instance, &[service]).await?;
        let locked = (stage.clock.now_us(), None);
        seen.blocked.extend(keyed.iter().map(|one| Blocked {
            asked: one.operation(),
            locked,
        }));
        ask(&client, &keyed, Sort::First, &mut seen.blocked[first..]).await;
        let until_us = stage.clock.now_us();
        drop(locks);
        for blocked in &mut seen.blocked[first..] {
            blocked.locked.1 = Some(until_us);
        }
        ask(&client, &keyed, Sort::Repeat, &mut seen.blocked[first..]).await;
        ask(&client, &keyed, Sort::Repeat, &mut seen.blocked[first..]).await;
    }
    Ok(())
}

async fn ask(client: &Client, keyed: &[Keyed], sort: Sort, into: &mut [Blocked]) {
    let sends = keyed
        .iter()
        .zip(into)
        .map(|(one, blocked)| one.send(client, sort, &mut blocked.asked));
    join_all(sends).await;
}
