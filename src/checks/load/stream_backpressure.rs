//! Gate stream-backpressure (v4.3/C6): a flooded stream stays open, answers pings, names each turn
//! that it sheds, and drains to nothing.
//!
//! The model is stalled with a session's turn in flight, and fifty more are pushed onto its stream.
//! A ping must be answered at once all the same. Then the model answers again: every turn has ended
//! exactly once, by an answer or by a notice, nothing waits any more, and the stages of the turns
//! that were made are counted, each once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::flood::{self, Pushed};
use crate::chaos::approvals;
use crate::checks::voice::talk::{By, Line};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Credential};
use crate::violation;

const GATEWAY: &str = "api-gateway";
/// How soon a ping is answered.
const PING_BOUND: Duration = Duration::from_secs(1);
/// How soon nothing waits any more, once the last turn is answered.
const DRAIN_BOUND: Duration = Duration::from_secs(10);
/// Stages that every turn passes.
const STAGES: [&str; 2] = ["model", "total"];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The turns, the one that stalls the model first.
    pub turns: Vec<Pushed>,
    /// What was said on the stream.
    pub lines: Vec<Line>,
    /// `GET /v3/latency` before the first turn.
    pub before: Option<Sent>,
    /// When the model was let go on.
    pub released_us: Option<u64>,
    /// The last `/status`, when nothing waited any more or it was given up.
    pub status: Option<Sent>,
    /// `GET /v3/latency` at the end.
    pub after: Option<Sent>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let flooded = flood::pushed(&seen.lines).saturating_sub(1);
    judgement.exercised("flooded", flooded as u64);
    let shed = flood::ids(&seen.lines, "backpressure.shed").len();
    judgement.exercised("shed_notices", shed as u64);
    if flood::closed(&seen.lines) {
        violation!(
            judgement,
            "the stream was closed after {shed} notices, expected it open"
        );
    }
    let pings = pings(&seen.lines, &mut judgement);
    judgement.exercised("pings", pings);
    let made = ends(seen, &mut judgement);
    drained(seen, made, &mut judgement);
    judgement.detail = format!(
        "{flooded} pushed onto a stalled stream: {shed} shed and named, {made} made, {pings} pings answered"
    );
    judgement
}

/// Each ping has an answer, in time; how many had one.
fn pings(lines: &[Line], judgement: &mut Judgement) -> u64 {
    let mut answers = lines
        .iter()
        .filter(|line| line.is("ack") && line.payload["of"] == "control.ping");
    let asked = lines
        .iter()
        .filter(|line| line.by == By::Us && line.kind == "control.ping");
    let mut answered = 0;
    for ping in asked {
        let took = answers
            .next()
            .map(|ack| ack.at_us.saturating_sub(ping.at_us));
        let bound_us = PING_BOUND.as_micros() as u64;
        match took {
            Some(took) if took <= bound_us => answered += 1,
            Some(took) => violation!(
                judgement,
                "a ping was answered after {} ms, expected at most {}",
                took / 1000,
                PING_BOUND.as_millis()
            ),
            None => violation!(judgement, "a ping had no answer, expected one"),
        }
    }
    answered
}

/// Every turn ends once, and what is shed is one of them; how many were made.
fn ends(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let mut ended: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &seen.lines {
        let kind = line.kind.as_str();
        let is_end = ["response.final", "backpressure.shed", "error"].contains(&kind);
        if line.by == By::Target && is_end {
            let id = line.turn_id.as_deref().unwrap_or_default();
            ended.entry(id).or_default().push(kind);
        }
    }
    if seen.released_us.is_none() {
        return 0;
    }
    let mut made = 0;
    for turn in &seen.turns {
        let ends = ended.remove(turn.id.as_str()).unwrap_or_default();
        made += u64::from(ends == ["response.final"]);
        let well = ends == ["response.final"] || ends == ["backpressure.shed"];
        judgement.expect(well, || {
            format!(
                "{}: got {ends:?}, expected one answer or one notice",
                turn.id
            )
        });
    }
    judgement.expect(ended.is_empty(), || {
        format!("got ends of {ended:?}, expected none of what nobody asked for")
    });
    made
}

/// Nothing waits, and each stage was passed as often as a turn was made.
fn drained(seen: &Evidence, made: u64, judgement: &mut Judgement) {
    if let Some(status) = seen.status.as_ref().filter(|sent| sent.answered()) {
        let depth = &status.answer["queues"]["stream"];
        judgement.expect(*depth == json!(0), || {
            format!("stream queues at the end: got {depth}, expected 0")
        });
    }
    let (Some(before), Some(after)) = (&seen.before, &seen.after) else {
        judgement.undecided("the stages were not counted");
        return;
    };
    for stage in STAGES {
        let (Some(from), Some(to)) = (count(before, stage), count(after, stage)) else {
            violation!(
                judgement,
                "stage {stage}: got {} and {}, expected a count each",
                before.answer["stages"][stage],
                after.answer["stages"][stage]
            );
            continue;
        };
        judgement.expect(to == from + made, || {
            format!("stage {stage}: got {to} samples, expected {}", from + made)
        });
    }
}

fn count(sent: &Sent, stage: &str) -> Option<u64> {
    sent.answer["stages"][stage]["count"].as_u64()
}

/// Drives it.
///
/// # Errors
/// When there is no target, or its first turn never comes to the model.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let flooded = cx.minimum.get("flooded").copied().unwrap_or_default() as usize;
    let instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    let latency = || Sent::by(&client, Ask::get(GATEWAY, "/v3/latency"));
    seen.before = Some(latency().await);
    seen.turns = flood::turns(cx, "flood", flooded + 1);
    let mut talk = flood::push(cx, &client, &session, &seen.turns).await?;
    talk.ping().await;
    seen.released_us = Some(cx.clock.now_us());
    flood::release(cx);
    flood::until_ended(&mut talk, seen.turns.len()).await;
    talk.ping().await;
    seen.lines = talk.lines;
    let last = Mutex::new(None);
    let empty = cx.until("empty queues", DRAIN_BOUND, || async {
        let sent = Sent::by(&client, Ask::get(GATEWAY, "/status")).await;
        let empty = sent.answer["queues"]["stream"] == 0;
        if let Ok(mut last) = last.lock() {
            *last = Some(sent);
        }
        empty.then_some(())
    });
    // Queues that do not become empty are judged by the last look at them.
    drop(empty.await);
    seen.status = last.into_inner().unwrap_or_default();
    seen.after = Some(latency().await);
    Ok(())
}

#[cfg(test)]
#[path = "stream_backpressure_tests.rs"]
mod tests;
