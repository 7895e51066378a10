//! Gate tts-streaming (v4.5/C4): speech leaves in frames while it is made, in order and complete.
//!
//! The speech backend stalls after two of its chunks. The first frame must come while it is held;
//! then it is let go on, and the frames together must be what was synthesized, byte for byte. No two
//! chunks are alike, so that any other order is another speech. A second text, that nothing holds up,
//! must be another speech.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::counted::Counted;
use super::speeches::{Speech, heard};
use super::stage::{Stage, letters};
use super::talk::{BOUND, Line, Talk};
use crate::chaos::approvals;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::Behaviour;
use crate::target::Credential;
use crate::violation;

/// Chunks after which the backend stalls.
const STALLED_AFTER: usize = 2;
/// Letters of each text, and so chunks of its synthesis.
const LETTERS: usize = 16;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// What is to be said: the first one under the stall. Said in the turns `t-0` and `t-1`.
    pub texts: Vec<String>,
    /// What was said on the socket.
    pub lines: Vec<Line>,
    /// When the synthesis of the first text was seen to be held.
    pub held_us: Option<u64>,
    /// When it was let go on.
    pub released_us: Option<u64>,
    /// Whether all that was to come was waited for.
    pub complete: bool,
    /// The session before and after.
    pub turns: Counted,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (speeches, stray) = heard(&seen.lines);
    let (early, frames) = stalled(seen, speeches.first(), &mut judgement);
    judgement.exercised("frames", frames);
    judgement.exercised("early_frames", early);
    judgement.expect(stray.is_empty(), || {
        format!(
            "got {} frames of audio outside of a speech, expected 0",
            stray.len()
        )
    });
    if seen.lines.iter().any(|line| line.is("closed")) {
        violation!(judgement, "the socket was closed, expected it open");
    }
    if seen.complete {
        for (number, text) in seen.texts.iter().enumerate() {
            let id = format!("t-{number}");
            let own = |speech: &&Speech<'_>| speech.turn_id == Some(id.as_str());
            match speeches.iter().find(own) {
                Some(speech) => {
                    if let Some(wrong) = speech.wrong(text) {
                        violation!(judgement, "the speech of {id}: {wrong}");
                    }
                }
                None => violation!(judgement, "{id}: got no speech, expected {text:?}"),
            }
        }
    }
    seen.turns.judge(seen.lines.iter(), &mut judgement);
    judgement.detail = format!(
        "{early} of {frames} frames came while the synthesis was held after {STALLED_AFTER} of {LETTERS} chunks; {} speeches",
        speeches.len()
    );
    judgement
}

/// The speech that was held up: how many of its frames came before it was let go on, and how many
/// there are.
fn stalled(seen: &Evidence, speech: Option<&Speech<'_>>, judgement: &mut Judgement) -> (u64, u64) {
    let Some(released_us) = seen.released_us else {
        judgement.undecided("no synthesis was held and let go on");
        return (0, 0);
    };
    let frames = speech.map_or(&[][..], |speech| &speech.frames);
    let early = frames.iter().filter(|frame| frame.at_us < released_us);
    let early = early.count();
    if let Some(held_us) = seen.held_us {
        judgement.expect(early > 0, || {
            format!(
                "while the synthesis was held after {STALLED_AFTER} chunks: got no frame within {} ms, expected the first",
                released_us.saturating_sub(held_us) / 1000
            )
        });
    }
    judgement.expect(!seen.complete || frames.len() > 1, || {
        format!("got {} frames, expected more than one", frames.len())
    });
    (early as u64, frames.len() as u64)
}

/// Drives it.
///
/// # Errors
/// When there is no target, or nothing is asked to be synthesized.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("texts").rng();
    seen.texts = (0..2).map(|_| letters(&mut rng, LETTERS)).collect();
    let stage = Stage::open(cx).await?;
    // What is asked is what is said.
    cx.models
        .script(|asked| json!({"text": asked["input_text"], "tool_calls": []}));
    stage.tts.behave(Behaviour::stall_after(STALLED_AFTER));
    let instance = cx.start(stage.config()).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    seen.turns = Counted::before(&client, &session).await;
    let mut talk = Talk::open(cx, &client, &session).await?;
    let spoken = speak(cx, &stage, &mut talk, seen).await;
    seen.lines = talk.lines;
    seen.turns.look_again(&client, &session).await;
    spoken
}

async fn speak(
    cx: &Cx,
    stage: &Stage,
    talk: &mut Talk,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let text = |number: usize| json!({"text": seen.texts[number]});
    talk.say_as("input.text", Some("t-0"), text(0)).await;
    stage.tts.held(1, BOUND).await?;
    seen.held_us = Some(cx.clock.now_us());
    talk.until_kind("audio").await;
    stage.tts.behave(Behaviour::default());
    seen.released_us = Some(cx.clock.now_us());
    stage.tts.release();
    talk.until_kind("speech.ended").await;
    talk.say_as("input.text", Some("t-1"), text(1)).await;
    talk.until_kind("speech.ended").await;
    seen.complete = true;
    talk.ping().await;
    Ok(())
}

#[cfg(test)]
#[path = "tts_streaming_tests.rs"]
mod tests;
