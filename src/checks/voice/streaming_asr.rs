//! Gate streaming-asr (v4.5/C2): partial transcripts arrive while audio does, never shrink, and one
//! final one ends them.
//!
//! An utterance is sent in ten pieces, and twice the next piece is kept back until a partial transcript
//! of the last ones is there. Then it is ended. A second utterance with other words follows on the same
//! socket: what the first one still had to say would be heard in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::counted::Counted;
use super::stage::{Stage, letters, pieces};
use super::talk::{By, Line, Talk};
use crate::chaos::approvals;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::tones;
use crate::target::Credential;
use crate::violation;

/// Letters of an utterance: two for each piece.
const LETTERS: usize = 20;
/// Pieces after which a partial transcript is waited for.
const WAITS: [usize; 2] = [4, 8];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The utterances, one after the other.
    pub utterances: Vec<Utterance>,
    /// The session before and after.
    pub turns: Counted,
}

/// One utterance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Utterance {
    /// What is said.
    pub text: String,
    /// What was said on the socket, until the next utterance.
    pub lines: Vec<Line>,
    /// Whether all of it was sent, and its transcript waited for.
    pub complete: bool,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    if seen.utterances.is_empty() {
        judgement.undecided("nobody spoke");
    }
    for utterance in &seen.utterances {
        streamed(utterance, &mut judgement);
    }
    let ids = finals(seen, &mut judgement);
    judgement.exercised("finals", ids);
    if seen.utterances.iter().any(closed) {
        violation!(judgement, "the socket was closed, expected it open");
    }
    let lines = seen.utterances.iter().flat_map(|one| &one.lines);
    seen.turns.judge(lines, &mut judgement);
    let count = |what: &str| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} utterances in {} pieces: {} partial transcripts before the last piece, {ids} final ones",
        seen.utterances.len(),
        count("chunks"),
        count("partials")
    );
    judgement
}

fn closed(utterance: &Utterance) -> bool {
    utterance.lines.iter().any(|line| line.is("closed"))
}

/// What was transcribed while audio came grows, and is what was said.
fn streamed(utterance: &Utterance, judgement: &mut Judgement) {
    let Utterance { text, lines, .. } = utterance;
    let sent = |line: &Line| line.by == By::Us && line.kind == "audio";
    let chunks = lines.iter().filter(|line| sent(line)).count();
    judgement.exercised("chunks", chunks as u64);
    let end = lines.iter().rposition(sent).unwrap_or_default();
    let early = lines[..end]
        .iter()
        .filter(|line| line.is("transcript.partial"));
    let early = early.count();
    judgement.exercised("partials", early as u64);
    if !utterance.complete {
        return;
    }
    judgement.expect(early >= WAITS.len(), || {
        format!(
            "{text:?}: got {early} partial transcripts before the last of {chunks} pieces, expected at least {}",
            WAITS.len()
        )
    });
    let mut said = "";
    for line in lines.iter().filter(|line| line.is("transcript.partial")) {
        let partial = line.said();
        judgement.expect(partial.starts_with(said), || {
            format!("{text:?}: got {partial:?} after {said:?}, expected it to go on")
        });
        judgement.expect(text.starts_with(partial), || {
            format!("{text:?}: got the partial transcript {partial:?}, expected a part of it")
        });
        said = partial;
    }
}

/// Each utterance has one final transcript and no other one after it; how many there are that are
/// right.
fn finals(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let mut of: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    let lines = seen.utterances.iter().flat_map(|one| &one.lines);
    for line in lines.filter(|line| line.is("transcript.partial") || line.is("transcript.final")) {
        let id = line.turn_id.as_deref().unwrap_or_default();
        of.entry(id).or_default().push(line);
    }
    for (id, transcripts) in &of {
        let is_final = |line: &&&Line| line.is("transcript.final");
        let count = transcripts.iter().filter(is_final).count();
        judgement.expect(count <= 1, || {
            format!("{id}: got {count} final transcripts, expected 1")
        });
        let first = transcripts
            .iter()
            .position(|line| line.is("transcript.final"));
        let after = first.map_or(0, |first| transcripts.len() - first - count);
        judgement.expect(after == 0, || {
            format!("{id}: got {after} partial transcripts after the final one, expected 0")
        });
    }
    let mut right = 0;
    for Utterance { text, lines, .. } in seen.utterances.iter().filter(|one| one.complete) {
        let finals = lines.iter().filter(|line| line.is("transcript.final"));
        let finals: Vec<&str> = finals.map(Line::said).collect();
        right += u64::from(finals == [text]);
        judgement.expect(finals == [text], || {
            format!("got the final transcripts {finals:?}, expected [{text:?}]")
        });
    }
    let utterances = seen.utterances.len();
    judgement.expect(of.len() <= utterances, || {
        format!(
            "got transcripts of {} utterances, expected {utterances}",
            of.len()
        )
    });
    right
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let chunks = cx.minimum.get("chunks").copied().unwrap_or_default();
    let (mut rng, chunks) = (cx.seed.child("speech").rng(), usize::try_from(chunks)? / 2);
    let stage = Stage::open(cx).await?;
    // An answer that is nothing is not spoken.
    cx.models.script(|_| json!({"text": "", "tool_calls": []}));
    let instance = cx.start(stage.config()).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    seen.turns = Counted::before(&client, &session).await;
    let mut talk = Talk::open(cx, &client, &session).await?;
    for _ in 0..2 {
        let text = letters(&mut rng, LETTERS);
        let pieces = pieces(&mut rng, &tones::speak(&text), chunks);
        speak(&mut talk, pieces).await;
        seen.utterances.push(Utterance {
            text,
            lines: std::mem::take(&mut talk.lines),
            complete: true,
        });
    }
    talk.ping().await;
    if let Some(last) = seen.utterances.last_mut() {
        last.lines.append(&mut talk.lines);
    }
    seen.turns.look_again(&client, &session).await;
    Ok(())
}

/// Says all of it, and waits for its transcript.
async fn speak(talk: &mut Talk, pieces: Vec<Vec<u8>>) {
    let mut heard = true;
    for (number, piece) in pieces.into_iter().enumerate() {
        if heard && WAITS.contains(&number) {
            // Who said nothing once is not waited for again.
            heard = talk.until_kind("transcript.partial").await;
        }
        talk.play(piece).await;
    }
    talk.say("input.audio.end", json!({})).await;
    if talk.until_kind("transcript.final").await {
        talk.until_kind("response.final").await;
    }
}

#[cfg(test)]
#[path = "streaming_asr_tests.rs"]
mod tests;
