//! Many deciders at one barrier: one wins, the others are told who did, and the tool runs as often as
//! an approval won.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::world::{Answer, Ask, Open, ROUTES, Route, World};

/// Sends all at once.
pub(crate) async fn storm(world: &World, asks: Vec<Ask>) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(asks.len()));
    let tasks: Vec<_> = asks
        .into_iter()
        .map(|ask| {
            let (barrier, send) = (barrier.clone(), world.sender());
            tokio::spawn(async move {
                barrier.wait().await;
                send(ask).await.expect("an answer")
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// One winner, and every loser is told so. The winner's answer.
fn judge(route: Route, answers: &[Answer]) -> &Answer {
    let winners: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(winners.len(), 1, "{route:?}: {answers:#?}");
    let verdict = &winners[0].body["verdict"];
    for loser in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((loser.status, loser.code()), (409, "ALREADY_DECIDED"));
        assert_eq!(&loser.body["error"]["details"]["verdict"], verdict);
        assert_eq!(
            loser.body["error"]["details"]["decided_by"],
            winners[0].body["decided_by"]
        );
    }
    winners[0]
}

async fn race(rounds: usize, verbs: &[&str], route: Route) {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let mut approvals = 0;
    for round in 0..rounds {
        let open = world.open(route, &session, &format!("{round}.txt")).await;
        let asks = (0..8)
            .map(|index| {
                let fence = (index % 3 != 0).then_some(open.fence);
                let actor = if index % 2 == 0 { "op-1" } else { "op-2" };
                open.ask(verbs[index % verbs.len()], fence).actor(actor)
            })
            .collect();
        let answers = storm(&world, asks).await;
        approvals += usize::from(judge(route, &answers).body["verdict"] == "approved");
        assert_eq!(world.tools.count(), approvals, "{route:?}, round {round}");
        let again = world.send(open.ask("approve", Some(open.fence))).await;
        assert_eq!(again.code(), "ALREADY_DECIDED");
    }
    assert_eq!(world.tools.count(), approvals, "{route:?}");
    let keys: std::collections::BTreeSet<String> = world
        .tools
        .seen()
        .into_iter()
        .map(|seen| seen.key)
        .collect();
    assert_eq!(keys.len(), approvals, "every call has a key of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_confirmation_has_one_winner() {
    race(6, &["approve", "deny"], Route::Confirmation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_action_has_one_winner() {
    race(6, &["approve", "deny"], Route::Action).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approval_has_one_winner() {
    race(6, &["approve", "deny"], Route::Approval).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_among_themselves_run_the_tool_once() {
    for route in ROUTES {
        race(3, &["approve"], route).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loser_is_told_while_the_tool_still_runs() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    for route in ROUTES {
        let open = world.open(route, &session, "a.txt").await;
        let before = world.tools.count();
        world.tools.hold();
        let winner = tokio::spawn(world.sender()(open.ask("approve", None)));
        world.tools.arrived(before + 1).await;
        let loser = world.send(open.ask("deny", None)).await;
        assert_eq!(loser.code(), "ALREADY_DECIDED", "{route:?}");
        assert_eq!(loser.body["error"]["details"]["verdict"], "approved");
        world.tools.release();
        let winner = winner.await.unwrap().unwrap();
        assert_eq!(winner.body["execution"]["status"], "succeeded");
        assert_eq!(world.tools.count(), before + 1, "{route:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_call_never_runs() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    for route in ROUTES {
        let open = world.open(route, &session, "a.txt").await;
        let denied = world.send(open.ask("deny", Some(open.fence))).await;
        assert_eq!(
            (denied.status, &denied.body["execution"]),
            (200, &Value::Null)
        );
        assert_eq!(world.send(open.ask("approve", None)).await.status, 409);
        assert_eq!(
            world.send(open.ask("reissue", None)).await.code(),
            "ALREADY_DECIDED"
        );
    }
    assert_eq!(world.tools.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reissue_voids_the_old_fence_and_the_decision_without_one() {
    let mut world = World::start(json!({})).await;
    let session = world.session().await;
    let mut last = 0;
    for route in ROUTES {
        let other = world.open(route, &session, "o.txt").await;
        let open = world.open(route, &session, "a.txt").await;
        assert!(open.fence > other.fence);
        for wrong in [open.fence - 1, other.fence, open.fence + 1, 0] {
            let answer = world.send(open.ask("approve", Some(wrong))).await;
            assert_eq!(answer.code(), "FENCE_STALE", "{route:?} {wrong}");
        }
        let held = Some(open.fence + 7);
        assert_eq!(
            world.send(open.ask("reissue", held)).await.code(),
            "FENCE_STALE"
        );
        let reissued = world.send(open.ask("reissue", None)).await;
        let fence = reissued.body["fence_token"].as_i64().unwrap();
        assert!(fence > open.fence);
        for stale in [Some(open.fence), None] {
            let answer = world.send(open.ask("approve", stale)).await;
            assert_eq!(answer.code(), "FENCE_STALE", "{route:?} {stale:?}");
        }
        assert_eq!(world.tools.count(), 0);
        if route != Route::Approval {
            last = fence;
        }
    }
    // Fences go on where they were after a restart.
    world.crash_and_boot().await;
    let open = world.open(Route::Action, &session, "b.txt").await;
    assert!(open.fence > last, "{} after {last}", open.fence);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_and_a_reissue_at_once_leave_one_truth() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let mut ran = 0;
    for round in 0..6 {
        let route = ROUTES[round % 3];
        let open = world.open(route, &session, &format!("{round}.txt")).await;
        let asks = vec![
            open.ask("approve", Some(open.fence)),
            open.ask("reissue", None),
        ];
        let answers = storm(&world, asks).await;
        let (approved, reissued) = (&answers[0], &answers[1]);
        match (approved.status, reissued.status) {
            (200, 409) => {
                ran += 1;
                assert_eq!(reissued.code(), "ALREADY_DECIDED");
            }
            (409, 200) => {
                assert_eq!(approved.code(), "FENCE_STALE");
                let fence = reissued.body["fence_token"].as_i64();
                assert_eq!(world.send(open.ask("approve", fence)).await.status, 200);
                ran += 1;
            }
            other => panic!("{route:?}: {other:?}"),
        }
        assert_eq!(world.tools.count(), ran);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_try_is_in_the_audit_log_with_its_actor() {
    let world = World::start(json!({})).await;
    let session = world.session().await;
    let open: Open = world.open(Route::Confirmation, &session, "a.txt").await;
    world.send(open.ask("approve", None).actor("op-1")).await;
    world.send(open.ask("deny", None).actor("op-2")).await;
    let count = |actor: &str, action: &str, outcome: &str| {
        world.number(
            "api-gateway",
            &format!(
                "SELECT count(*) FROM audit_log WHERE actor_id = '{actor}' AND action = '{action}'
                 AND outcome = '{outcome}' AND resource = 'confirmation/{}'",
                open.id
            ),
        )
    };
    assert_eq!(count("op-1", "confirmation.approve", "ok"), 1);
    assert_eq!(count("op-1", "confirmation.execute", "ok"), 1);
    assert_eq!(count("op-2", "confirmation.deny", "refused"), 1);
    let ran = world.number(
        "openclaw",
        "SELECT count(*) FROM audit_log WHERE actor_id = 'op-1' AND via = '_service'
         AND causal_parent LIKE 'api-gateway/%' AND action = 'tool.execute' AND outcome = 'ok'",
    );
    assert_eq!(ran, 1);
}
