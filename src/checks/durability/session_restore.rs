//! Gate session-restore: active sessions come back after a KILL as they were; closed and expired
//! ones do not come back.
//!
//! One session runs out under a short time to live. Under a long one three more are opened, turns
//! are taken in them and one is closed. All are read, the target is killed, and all are read
//! again: what was active is the same to the field, what was over stays over and takes no turn,
//! and the restore says how many sessions it found.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential, Instance};
use crate::violation;

/// The time to live under which one session runs out.
const SHORT_TTL_MS: u64 = 300;
/// The time to live under which sessions last.
const LONG_TTL_MS: u64 = 1_800_000;
/// How long a session may outlive its time: ten times it, and at least 10 s.
const EXPIRY_BOUND: Duration = Duration::from_secs(10);
/// Turns taken in the sessions that last, so that their counts differ.
const TURNS: [usize; 3] = [1, 3, 2];
/// The session among those that is closed.
const CLOSED: usize = 2;

/// How a session ended, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It is active.
    Active,
    /// It was closed by its owner.
    Closed,
    /// Its time ran out.
    Expired,
}

/// One session's story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Story {
    /// What should have become of it before the KILL.
    pub fate: Fate,
    /// The request that opened it.
    pub opened: Sent,
    /// The turns that were taken in it.
    pub turns: Vec<Sent>,
    /// The request that closed it.
    pub closed: Option<Sent>,
    /// The last look before the KILL.
    pub before: Option<Sent>,
    /// The first look after it.
    pub after: Option<Sent>,
    /// A turn after it.
    pub turn_after: Option<Sent>,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every session.
    pub stories: Vec<Story>,
    /// KILLs between the two looks.
    pub kills: u64,
    /// `/status` of the gateway after the KILL.
    pub status: Option<Sent>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for (counter, fate) in [
        ("restored", Fate::Active),
        ("closed", Fate::Closed),
        ("expired", Fate::Expired),
    ] {
        judgement.exercised(counter, 0);
        for story in seen.stories.iter().filter(|story| story.fate == fate) {
            if followed(story, &mut judgement) {
                judgement.exercised(counter, 1);
            }
        }
    }
    judgement.exercised("kills", seen.kills);
    restored_count(seen, &mut judgement);
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} sessions came back as they were; {} closed and {} expired did not, over {} KILL",
        count("restored"),
        count("closed"),
        count("expired"),
        seen.kills
    );
    judgement
}

/// Judges one session; whether its story could be followed to its end.
fn followed(story: &Story, judgement: &mut Judgement) -> bool {
    let id = &story.opened.answer["session_id"];
    let (Some(before), Some(after), Some(turn)) = (&story.before, &story.after, &story.turn_after)
    else {
        return false;
    };
    let told = before.answered() && after.answered();
    if !(story.opened.ok() && id.is_string() && told) {
        return false;
    }
    match story.fate {
        Fate::Active => kept(story, (before, after, turn), judgement),
        Fate::Closed | Fate::Expired => {
            over(story.fate, before, "before the KILL", judgement);
            over(story.fate, after, "after the KILL", judgement);
            judgement.expect(!turn.ok(), || {
                format!("{}: got {}, expected 404", turn.line(), turn.status)
            });
        }
    }
    // A closed session was closed by somebody, an expired one was active once.
    story.fate != Fate::Closed || story.closed.as_ref().is_some_and(Sent::ok)
}

fn kept(story: &Story, (before, after, turn): (&Sent, &Sent, &Sent), judgement: &mut Judgement) {
    let taken = story.turns.iter().filter(|turn| turn.ok()).count();
    judgement.expect(before.ok(), || {
        format!("{}: got {}, expected 200", before.line(), before.status)
    });
    let count = &before.answer["turn_count"];
    judgement.expect(count.as_u64() == Some(taken as u64), || {
        format!(
            "{}: got turn_count {count}, expected {taken}",
            before.line()
        )
    });
    for field in ["user_id", "conversation_id", "metadata", "expires_at"] {
        let (got, expected) = (&before.answer[field], &story.opened.answer[field]);
        judgement.expect(got == expected && !got.is_null(), || {
            format!("{}: got {field} {got}, expected {expected}", before.line())
        });
    }
    if !after.ok() {
        violation!(
            judgement,
            "after the KILL {}: got {}, expected 200",
            after.line(),
            after.status
        );
        return;
    }
    let (was, is) = (fields(&before.answer), fields(&after.answer));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for field in names {
        let [got, expected] = [&is, &was].map(|side| side.get(field).unwrap_or(&Value::Null));
        judgement.expect(got == expected, || {
            let line = after.line();
            format!("after the KILL {line}: got {field} {got}, expected {expected}")
        });
    }
    judgement.expect(turn.ok(), || {
        format!(
            "after the KILL {}: got {}, expected 200",
            turn.line(),
            turn.status
        )
    });
}

