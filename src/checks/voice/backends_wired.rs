//! Gate backends-wired: a configured speech provider gets the exact audio, and a configured voice
//! provider the exact text.
//!
//! Letters are spoken in pieces that are cut anywhere, and the model answers each utterance in words
//! that need care. What the speech provider got has to be every byte in its order, what was understood
//! what it made of them, what the voice provider was asked for the answer as it stands, and what was
//! played what it made of that.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pipecat::{backends_until, tells};
use super::stage::{Stage, letters, pieces};
use super::talk::{BOUND, By, Line, Talk};
use crate::chaos::approvals::session;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::doubles::{Double, speech::pcm_of, tones};
use crate::target::Credential;
use crate::violation;

/// Utterances.
const UTTERANCES: usize = 3;
/// Letters of one.
const LETTERS: usize = 6;
/// Pieces that one is sent in.
const PIECES: usize = 4;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// `/voice/backends`.
    pub backends: Option<Sent>,
    /// The conversation, one utterance after the other.
    pub lines: Vec<Line>,
    /// Every piece of audio that the speech provider got, in order.
    pub pieces: Vec<Value>,
    /// Every text that the voice provider was asked for, in order.
    pub asked: Vec<Value>,
}

/// What the model says to a text.
fn answer(text: &str) -> String {
    format!(" \"{text}\"\\ \u{e4}\u{20ac} {{}}\n{text} ")
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let asr = heard(seen, &mut judgement);
    let tts = said(seen, &mut judgement);
    judgement.exercised("asr_calls", asr);
    judgement.exercised("tts_calls", tts);
    told(seen, &mut judgement);
    let bytes: usize = seen.pieces.iter().map(|piece| pcm_of(piece).len()).sum();
    judgement.detail = format!(
        "{asr} calls with {bytes} bytes of audio as they were sent, {tts} texts as they were \
         answered: {} violations",
        judgement.violations.len()
    );
    judgement
}

/// The audio of each utterance.
fn utterances(lines: &[Line]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for line in lines.iter().filter(|line| line.by == By::Us) {
        match line.kind.as_str() {
            "audio" => all
                .last_mut()
                .into_iter()
                .for_each(|last| last.extend(line.bytes())),
            "input.audio.end" => all.push(Vec::new()),
            _ => {}
        }
    }
    all.retain(|one| !one.is_empty());
    all
}

/// How many calls the speech provider got, when they are right.
fn heard(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let spoken = utterances(&seen.lines);
    let before = judgement.violations.len();
    let mut streams: Vec<(&Value, Vec<&Value>)> = Vec::new();
    for piece in &seen.pieces {
        let stream = &piece["stream"];
        match streams.iter_mut().find(|(name, _)| *name == stream) {
            Some((_, pieces)) => pieces.push(piece),
            None => streams.push((stream, vec![piece])),
        }
    }
    judgement.expect(streams.len() == spoken.len(), || {
        let (got, expected) = (streams.len(), spoken.len());
        format!("the speech provider heard {got} utterances, expected {expected}")
    });
    let finals = seen.lines.iter().filter(|line| line.is("transcript.final"));
    let finals: Vec<&str> = finals.map(Line::said).collect();
    for (at, (pcm, (_, pieces))) in spoken.iter().zip(&streams).enumerate() {
        let got: Vec<u8> = pieces.iter().flat_map(|piece| pcm_of(piece)).collect();
        judgement.expect(got == *pcm, || {
            let same = got.iter().zip(pcm).take_while(|(a, b)| a == b).count();
            let (got, all) = (got.len(), pcm.len());
            format!(
                "utterance {at}: the speech provider got {got} bytes, the first {same} as they \
                 were sent, expected all {all}"
            )
        });
        let numbers: Vec<_> = pieces
            .iter()
            .map(|piece| piece["sequence"].as_u64())
            .collect();
        let expected: Vec<_> = (0..pieces.len() as u64).map(Some).collect();
        judgement.expect(numbers == expected, || {
            format!("utterance {at}: got the pieces {numbers:?}, expected {expected:?}")
        });
        let ends = pieces.iter().filter(|piece| piece["final"] == true).count();
        let last = pieces.last().is_some_and(|piece| piece["final"] == true);
        judgement.expect(ends == 1 && last, || {
            format!("utterance {at}: got {ends} last pieces, expected one, at the end")
        });
        let (got, expected) = (finals.get(at).copied(), tones::hear(pcm));
        judgement.expect(got == Some(expected.as_str()), || {
            format!("utterance {at}: got {got:?} as the transcript, expected {expected:?}")
        });
    }
    let right = judgement.violations.len() == before;
    if right { seen.pieces.len() as u64 } else { 0 }
}

