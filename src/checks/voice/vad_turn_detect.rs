//! Gate vad-turn-detect (v4.5/C3): speech followed by half a second of silence is one turn, silence
//! alone is none, and speech stops playback.
//!
//! Time is counted in samples, so it is sent as fast as it goes. Silence first. Then two halves of an
//! utterance with 480 ms of silence between: too short, like the first 480 ms behind the second half.
//! Twenty more end it. The answer is stalled in mid-speech, and somebody speaks: the speech must be
//! stopped, and what the backend had yet to give of it must never be heard. What interrupted it is a
//! turn like any other, and is answered to its end.

use std::collections::BTreeSet;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::counted::Counted;
use super::speeches::heard;
use super::stage::{Stage, letters};
use super::talk::{BOUND, By, Line, Talk};
use crate::chaos::approvals;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::{Behaviour, tones};
use crate::target::Credential;
use crate::violation;

/// Silence that ends an utterance.
const SILENCE_MS: u64 = 500;
/// Silence that is a pause: a frame less.
const PAUSE_MS: u64 = SILENCE_MS - FRAME_MS;
/// What silence is counted in.
const FRAME_MS: u64 = 20;
/// Silence when nobody has said anything yet.
const QUIET_MS: u64 = 2_000;
/// Letters of a half, and of what interrupts.
const LETTERS: usize = 6;
/// Chunks of the answer after which it stalls.
const STALLED_AFTER: usize = 4;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// What is said: two halves of an utterance, and what interrupts its answer.
    pub said: Vec<String>,
    /// What was said on the socket.
    pub lines: Vec<Line>,
    /// How many lines that were once the silence was over.
    pub quiet: Option<usize>,
    /// How many before the last 20 ms of silence that end the utterance.
    pub paused: Option<usize>,
    /// How many once its answer was waited for.
    pub answered: Option<usize>,
    /// How many before somebody interrupted the answer.
    pub interrupted: Option<usize>,
    /// What the model was asked, in order.
    pub asked: Vec<String>,
    /// Whether the answer to what interrupted was waited for.
    pub complete: bool,
    /// The session before and after.
    pub turns: Counted,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let Evidence { said, lines, .. } = seen;
    let [first, second, third] = said.as_slice() else {
        judgement.undecided("nobody spoke");
        return judgement;
    };
    if lines.iter().any(|line| line.is("closed")) {
        violation!(judgement, "the socket was closed, expected it open");
    }
    judgement.exercised("silences", u64::from(seen.quiet.is_some()));
    let whole = format!("{first}{second}");
    for (until, what) in [
        (seen.quiet, format!("{QUIET_MS} ms of silence")),
        (seen.paused, format!("pauses of {PAUSE_MS} ms")),
    ] {
        let got = until.map(|until| finals(&lines[..until]));
        let got = got.unwrap_or_default();
        judgement.expect(got.is_empty(), || {
            format!("after {what}: got the turns {got:?}, expected none")
        });
    }
    if let Some(answered) = seen.answered {
        let got = finals(&lines[..answered]);
        judgement.exercised("utterances", u64::from(got == [whole.as_str()]));
        judgement.expect(got == [whole.as_str()], || {
            format!("after {SILENCE_MS} ms of silence: got the turns {got:?}, expected [{whole:?}]")
        });
        let turns = [whole.as_str(), third];
        let expected = &turns[..1 + usize::from(seen.complete)];
        judgement.expect(seen.asked == expected, || {
            let asked = &seen.asked;
            format!("the model was asked: got {asked:?}, expected {expected:?}")
        });
    }
    seen.turns.judge(lines.iter(), &mut judgement);
    let stopped_ms = interruption(seen, third, &mut judgement);
    judgement.detail = format!(
        "{QUIET_MS} ms of silence and pauses of {PAUSE_MS} ms ended nothing, {} turns; playback stopped {}",
        seen.asked.len(),
        stopped_ms.map_or("not at all".to_owned(), |ms| format!("after {ms} ms"))
    );
    judgement
}

/// What was understood of each utterance that ended. One that is told twice ended once.
fn finals(lines: &[Line]) -> Vec<&str> {
    let mut ids = BTreeSet::new();
    let finals = lines.iter().filter(|line| line.is("transcript.final"));
    let first = finals.filter(|line| ids.insert(line.turn_id.as_deref()));
    first.map(Line::said).collect()
}

