//! A stream whose session's model is stalled, and more turns pushed onto it than its queue holds:
//! driven here, and read into the turns that were pushed, shed and answered, for whoever judges it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::chaos::approvals::markers;
use crate::checks::voice::talk::{By, Line, Talk};
use crate::checks::{Cx, Undecided};
use crate::doubles::{Behaviour, Point};
use crate::target::Client;

/// The longest that the double may wait for the turn that is to stall.
const STALL_BOUND: Duration = Duration::from_secs(10);

/// A turn that was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The id of its frames.
    pub id: String,
    /// What it says.
    pub text: String,
}

/// A call of the model, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Whose turn.
    pub session: String,
    /// What it says.
    pub text: String,
}

/// The turns of a flood: the one that stalls, and those that come after it.
#[must_use]
pub fn turns(cx: &Cx, what: &str, n: usize) -> Vec<Pushed> {
    let texts = markers(cx.seed, what, n).into_iter().enumerate();
    texts
        .map(|(number, text)| Pushed {
            id: format!("t-{number}"),
            text,
        })
        .collect()
}

/// Stalls the session's model with its first turn, then pushes the others, and listens until each of
/// them is acknowledged. Less than that shows in what was heard.
///
/// # Errors
/// When the first turn does not come to the model: nothing is stalled then.
pub async fn push(
    cx: &Cx,
    client: &Client,
    session: &str,
    turns: &[Pushed],
) -> Result<Talk, Undecided> {
    let stalled = session.to_owned();
    cx.models.behave_by(move |asked| {
        if asked["session_id"] == stalled.as_str() {
            Behaviour::hold(Point::Arrived)
        } else {
            Behaviour::default()
        }
    });
    let path = format!("/v3/stream/{session}");
    let mut talk = Talk::on(cx, client, "api-gateway", &path).await?;
    for (number, turn) in turns.iter().enumerate() {
        say(&mut talk, turn).await;
        if number == 0 {
            cx.models.held(1, STALL_BOUND).await?;
        }
    }
    let mut missing = turns.len();
    talk.until(|line| {
        missing -= usize::from(line.is("ack"));
        missing == 0
    })
    .await;
    Ok(talk)
}

/// Asks for a turn.
pub async fn say(talk: &mut Talk, turn: &Pushed) {
    talk.say_as("input.text", Some(&turn.id), json!({"text": turn.text}))
        .await;
}

/// Lets the model answer again.
pub fn release(cx: &Cx) {
    cx.models.behave(Behaviour::default());
    cx.models.release();
}

/// What the model was asked, in order.
#[must_use]
pub fn asked(cx: &Cx) -> Vec<Asked> {
    let calls = cx.models.asked().into_iter();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    calls
        .map(|call| Asked {
            session: word(&call.body["session_id"]),
            text: word(&call.body["input_text"]),
        })
        .collect()
}

/// The ids in the target's frames of this kind, in order.
#[must_use]
pub fn ids(lines: &[Line], kind: &str) -> Vec<String> {
    let named = lines.iter().filter(|line| line.is(kind));
    named
        .map(|line| line.turn_id.clone().unwrap_or_default())
        .collect()
}

/// How many turns somebody asked for that has an end: an answer, an error or a notice.
#[must_use]
pub fn ended(lines: &[Line]) -> usize {
    let ends = ["response.final", "backpressure.shed", "error"];
    let ended = lines
        .iter()
        .filter(|line| ends.iter().any(|end| line.is(end)));
    let ended: BTreeSet<_> = ended.filter_map(|line| line.turn_id.as_deref()).collect();
    ended.len()
}

/// Listens until so many turns have ended, or should long have.
pub async fn until_ended(talk: &mut Talk, turns: usize) {
    let mut now = ended(&talk.lines);
    if now < turns {
        talk.until(|line| {
            now += usize::from(line.turn_id.is_some() && !line.is("ack"));
            now >= turns
        })
        .await;
    }
}

/// Whether the socket was closed by the target.
#[must_use]
pub fn closed(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.is("closed"))
}

/// How many turns were asked for.
#[must_use]
pub fn pushed(lines: &[Line]) -> usize {
    let asked = |line: &&Line| line.by == By::Us && line.kind == "input.text";
    lines.iter().filter(asked).count()
}