/// How many texts the voice provider was asked for, when they are right.
fn said(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let before = judgement.violations.len();
    let finals = seen.lines.iter().filter(|line| line.is("response.final"));
    let answers: Vec<String> = finals
        .map(|line| {
            line.payload["assistant_text"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let understood = seen.lines.iter().filter(|line| line.is("transcript.final"));
    let expected: Vec<String> = understood.map(|line| answer(line.said())).collect();
    judgement.expect(answers == expected, || {
        format!("got the answers {answers:?}, expected {expected:?}")
    });
    let asked: Vec<&str> = seen
        .asked
        .iter()
        .map(|body| body["text"].as_str().unwrap_or_default())
        .collect();
    judgement.expect(asked == answers, || {
        format!("the voice provider was asked for {asked:?}, expected {answers:?}")
    });
    let frames = seen.lines.iter().filter(|line| line.is("audio"));
    let played: Vec<u8> = frames.flat_map(Line::bytes).collect();
    let made: Vec<u8> = answers.iter().flat_map(|text| tones::speak(text)).collect();
    judgement.expect(played == made, || {
        let same = played.iter().zip(&made).take_while(|(a, b)| a == b).count();
        let (got, all) = (played.len(), made.len());
        format!("got {got} bytes of audio, the first {same} as they were made, expected all {all}")
    });
    let right = judgement.violations.len() == before;
    if right { seen.asked.len() as u64 } else { 0 }
}

/// What is told of the providers.
fn told(seen: &Evidence, judgement: &mut Judgement) {
    let Some(sent) = &seen.backends else {
        judgement.undecided("nobody asked for the providers");
        return;
    };
    for kind in ["asr", "tts"] {
        judgement.expect(tells(&sent.answer, kind, Some("http"), true), || {
            let got = &sent.answer[kind];
            format!("{kind}: got {got}, expected the provider http, available")
        });
    }
    let vad = &sent.answer["vad"];
    if vad["provider"].as_str().is_none_or(str::is_empty) || vad["available"] != true {
        violation!(
            judgement,
            "vad: got {vad}, expected a provider that is available"
        );
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session in it.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let stage = Stage::open(cx).await?;
    cx.models.script(|request| {
        let text = request["input_text"].as_str().unwrap_or_default();
        json!({"text": answer(text), "tool_calls": []})
    });
    let mut target = cx.start(stage.config()).await?;
    let client = target.client(Credential::Operator(1));
    let both = |told: &Value| {
        let there = |kind| tells(told, kind, Some("http"), true);
        there("asr") && there("tts")
    };
    seen.backends = Some(backends_until(cx, &client, BOUND, both).await);
    let session = session(&client).await?;
    let mut talk = Talk::open(cx, &client, &session).await?;
    let mut rng = cx.seed.child("utterances").rng();
    for _ in 0..UTTERANCES {
        let spoken = tones::speak(&letters(&mut rng, LETTERS));
        talk.utter(pieces(&mut rng, &spoken, PIECES)).await;
        let over = |line: &Line| line.is("speech.ended") || line.is("error");
        if !talk.until(over).await {
            break;
        }
    }
    seen.lines = talk.lines;
    let bodies = |double: &Double| double.asked().into_iter().map(|call| call.body).collect();
    seen.pieces = bodies(&stage.asr);
    seen.asked = bodies(&stage.tts);
    target.exited();
    Ok(())
}

#[cfg(test)]
#[path = "backends_wired_tests.rs"]
mod tests;
