//! Pipecat by itself: a process that hosts nothing else, and what it says of its providers. Whoever
//! asks which one hears needs no gateway; what is heard is there before it becomes a turn.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::talk::{BOUND, Line, Talk};
use crate::checks::{Cx, Sent, Undecided};
use crate::doubles::tones;
use crate::target::{Ask, Client, Instance, Setup};

/// The service.
pub const PIPECAT: &str = "pipecat";

/// What a process that hosts pipecat alone is started with.
pub fn setup(cx: &mut Cx, patch: Value, env: &[(&str, &str)]) -> Setup {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut setup = cx.setup(patch);
    setup.args = vec!["--service".to_owned(), PIPECAT.to_owned()];
    setup.env = env.iter().map(text).collect::<BTreeMap<_, _>>();
    setup
}

/// Starts it; none when it ends before it is ready, or is not ready within [`BOUND`].
///
/// # Errors
/// When that is not the target's fault.
pub async fn started(cx: &Cx, setup: Setup) -> Result<Option<Instance>, Undecided> {
    match tokio::time::timeout(BOUND, cx.launcher.start(setup)).await {
        Ok(Ok(instance)) => Ok(Some(instance)),
        Ok(Err(error)) if !error.by_target() => Err(error.into()),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

/// `GET /voice/backends`.
pub async fn backends(client: &Client) -> Sent {
    Sent::by(client, Ask::get(PIPECAT, "/voice/backends")).await
}

/// The same until it says what is awaited, at most `within`; what it said last.
pub async fn backends_until(
    cx: &Cx,
    client: &Client,
    within: Duration,
    awaited: impl Fn(&Value) -> bool,
) -> Sent {
    let awaited = &awaited;
    let poll = || async move {
        let sent = backends(client).await;
        awaited(&sent.answer).then_some(sent)
    };
    match cx.until("the awaited providers", within, poll).await {
        Ok(sent) => sent,
        Err(_) => backends(client).await,
    }
}

/// Whether this kind of provider is told to be this one, and to be there or not.
#[must_use]
pub fn tells(answer: &Value, kind: &str, provider: Option<&str>, available: bool) -> bool {
    answer[kind]["provider"].as_str() == provider && answer[kind]["available"] == available
}

/// Says a word aloud and ends it, and listens until it was understood or refused; then asks whether
/// the socket is still there.
///
/// # Errors
/// When there is no socket.
pub async fn word(cx: &Cx, client: &Client, word: &str) -> Result<Vec<Line>, Undecided> {
    let mut talk = Talk::open(cx, client, "ses_of_nobody").await?;
    talk.utter([tones::speak(word)]).await;
    let over = |line: &Line| line.is("transcript.final") || line.is("error");
    if talk.until(over).await {
        talk.ping().await;
    }
    Ok(talk.lines)
}

/// What was understood in the end; none when nothing was.
#[must_use]
pub fn understood(lines: &[Line]) -> Option<&str> {
    let last = lines.iter().find(|line| line.is("transcript.final"));
    last.map(Line::said)
}

/// The refusal to hear, if there is one.
#[must_use]
pub fn unheard(lines: &[Line]) -> Option<&Line> {
    let refusal = |line: &&Line| line.is("error") && line.code() == "ASR_UNAVAILABLE";
    lines.iter().find(refusal)
}

/// Whether the ping at the end of [`word`] was answered.
#[must_use]
pub fn alive(lines: &[Line]) -> bool {
    let pong = |line: &Line| line.is("ack") && line.payload["of"] == "control.ping";
    lines.iter().any(pong)
}
