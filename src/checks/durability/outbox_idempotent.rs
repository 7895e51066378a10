//! Gate outbox-idempotent: a delivery that is repeated carries the same id every time and has one
//! effect, over cut replies and a KILL.
//!
//! The memory engine takes the memory of a turn and cuts the reply, again and again, before and
//! after a KILL. Every call carries the same key and the same body, so that the engine has it once.
//! Then a reply is let through, another turn shows that the outbox goes on, and after a second KILL
//! and a third turn the first one has not been sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::standing::past;
use super::written::{Call, FLUSH_MS, Written, engine_at};
use crate::chaos::approvals::{markers, session};
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::{Behaviour, Double, Kind, Point};
use crate::target::Credential;

/// Calls whose reply is cut before the first KILL, and after it.
const CUT_BEFORE: usize = 3;
/// All of them.
const CUT: usize = 5;
/// Flushes that whoever forgot a delivery had in which to send it again.
const IDLE_FLUSHES: u64 = 10;
/// How long a call may let itself be awaited.
const CALL_BOUND: Duration = Duration::from_secs(10);
/// A stop for waiting on our own clock.
const WAIT_BOUND: Duration = Duration::from_secs(10);

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The turn whose replies are cut.
    pub first: Option<Written>,
    /// Turns that show that the outbox goes on: one before the second KILL, one after it.
    pub later: Vec<Written>,
    /// When the process was gone, each time.
    pub kills_us: Vec<u64>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["cut_replies", "repeats"] {
        judgement.exercised(counter, 0);
    }
    judgement.exercised("kills", seen.kills_us.len() as u64);
    let Some(first) = &seen.first else {
        judgement.undecided("no turn was taken");
        return judgement;
    };
    judgement.expect(first.turn.ok(), || {
        format!(
            "{}: got {}, expected 200",
            first.turn.line(),
            first.turn.status
        )
    });
    let cut = |call: &&Call| call.committed_us.is_some() && call.answered_us.is_none();
    let cuts = first.calls.iter().filter(cut).count() as u64;
    judgement.exercised("cut_replies", cuts);
    judgement.exercised("repeats", (first.calls.len() as u64).saturating_sub(1));
    same(first, &mut judgement);
    settled(seen, first, &mut judgement);
    judgement.detail = format!(
        "{} calls with one key over {} KILLs, {cuts} of them with a cut reply: {} effect, and none \
         after it was delivered",
        first.calls.len(),
        seen.kills_us.len(),
        first.effects
    );
    judgement
}

/// Every call is the same, and there is one effect.
fn same(first: &Written, judgement: &mut Judgement) {
    let keys: BTreeSet<Option<&str>> = first.calls.iter().map(|call| call.key.as_deref()).collect();
    judgement.expect(keys.len() <= 1 && !keys.contains(&None), || {
        format!(
            "keys of {} calls: got {keys:?}, expected one",
            first.calls.len()
        )
    });
    let bodies: BTreeSet<String> = first
        .calls
        .iter()
        .map(|call| call.body.to_string())
        .collect();
    judgement.expect(bodies.len() <= 1, || {
        format!(
            "bodies of {} calls: got {bodies:?}, expected one",
            first.calls.len()
        )
    });
    let reached = !first.calls.is_empty();
    judgement.expect(!reached || first.effects == 1, || {
        format!("effects: got {}, expected 1", first.effects)
    });
}

/// Once its reply is there, and the outbox went on, it is not sent again.
fn settled(seen: &Evidence, first: &Written, judgement: &mut Judgement) {
    let answered = first.calls.iter().filter_map(|call| call.answered_us).min();
    let Some(answered_us) = answered else {
        judgement.undecided("no reply was let through");
        return;
    };
    for call in &first.calls {
        // One that was on its way when the reply was written may be another worker's.
        let again = call.at_us > answered_us;
        judgement.expect(!again, || {
            let kills = seen.kills_us.iter().filter(|at| **at < call.at_us).count();
            format!(
                "a call {} ms after the reply, {kills} KILLs before it: got one, expected none",
                (call.at_us - answered_us) / 1000
            )
        });
    }
    for written in &seen.later {
        if !written.delivered() {
            let turn = &written.turn;
            judgement.undecided(format!("the memory of {} was not delivered", turn.line()));
        }
    }
    if seen.later.len() < 2 {
        judgement.undecided("nothing shows that the outbox went on");
    }
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or sends nothing.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let engine = Double::start(Kind::Memory, cx.clock).await?;
    let mut instance = cx.start(engine_at(&engine.url())).await?;
    let client = instance.client(Credential::Operator(1));
    let session_id = session(&client).await?;
    let names = markers(cx.seed, "once", 3);
    engine.behave(Behaviour::cut(Point::Committed));
    seen.first = Some(Written::turn(&client, &session_id, &names[0]).await);
    calls(cx, &engine, seen, CUT_BEFORE).await?;
    instance.kill().await?;
    seen.kills_us.push(cx.clock.now_us());
    instance.start_again().await?;
    calls(cx, &engine, seen, CUT).await?;
    engine.behave(Behaviour::default());
    for (number, name) in names[1..].iter().enumerate() {
        if number > 0 {
            // What was answered has long been noted as delivered.
            past(cx, IDLE_FLUSHES * FLUSH_MS, WAIT_BOUND).await?;
            instance.kill().await?;
            seen.kills_us.push(cx.clock.now_us());
            instance.start_again().await?;
        }
        delivered(cx, &engine, seen).await;
        let mut written = Written::turn(&client, &session_id, name).await;
        let arrived = cx.until("a later memory write", CALL_BOUND, || {
            written.look(&engine);
            std::future::ready(written.delivered().then_some(()))
        });
        // Whether it did is judged by what is recorded.
        drop(arrived.await);
        seen.later.push(written);
    }
    past(cx, IDLE_FLUSHES * FLUSH_MS, WAIT_BOUND).await?;
    if let Some(first) = &mut seen.first {
        first.look(&engine);
    }
    Ok(())
}

/// Waits until so many calls of the first turn have had their effect, and lost their reply.
async fn calls(cx: &Cx, engine: &Double, seen: &mut Evidence, n: usize) -> Result<(), Undecided> {
    let Some(first) = &mut seen.first else {
        return Ok(());
    };
    cx.until("a repeated delivery", CALL_BOUND, || {
        first.look(engine);
        let had = first
            .calls
            .iter()
            .filter(|call| call.committed_us.is_some());
        std::future::ready((had.count() >= n).then_some(()))
    })
    .await
}

/// Waits until a reply of the first turn was let through.
async fn delivered(cx: &Cx, engine: &Double, seen: &mut Evidence) {
    let Some(first) = &mut seen.first else { return };
    let through = cx.until("a delivery", CALL_BOUND, || {
        first.look(engine);
        std::future::ready(first.delivered().then_some(()))
    });
    // Whether one was is judged by what is recorded.
    drop(through.await);
}

#[cfg(test)]
#[path = "outbox_idempotent_tests.rs"]
mod tests;
