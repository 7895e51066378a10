//! Gate backpressure (v4.3/C4): a session's queue holds ten; past it the oldest that waits is shed
//! and named, the newest are made in order, and another session feels nothing of it.
//!
//! The model is stalled with a session's turn in flight. Twenty-five more are pushed onto its stream,
//! and another session has its turns meanwhile, over a stream and over HTTP. Then the model answers
//! again. What was shed, what the model was asked and what was answered must be the same story.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::flood::{self, Asked, Pushed};
use crate::chaos::approvals;
use crate::checks::voice::talk::{Line, Talk};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// What a session's queue holds.
const DEPTH: usize = 10;
const GATEWAY: &str = "api-gateway";

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The turns of the session that is stalled; the first one stalls it.
    pub turns: Vec<Pushed>,
    /// Its session.
    pub session: String,
    /// What was said on its stream.
    pub lines: Vec<Line>,
    /// `/status` of the gateway while the model was stalled and everything was pushed.
    pub stalled: Option<Sent>,
    /// What the other session asked for meanwhile.
    pub others: Vec<Pushed>,
    /// What was said on its stream until then.
    pub other_lines: Vec<Line>,
    /// And its turn over HTTP.
    pub other: Option<Sent>,
    /// When the model was let go on.
    pub released_us: Option<u64>,
    /// What the model was asked, in order.
    pub asked: Vec<Asked>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let Some((first, after)) = seen.turns.split_first() else {
        judgement.undecided("nothing was pushed");
        return judgement;
    };
    let pushed = flood::pushed(&seen.lines).saturating_sub(1);
    judgement.exercised("pushed", pushed as u64);
    let spared = after.len().saturating_sub(DEPTH);
    let ids = |turns: &[Pushed]| turns.iter().map(|turn| turn.id.clone()).collect::<Vec<_>>();
    let shed = flood::ids(&seen.lines, "backpressure.shed");
    let made = flood::ids(&seen.lines, "response.final");
    judgement.exercised("shed", shed.len() as u64);
    judgement.exercised("processed", made.len() as u64);
    let complete = pushed == after.len() && seen.released_us.is_some();
    if complete {
        // Each of them once; the notices of several may come in any order.
        let oldest = sorted(ids(&after[..spared]));
        let shed = sorted(shed.clone());
        judgement.expect(shed == oldest, || {
            format!("shed: got {shed:?}, expected the oldest {oldest:?}")
        });
        let newest = [ids(std::slice::from_ref(first)), ids(&after[spared..])].concat();
        judgement.expect(made == newest, || {
            format!("answered: got {made:?}, expected the one in flight and the newest {newest:?}")
        });
        asked(seen, &newest, &mut judgement);
    }
    answers(seen, &mut judgement);
    waits(seen, &mut judgement);
    others(seen, &mut judgement);
    judgement.detail = format!(
        "{pushed} pushed behind one in flight: {} shed, {} answered; another session had {} meanwhile",
        shed.len(),
        made.len(),
        flood::ids(&seen.other_lines, "response.final").len()
    );
    judgement
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The model is asked for what is answered, in the same order, and for nothing that was shed.
fn asked(seen: &Evidence, made: &[String], judgement: &mut Judgement) {
    let of = |id: &String| seen.turns.iter().find(|turn| turn.id == *id);
    let expected: Vec<&str> = made
        .iter()
        .filter_map(of)
        .map(|turn| turn.text.as_str())
        .collect();
    let own = seen
        .asked
        .iter()
        .filter(|asked| asked.session == seen.session);
    let got: Vec<&str> = own.map(|asked| asked.text.as_str()).collect();
    judgement.expect(got == expected, || {
        format!("the model was asked: got {got:?}, expected {expected:?}")
    });
}

/// An answer is the one to what its turn said.
fn answers(seen: &Evidence, judgement: &mut Judgement) {
    let all = seen.turns.iter().map(|turn| (turn, &seen.lines));
    let all = all.chain(seen.others.iter().map(|turn| (turn, &seen.other_lines)));
    for (turn, lines) in all {
        let own = |line: &&Line| {
            line.is("response.final") && line.turn_id.as_deref() == Some(turn.id.as_str())
        };
        for line in lines.iter().filter(own) {
            let said = line.payload["assistant_text"].as_str().unwrap_or_default();
            judgement.expect(said.contains(&turn.text), || {
                format!(
                    "{}: got {said:?}, expected an answer to {:?}",
                    turn.id, turn.text
                )
            });
        }
    }
    if flood::closed(&seen.lines) || flood::closed(&seen.other_lines) {
        violation!(judgement, "a stream was closed, expected it open");
    }
}

