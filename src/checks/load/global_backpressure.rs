//! Gate global-backpressure (v4.6/C1): stream, tool and model queues together stay under one cap, the
//! oldest is shed wherever it waits, who is refused is told so, and all of it drains to nothing.
//!
//! Model and tools are stalled with one call in flight each. Chats, calls of tools and turns of one
//! stream are offered in a known order, one more only when the last one waits, until the cap is
//! reached; then one more of each. The first three that waited have to make room, one by one. Then
//! everything is let go on.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinHandle;

use super::flood;
use crate::chaos::approvals;
use crate::checks::voice::talk::{Line, Talk};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::doubles::{Behaviour, Point};
use crate::target::{Ask, Client, Credential};

const GATEWAY: &str = "api-gateway";
/// What may wait in all queues together.
const CAP: u64 = 6;
/// What is offered beyond it: one more for each queue.
const BEYOND: usize = 3;
/// How soon a step shows, and how soon all is drained.
const BOUND: Duration = Duration::from_secs(10);
/// The queues.
const QUEUES: [&str; 3] = ["stream", "model", "tool"];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Ids of what had to wait, in the order in which it was offered.
    pub offered: Vec<String>,
    /// What became of chats and calls of tools, by id.
    pub answers: Vec<(String, Sent)>,
    /// What was said on the stream.
    pub lines: Vec<Line>,
    /// `/status` of the gateway, again and again.
    pub statuses: Vec<Sent>,
    /// Whether everything was let go on, and waited for.
    pub drained: bool,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let deepest = seen.statuses.iter().map(total).max().unwrap_or_default();
    judgement.expect(deepest <= CAP, || {
        format!("all queues together: got {deepest} waiting, expected at most {CAP}")
    });
    let used = |queue: &&&str| seen.statuses.iter().any(|sent| depth(sent, queue) > 0);
    judgement.exercised("queues", QUEUES.iter().filter(used).count() as u64);
    let refused = |(_, sent): &&(String, Sent)| is_shed(sent);
    let refused = seen.answers.iter().filter(refused).count();
    let notices = flood::ids(&seen.lines, "backpressure.shed");
    judgement.exercised("refused", refused as u64);
    judgement.exercised("shed", notices.len() as u64);
    if seen.drained {
        for (place, id) in seen.offered.iter().enumerate() {
            outcome(seen, place, id, &mut judgement);
        }
        let left = seen.statuses.last().map_or(0, total);
        judgement.expect(left == 0, || {
            format!("all queues at the end: got {left} waiting, expected 0")
        });
    } else {
        judgement.undecided("the queues were not let go on");
    }
    judgement.detail = format!(
        "{} offered under a cap of {CAP}: at most {deepest} waited, {} shed of the stream, {refused} refused",
        seen.offered.len(),
        notices.len()
    );
    judgement
}

/// The first ones made room and were told so; all others were served.
fn outcome(seen: &Evidence, place: usize, id: &str, judgement: &mut Judgement) {
    let expected = if place < BEYOND { "shed" } else { "served" };
    let answers = seen.answers.iter().filter(|(answered, _)| answered == id);
    let of_answer = |sent: &Sent| match sent.status {
        _ if is_shed(sent) => "shed".to_owned(),
        200 => "served".to_owned(),
        _ => sent.line(),
    };
    let of_line = |line: &Line| match line.kind.as_str() {
        "backpressure.shed" => "shed".to_owned(),
        "response.final" => "served".to_owned(),
        _ => format!("{} {}", line.kind, line.code()),
    };
    let own = |line: &&Line| {
        let target = ["backpressure.shed", "response.final", "error"];
        line.turn_id.as_deref() == Some(id) && target.iter().any(|kind| line.is(kind))
    };
    let lines = seen.lines.iter().filter(own).map(of_line);
    let got: Vec<String> = answers
        .map(|(_, sent)| of_answer(sent))
        .chain(lines)
        .collect();
    judgement.expect(got == [expected], || {
        format!("{id}, number {place} that waited: got {got:?}, expected [{expected:?}]")
    });
}

fn is_shed(sent: &Sent) -> bool {
    sent.status == 503 && sent.code() == "BACKPRESSURE_SHED"
}

fn depth(sent: &Sent, queue: &str) -> u64 {
    sent.answer["queues"][queue].as_u64().unwrap_or_default()
}

fn total(sent: &Sent) -> u64 {
    QUEUES.iter().map(|queue| depth(sent, queue)).sum()
}