/// Who speaks stops what is played, for good, and is answered; after how long it was stopped.
fn interruption(seen: &Evidence, third: &str, judgement: &mut Judgement) -> Option<u64> {
    let Some(interrupted) = seen.interrupted else {
        judgement.undecided("nothing was played that could be interrupted");
        return None;
    };
    judgement.exercised("barge_ins", 1);
    let before = &seen.lines[..interrupted];
    let playing = before.iter().rfind(|line| line.is("speech.started"));
    let playing = playing.and_then(|line| line.turn_id.as_deref());
    let after = &seen.lines[interrupted..];
    let spoken_us = after
        .iter()
        .find(|line| line.by == By::Us)
        .map(|line| line.at_us);
    let stop = after.iter().position(|line| {
        line.is("speech.stopped")
            && line.turn_id.as_deref() == playing
            && line.payload["reason"] == "barge_in"
    });
    let Some(stop) = stop else {
        let ended = after.iter().any(|line| line.is("speech.ended"));
        let got = if ended { "it to its end" } else { "no word" };
        violation!(
            judgement,
            "somebody spoke while {playing:?} was played: got {got} within {} ms, expected speech.stopped",
            BOUND.as_millis()
        );
        return None;
    };
    let took_us = after[stop].at_us.saturating_sub(spoken_us?);
    judgement.expect(took_us <= BOUND.as_micros() as u64, || {
        let bound = BOUND.as_millis();
        format!(
            "playback: stopped after {} ms, expected at most {bound}",
            took_us / 1000
        )
    });
    let (speeches, stray) = heard(&after[stop..]);
    judgement.expect(stray.is_empty(), || {
        let frames = stray.len();
        format!("after the speech was stopped: got {frames} more frames of it, expected 0")
    });
    if seen.complete {
        let expected = answer(third);
        match speeches.as_slice() {
            [own] => {
                if let Some(wrong) = own.wrong(&expected) {
                    violation!(judgement, "the answer to what interrupted: {wrong}");
                }
            }
            _ => violation!(
                judgement,
                "after the interruption: got {} speeches, expected 1",
                speeches.len()
            ),
        }
    }
    Some(took_us / 1000)
}

/// What the model answers.
fn answer(text: &str) -> String {
    format!("You said: {text}")
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("speech").rng();
    let said = letters(&mut rng, 3 * LETTERS);
    let halves = [0, LETTERS, 2 * LETTERS];
    seen.said = halves.map(|at| said[at..at + LETTERS].to_owned()).into();
    let stage = Stage::open(cx).await?;
    cx.models
        .script(|asked| json!({"text": answer(&word(&asked["input_text"])), "tool_calls": []}));
    stage.tts.behave(Behaviour::stall_after(STALLED_AFTER));
    let instance = cx.start(stage.config()).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    seen.turns = Counted::before(&client, &session).await;
    let mut talk = Talk::open(cx, &client, &session).await?;
    // At which sample of a message silence begins does not matter.
    let cut = 2 * rng.random_range(100..600_usize);
    utterance(&mut talk, seen, cut).await;
    interrupt(&mut talk, &stage, seen).await;
    seen.lines = talk.lines;
    seen.turns.look_again(&client, &session).await;
    let asked = cx.models.asked().into_iter();
    seen.asked = asked.map(|call| word(&call.body["input_text"])).collect();
    Ok(())
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Silence, and an utterance with a pause in it.
async fn utterance(talk: &mut Talk, seen: &mut Evidence, cut: usize) {
    let silence = |ms: u64| tones::silence(ms as usize);
    talk.play(silence(QUIET_MS)).await;
    talk.ping().await;
    seen.quiet = Some(talk.lines.len());
    talk.play(tones::speak(&seen.said[0])).await;
    talk.play(silence(PAUSE_MS)).await;
    talk.ping().await;
    let rest = [tones::speak(&seen.said[1]), silence(PAUSE_MS)].concat();
    talk.play(rest[..cut].to_vec()).await;
    talk.play(rest[cut..].to_vec()).await;
    talk.ping().await;
    seen.paused = Some(talk.lines.len());
    talk.play(silence(FRAME_MS)).await;
    let paused = talk.lines.len();
    if talk.since(paused, "transcript.final").await {
        // More silence is no other turn.
        talk.play(silence(QUIET_MS)).await;
        talk.since(paused, "audio").await;
    }
    seen.answered = Some(talk.lines.len());
}

/// Somebody speaks while the answer is stalled.
async fn interrupt(talk: &mut Talk, stage: &Stage, seen: &mut Evidence) {
    if !talk.lines.iter().any(|line| line.is("audio")) {
        return;
    }
    let interrupted = talk.lines.len();
    seen.interrupted = Some(interrupted);
    talk.play(tones::speak(&seen.said[2])).await;
    talk.until_kind("speech.stopped").await;
    stage.tts.behave(Behaviour::default());
    stage.tts.release();
    talk.play(tones::silence(SILENCE_MS as usize)).await;
    talk.until_kind("speech.ended").await;
    seen.complete = true;
    talk.ping().await;
}

#[cfg(test)]
#[path = "vad_turn_detect_tests.rs"]
mod tests;
