//! The parts that can be swapped: each swapped wrongly here, so that the seam is known to reach.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;
use sonia_gate::reference::Parts;
use sonia_gate::reference::decisions::{self, Ask as Claim, Decision, Decisions, Durable, Kind};
use sonia_gate::reference::execution::{self, Execution};
use sonia_gate::reference::ids;
use sonia_gate::reference::openclaw::{Ask as Permission, Permit, Ruling};
use sonia_gate::reference::store::{Store, StoreError, Tx};

use tokio::sync::Barrier;

use crate::races::storm;
use crate::world::{Ask, OPENCLAW, ROUTES, Route, World};

/// Deciders of a round.
const DECIDERS: usize = 8;

/// Looks first and writes afterwards; between the two everybody else looks too.
struct CheckThenSet {
    everybody: Barrier,
}

impl Decisions for CheckThenSet {
    fn look<'a>(
        &'a self,
        store: &'a Store,
        ask: &'a Claim,
    ) -> BoxFuture<'a, Result<Option<Decision>, StoreError>> {
        Box::pin(async move {
            let (kind, id) = (ask.kind, ask.id.clone());
            let seen = store.read(move |sql| decisions::find(sql, kind, &id)).await;
            self.everybody.wait().await;
            seen
        })
    }

    fn claim(
        &self,
        tx: &mut Tx<'_>,
        ask: &Claim,
        seen: Option<&Decision>,
    ) -> Result<bool, StoreError> {
        match seen {
            Some(seen) if seen.verdict.is_none() => decisions::mark(tx, ask, "true"),
            _ => Ok(false),
        }
    }

    fn next_fence(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        Durable.next_fence(tx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_before_the_transaction_has_several_winners() {
    let parts = Parts {
        decisions: Arc::new(CheckThenSet {
            everybody: Barrier::new(DECIDERS),
        }),
        ..Parts::default()
    };
    let world = World::with(json!({}), parts).await;
    let session = world.session().await;
    for route in ROUTES {
        let open = world.open(route, &session, "a.txt").await;
        let answers = storm(&world, vec![open.ask("deny", None); DECIDERS]).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, DECIDERS, "{route:?}");
    }
}

/// An older or newer fence is as good as the right one.
struct AnyFence;

impl Decisions for AnyFence {
    fn claim(
        &self,
        tx: &mut Tx<'_>,
        ask: &Claim,
        _: Option<&Decision>,
    ) -> Result<bool, StoreError> {
        decisions::mark(tx, ask, "state = 'pending' AND expires_at_us > :now")
    }

    fn next_fence(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        Durable.next_fence(tx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_is_not_compared_decides() {
    let parts = Parts {
        decisions: Arc::new(AnyFence),
        ..Parts::default()
    };
    let world = World::with(json!({}), parts).await;
    let open = world.open(Route::Approval, "", "a.txt").await;
    let denied = world.send(open.ask("deny", Some(open.fence + 5))).await;
    assert_eq!(denied.status, 200);
}

/// Lets everything run.
struct Open;

impl Permit for Open {
    fn rule<'a>(&'a self, _: &'a Permission) -> BoxFuture<'a, Result<Ruling, StoreError>> {
        Box::pin(std::future::ready(Ok(Ruling::Granted)))
    }

    fn consume(&self, _: &mut Tx<'_>, _: &Permission) -> Result<bool, StoreError> {
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_asks_nobody_runs_a_guarded_tool() {
    let parts = Parts {
        permit: Arc::new(Open),
        ..Parts::default()
    };
    let world = World::with(json!({}), parts).await;
    let body = json!({"tool_name": "file.write", "args": {"path": "a"}});
    let ran = world.send(Ask::post(OPENCLAW, "/execute", body)).await;
    assert_eq!((ran.status, world.tools.count()), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_executes_for_losers_too_runs_the_tool_twice() {
    let mut parts = Parts {
        permit: Arc::new(Open),
        ..Parts::default()
    };
    let approve = "/v3/confirmations/{id}/approve";
    let row = parts
        .routes
        .iter_mut()
        .find(|row| row.path == approve)
        .unwrap();
    let original = row.handler.clone();
    row.handler = sonia_gate::reference::web::handler(move |svc, call| {
        let original = original.clone();
        async move {
            let reply = original(svc.clone(), call.clone()).await;
            if reply.status == 409 {
                let (id, kind) = (call.param("id").to_owned(), Kind::Confirmation.name());
                let found = svc.store.read(move |sql| decisions::find(sql, kind, &id));
                let decision = found.await.unwrap().unwrap();
                let (id, origin) = (ids::make("op_"), call.origin());
                let again = Execution::of_decision(&decision, id, origin, "none".to_owned());
                execution::execute(&svc, &again, false).await;
            }
            reply
        }
    });
    let world = World::with(json!({}), parts).await;
    let session = world.session().await;
    let open = world.open(Route::Confirmation, &session, "a.txt").await;
    world.send(open.ask("approve", None)).await;
    assert_eq!(world.tools.count(), 1);
    let loser = world.send(open.ask("approve", None)).await;
    assert_eq!((loser.status, world.tools.count()), (409, 2));
}