/// Whoever offers.
struct Offers {
    client: Client,
    talk: Talk,
    under_way: Vec<(String, JoinHandle<Sent>)>,
}

impl Offers {
    /// Offers one: a turn (`t-`), a chat (`c-`) or a call of a tool (`e-`).
    async fn offer(&mut self, id: &str) {
        let ask = match id.split_once('-').map(|(kind, _)| kind) {
            Some("t") => {
                let text = json!({"text": id});
                return self.talk.say_as("input.text", Some(id), text).await;
            }
            Some("c") => Ask::post("model-router", "/chat", json!({"input_text": id})),
            _ => {
                let body = json!({"tool_name": "file.read", "args": {"path": id}});
                Ask::post("openclaw", "/execute", body)
            }
        };
        let client = self.client.clone();
        let sent = tokio::spawn(async move { Sent::by(&client, ask).await });
        self.under_way.push((id.to_owned(), sent));
    }
}

/// Looks until so many wait, or one more than may: whether it came to that. What was seen is kept
/// in either case.
async fn look(cx: &Cx, client: &Client, seen: &mut Evidence, enough: impl Fn(u64) -> bool) -> bool {
    let looks = Mutex::new(Vec::new());
    let look = || async {
        let sent = Sent::by(client, Ask::get(GATEWAY, "/status")).await;
        let found = enough(total(&sent));
        if let Ok(mut looks) = looks.lock() {
            looks.push(sent);
        }
        found.then_some(())
    };
    // A queue that never comes to it shows in what was seen.
    let found = cx.until("queues as expected", BOUND, look).await.is_ok();
    seen.statuses.extend(looks.into_inner().unwrap_or_default());
    found
}

/// Drives it.
///
/// # Errors
/// When there is no target, or nothing comes to the doubles.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = json!({
        "backpressure": {"global_depth": CAP, "model_width": 1, "tool_width": 1},
    });
    let instance = cx.start(patch).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    let path = format!("/v3/stream/{session}");
    let talk = Talk::on(cx, &client, GATEWAY, &path).await?;
    cx.models.behave(Behaviour::hold(Point::Arrived));
    cx.tools.behave(Behaviour::hold(Point::Arrived));
    let mut offers = Offers {
        client: client.clone(),
        talk,
        under_way: Vec::new(),
    };
    offers.offer("t-0").await;
    cx.models.held(1, BOUND).await?;
    offers.offer("e-0").await;
    cx.tools.held(1, BOUND).await?;
    let numbers = 1..=3;
    for id in numbers.flat_map(|number| ["c", "e", "t"].map(|kind| format!("{kind}-{number}"))) {
        offers.offer(&id).await;
        seen.offered.push(id);
        let waiting = seen.offered.len() as u64;
        let as_expected = if waiting <= CAP {
            look(cx, &client, seen, |now| now >= waiting).await
        } else {
            beyond(cx, &mut offers, seen).await
        };
        if !as_expected {
            // Nothing more is learned from offering more.
            break;
        }
    }
    cx.models.behave(Behaviour::default());
    cx.tools.behave(Behaviour::default());
    cx.models.release();
    cx.tools.release();
    look(cx, &client, seen, |now| now == 0).await;
    ends(offers, seen).await;
    Ok(())
}

/// One more than may wait: whether the oldest has its end, or too many wait.
async fn beyond(cx: &Cx, offers: &mut Offers, seen: &mut Evidence) -> bool {
    let victim = seen.offered.len() - 1 - CAP as usize;
    let victim = seen.offered[victim].clone();
    if victim.starts_with('t') {
        let told = |line: &Line| line.turn_id.as_ref() == Some(&victim) && !line.is("ack");
        offers.talk.until(told).await;
        return look(cx, &offers.client, seen, |now| now >= CAP).await;
    }
    let handle = offers.under_way.iter().find(|(id, _)| *id == victim);
    let ended = || handle.is_some_and(|(_, handle)| handle.is_finished());
    look(cx, &offers.client, seen, |now| now > CAP || ended()).await
}

/// Waits for the end of everything, and keeps it.
async fn ends(mut offers: Offers, seen: &mut Evidence) {
    for (id, handle) in std::mem::take(&mut offers.under_way) {
        // One that panicked has no answer.
        if let Ok(sent) = handle.await {
            seen.answers.push((id, sent));
        }
    }
    let turns = flood::pushed(&offers.talk.lines);
    flood::until_ended(&mut offers.talk, turns).await;
    seen.lines = offers.talk.lines;
    seen.drained = true;
}

#[cfg(test)]
#[path = "global_backpressure_tests.rs"]
mod tests;
