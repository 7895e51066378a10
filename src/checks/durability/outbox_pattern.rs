//! Gate outbox-pattern: memory writes that could not be delivered are delivered once the memory
//! engine is back, without new traffic and over a KILL.
//!
//! With the engine there, a turn's text reaches it. Then no connection is accepted, and turns are
//! taken all the same; once connections are accepted again, every text arrives, while the harness
//! sends nothing. The second time the engine answers 503, and the target is killed before the
//! engine is well. Each text arrives, once as an effect, however often it was sent.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::written::{FLUSH_MS, Written, address, engine_at};
use crate::chaos::approvals::{markers, session};
use crate::chaos::link::Link;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::{Behaviour, Double, Kind};
use crate::target::{Client, Credential};
use crate::violation;

/// How long a delivery may take once the engine is back: ten flushes are 400 ms, and this is a
/// machine that has other things to do.
const DELIVERY_BOUND: Duration = Duration::from_secs(10);
/// Looks of the harness below which it was not scheduled well enough to speak of absence.
const ENOUGH_LOOKS: u64 = 100;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// A turn while the engine was there.
    pub control: Option<Written>,
    /// Turns while it was not.
    pub outages: Vec<Outage>,
}

/// One outage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// How it was made.
    pub how: String,
    /// The turns.
    pub writes: Vec<Written>,
    /// Texts that had an effect before the engine was back.
    pub early: u64,
    /// KILLs before the engine was back.
    pub kills: u64,
    /// When everything was back, on the clock of the run.
    pub back_us: Option<u64>,
    /// How long the harness waited since, and how often it looked.
    pub waited_ms: u64,
    /// How often it looked.
    pub looks: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["undelivered_writes", "kills", "refused_tries"] {
        judgement.exercised(counter, 0);
    }
    match &seen.control {
        Some(control) if control.turn.ok() => {
            let written = &control.turn.answer["memory"]["written"];
            judgement.expect(control.effects == 1 && *written == json!(1), || {
                format!(
                    "with the engine there, {}: got {} effects and memory.written {written}, \
                     expected 1 and 1",
                    control.turn.line(),
                    control.effects
                )
            });
        }
        _ => judgement.undecided("no turn was taken while the engine was there"),
    }
    for outage in &seen.outages {
        over(outage, &mut judgement);
    }
    let writes = seen.outages.iter().flat_map(|outage| &outage.writes);
    judgement.detail = format!(
        "{} memory writes delivered once the engine was back, {} calls for them, over {} KILL",
        judgement.exercised["undelivered_writes"],
        writes.map(|write| write.calls.len()).sum::<usize>(),
        judgement.exercised["kills"]
    );
    judgement
}

fn over(outage: &Outage, judgement: &mut Judgement) {
    let how = &outage.how;
    if outage.early > 0 {
        judgement.undecided(format!(
            "{how}: {} texts arrived all the same",
            outage.early
        ));
        return;
    }
    for write in &outage.writes {
        let turn = &write.turn;
        judgement.expect(turn.ok(), || {
            format!("{how}, {}: got {}, expected 200", turn.line(), turn.status)
        });
        if !turn.ok() || outage.back_us.is_none() {
            continue;
        }
        judgement.exercised("undelivered_writes", 1);
        let written = &turn.answer["memory"]["written"];
        judgement.expect(*written == json!(0), || {
            format!(
                "{how}, {}: got memory.written {written}, expected 0",
                turn.line()
            )
        });
        if write.effects == 1 {
            continue;
        }
        let text = format!(
            "{how}, the memory of {}: got {} effects of {} calls after {} ms, expected 1",
            turn.answer["turn_id"],
            write.effects,
            write.calls.len(),
            outage.waited_ms
        );
        if write.effects > 1 || outage.looks >= ENOUGH_LOOKS {
            violation!(judgement, "{text}");
        } else {
            judgement.undecided(format!("{text}; only {} looks", outage.looks));
        }
    }
    judgement.exercised("kills", outage.kills);
    let calls = outage.writes.iter().flat_map(|write| &write.calls);
    let refused = calls.filter(|call| outage.back_us.is_some_and(|back_us| call.at_us < back_us));
    judgement.exercised("refused_tries", refused.count() as u64);
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or takes no session.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let wanted = cx.minimum.get("undelivered_writes").copied();
    let each = wanted.unwrap_or_default().div_ceil(2) as usize;
    let tries = cx.minimum.get("refused_tries").copied();
    let tries = usize::try_from(tries.unwrap_or_default())?;
    let engine = Double::start(Kind::Memory, cx.clock).await?;
    let mut link = Link::open(address(&engine)?, cx.seed.child("engine")).await?;
    let mut instance = cx.start(engine_at(&link.url())).await?;
    let client = instance.client(Credential::Operator(1));
    let session_id = session(&client).await?;
    let names = markers(cx.seed, "memory", 2 * each + 1);
    let mut control = Written::turn(&client, &session_id, &names[0]).await;
    control.look(&engine);
    seen.control = Some(control);
    link.refuse().await;
    let mut outage = take(&client, &session_id, &names[1..=each], "no connection").await;
    outage.early = early(&mut outage.writes, &engine);
    link.up().await;
    wait(cx, &engine, &mut outage, seen).await;
    engine.behave(Behaviour::fail(503));
    let mut outage = take(&client, &session_id, &names[each + 1..], "503").await;
    // An outage that is over before anything was tried in it is none.
    let tried = || {
        outage.early = early(&mut outage.writes, &engine);
        let calls: usize = outage.writes.iter().map(|write| write.calls.len()).sum();
        std::future::ready((calls >= tries).then_some(()))
    };
    drop(cx.until("refused tries", DELIVERY_BOUND, tried).await);
    instance.kill().await?;
    engine.behave(Behaviour::default());
    instance.start_again().await?;
    outage.kills += 1;
    wait(cx, &engine, &mut outage, seen).await;
    Ok(())
}

async fn take(client: &Client, session: &str, markers: &[String], how: &str) -> Outage {
    let mut writes = Vec::new();
    for marker in markers {
        writes.push(Written::turn(client, session, marker).await);
    }
    Outage {
        how: how.to_owned(),
        writes,
        early: 0,
        kills: 0,
        back_us: None,
        waited_ms: 0,
        looks: 0,
    }
}

fn early(writes: &mut [Written], engine: &Double) -> u64 {
    for write in writes.iter_mut() {
        write.look(engine);
    }
    writes.iter().map(|write| write.effects).sum()
}

/// Waits until every text has arrived, or should long have: the judge says which.
async fn wait(cx: &Cx, engine: &Double, outage: &mut Outage, seen: &mut Evidence) {
    let from_us = cx.clock.now_us();
    outage.back_us = Some(from_us);
    let (writes, looks) = (&mut outage.writes, &mut outage.looks);
    let all = cx.until("every memory write", DELIVERY_BOUND, || {
        *looks += 1;
        for write in writes.iter_mut().filter(|write| write.turn.ok()) {
            write.look(engine);
        }
        let done = writes
            .iter()
            .all(|write| !write.turn.ok() || write.delivered());
        std::future::ready(done.then_some(()))
    });
    // Whether they have is judged by what is recorded.
    drop(all.await);
    outage.waited_ms = (cx.clock.now_us() - from_us) / 1000;
    seen.outages.push(outage.clone());
}

// Ten flushes fit into the bound many times over.
const _: () = assert!(DELIVERY_BOUND.as_millis() as u64 >= 10 * FLUSH_MS);

#[cfg(test)]
#[path = "outbox_pattern_tests.rs"]
mod tests;