/// What a session says of itself, without what belongs to the answer.
fn fields(answer: &Value) -> serde_json::Map<String, Value> {
    let mut fields = answer.as_object().cloned().unwrap_or_default();
    fields.remove("correlation_id");
    fields
}

fn over(fate: Fate, look: &Sent, when: &str, judgement: &mut Judgement) {
    let refused = look.status == 404;
    let told = look.ok()
        && look.answer["state"]
            .as_str()
            .is_some_and(|state| state != "active");
    judgement.expect(refused || told, || {
        let state = &look.answer["state"];
        let word = if fate == Fate::Closed {
            "closed"
        } else {
            "expired"
        };
        format!(
            "{when} {}: got {} {state} for a session that is {word}, expected 404",
            look.line(),
            look.status
        )
    });
}

/// What the restore says of itself is what was there to restore.
fn restored_count(seen: &Evidence, judgement: &mut Judgement) {
    let Some(status) = seen.status.as_ref().filter(|status| status.ok()) else {
        judgement.undecided("the status after the KILL could not be read");
        return;
    };
    let active = |story: &&Story| story.fate == Fate::Active && story.opened.ok();
    let expected = seen.stories.iter().filter(active).count();
    let stages = status.answer["restore"].as_array().into_iter().flatten();
    let rows = stages
        .filter(|stage| stage["stage"] == "sessions")
        .map(|stage| &stage["rows"]);
    let rows: Vec<&Value> = rows.collect();
    judgement.expect(rows == [&json!(expected)], || {
        format!("the restore of sessions: got rows {rows:?}, expected [{expected}]")
    });
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = |ttl_ms: u64| json!({"sessions": {"ttl_ms": ttl_ms}});
    let mut instance = cx.start(patch(SHORT_TTL_MS)).await?;
    let client = instance.client(Credential::Operator(1));
    seen.stories.push(open(&client, 0, Fate::Expired).await);
    run_out(cx, &client, &seen.stories[0]).await;
    instance.kill().await?;
    let mut config = instance.setup().config.clone();
    crate::base::json::merge(&mut config, &patch(LONG_TTL_MS));
    instance.start_again_with(config).await?;
    for (number, turns) in TURNS.into_iter().enumerate() {
        let fate = if number == CLOSED {
            Fate::Closed
        } else {
            Fate::Active
        };
        let mut story = open(&client, number + 1, fate).await;
        for _ in 0..turns {
            story.turns.push(turn(&client, &story).await);
        }
        if fate == Fate::Closed {
            story.closed = Some(send(&client, Ask::delete("api-gateway", &path(&story))).await);
        }
        seen.stories.push(story);
    }
    for story in &mut seen.stories {
        story.before = Some(look(&client, story).await);
    }
    over_kill(&mut instance, seen).await?;
    for story in &mut seen.stories {
        story.after = Some(look(&client, story).await);
    }
    seen.status = Some(send(&client, Ask::get("api-gateway", "/status")).await);
    for story in &mut seen.stories {
        story.turn_after = Some(turn(&client, story).await);
    }
    Ok(())
}

async fn over_kill(instance: &mut Instance, seen: &mut Evidence) -> Result<(), Undecided> {
    instance.kill().await?;
    instance.start_again().await?;
    seen.kills += 1;
    Ok(())
}

async fn open(client: &Client, number: usize, fate: Fate) -> Story {
    let body = json!({
        "user_id": format!("u-{number}"),
        "conversation_id": format!("c-{number}"),
        "metadata": {"number": number, "nested": {"text": "ünï \"quoted\"", "list": [1, null, true]}},
    });
    Story {
        fate,
        opened: send(client, Ask::post("api-gateway", "/v3/sessions", body)).await,
        turns: Vec::new(),
        closed: None,
        before: None,
        after: None,
        turn_after: None,
    }
}

/// Looks until its time is over, or should long have been: the last look tells which.
async fn run_out(cx: &Cx, client: &Client, story: &Story) {
    if !story.opened.answer["session_id"].is_string() {
        return;
    }
    let (client, asked) = (client.clone(), Ask::get("api-gateway", &path(story)));
    let gone = cx.until("the end of a session's time", EXPIRY_BOUND, || {
        let (client, ask) = (client.clone(), asked.clone());
        async move { (!client.send(ask).await.ok()).then_some(()) }
    });
    // Whether it is over is judged by the looks that are recorded later.
    drop(gone.await);
}

fn path(story: &Story) -> String {
    let id = story.opened.answer["session_id"].as_str();
    format!("/v3/sessions/{}", id.unwrap_or("ses_none"))
}

async fn look(client: &Client, story: &Story) -> Sent {
    send(client, Ask::get("api-gateway", &path(story))).await
}

async fn turn(client: &Client, story: &Story) -> Sent {
    let body = json!({"session_id": story.opened.answer["session_id"], "input_text": "hello"});
    send(client, Ask::post("api-gateway", "/v3/turn", body)).await
}

async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
#[path = "session_restore_tests.rs"]
mod tests;