/// What waits is what the status says.
fn waits(seen: &Evidence, judgement: &mut Judgement) {
    let Some(status) = &seen.stalled else {
        return;
    };
    let depth = &status.answer["queues"]["stream"];
    if status.answered() {
        judgement.expect(*depth == json!(DEPTH), || {
            format!("stream queues while stalled: got {depth}, expected {DEPTH}")
        });
    }
}

/// The other session was served while the first one was stalled.
fn others(seen: &Evidence, judgement: &mut Judgement) {
    let released = seen.released_us.unwrap_or(u64::MAX);
    let mut served = 0;
    for turn in &seen.others {
        let own = |line: &&Line| line.turn_id.as_deref() == Some(turn.id.as_str());
        let mut own = seen.other_lines.iter().filter(own);
        let made = own.any(|line| line.is("response.final") && line.at_us < released);
        served += u64::from(made);
        judgement.expect(made, || {
            let id = &turn.id;
            format!(
                "{id} of another session: got no answer while the first was stalled, expected one"
            )
        });
    }
    if let Some(sent) = &seen.other {
        let in_time = sent.ok() && sent.returned_us.is_some_and(|at| at < released);
        served += u64::from(in_time);
        judgement.expect(in_time, || {
            format!(
                "{}: got {}, expected 200 while the first was stalled",
                sent.line(),
                sent.status
            )
        });
    }
    judgement.exercised("other_session_turns", served);
}

/// Drives it.
///
/// # Errors
/// When there is no target, or its first turn never comes to the model.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let pushed = cx.minimum.get("pushed").copied().unwrap_or_default() as usize;
    let instance = cx.start(json!({"stream": {"queue_depth": DEPTH}})).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    let other = approvals::session(&client).await?;
    seen.session.clone_from(&session);
    seen.turns = flood::turns(cx, "pushed", pushed + 1);
    let mut talk = flood::push(cx, &client, &session, &seen.turns).await?;
    if flood::ids(&talk.lines, "ack").len() < seen.turns.len() {
        // Who does not take them has nothing to shed.
        flood::release(cx);
        seen.lines = talk.lines;
        return Ok(());
    }
    let wanted = pushed.saturating_sub(DEPTH);
    // All notices are there: a queue that sheds none is waited for in vain.
    if flood::ids(&talk.lines, "backpressure.shed").len() < wanted {
        let mut missing = wanted - flood::ids(&talk.lines, "backpressure.shed").len();
        talk.until(|line| {
            missing -= usize::from(line.is("backpressure.shed"));
            missing == 0
        })
        .await;
    }
    let status = Ask::get(GATEWAY, "/status");
    seen.stalled = Some(Sent::by(&client, status).await);
    meanwhile(cx, &client, &other, seen).await?;
    seen.released_us = Some(cx.clock.now_us());
    flood::release(cx);
    flood::until_ended(&mut talk, seen.turns.len()).await;
    // Whatever comes too much has come before the answer to this.
    talk.ping().await;
    seen.lines = talk.lines;
    seen.asked = flood::asked(cx);
    Ok(())
}

/// The other session's turns.
async fn meanwhile(
    cx: &Cx,
    client: &Client,
    session: &str,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    seen.others = flood::turns(cx, "other", 2);
    let path = format!("/v3/stream/{session}");
    let mut talk = Talk::on(cx, client, GATEWAY, &path).await?;
    for turn in &seen.others {
        flood::say(&mut talk, turn).await;
    }
    let mut missing = seen.others.len();
    talk.until(|line| {
        missing -= usize::from(line.is("response.final"));
        missing == 0
    })
    .await;
    seen.other_lines = talk.lines;
    let body = json!({"session_id": session, "input_text": "over HTTP"});
    seen.other = Some(Sent::by(client, Ask::post(GATEWAY, "/v3/turn", body)).await);
    Ok(())
}

#[cfg(test)]
#[path = "backpressure_tests.rs"]
mod tests;
