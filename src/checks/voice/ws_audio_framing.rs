//! Gate ws-audio-framing: raw audio and JSON share one socket: each frame gets its reply or a clean
//! error, and the socket stays open.
//!
//! Several times over, on one socket: audio between frames of JSON, a frame of the greatest length
//! that is allowed, one past it, one of odd length, text that is no JSON, a type that nobody knows, and
//! audio whose bytes read as a ping. Replies are awaited one by one and have to come in their order;
//! audio gets none: it is what the speech provider hears, all of it and nothing else. At the end a text
//! is answered aloud, so that both kinds of frames come back too.

use std::collections::VecDeque;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stage::{Stage, letters};
use super::talk::{BOUND, By, Line, Talk};
use crate::chaos::approvals::session;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::{speech::pcm_of, tones};
use crate::target::Credential;
use crate::violation;

/// The longest binary frame that the target is told to take: four letters.
const LONGEST: usize = 4 * tones::FRAME_BYTES;
/// Letters of an utterance.
const LETTERS: usize = 7;
/// Utterances.
const ROUNDS: usize = 3;
/// The text that is answered aloud.
const TEXT: &str = "And you?";

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The longest binary frame that the target was told to take.
    pub longest: usize,
    /// The conversation. The target had its time for everything that it should have said.
    pub lines: Vec<Line>,
    /// Every piece of audio that the speech provider got.
    pub pieces: Vec<Value>,
}

/// A reply that a message gets at once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    /// It was heard: whose, and what.
    Ack(Option<String>, String),
    /// It was refused: whose, and the code.
    Error(Option<String>, String),
}

/// The reply that a message of ours is to get; audio that is right gets none.
fn owed(line: &Line, longest: usize) -> Option<Reply> {
    let refused = |code: &str| Some(Reply::Error(line.turn_id.clone(), code.to_owned()));
    match line.kind.as_str() {
        "audio" => match line.bytes().len() {
            bytes if bytes > longest => refused("AUDIO_TOO_LARGE"),
            bytes if bytes % 2 == 1 => refused("AUDIO_MALFORMED"),
            _ => None,
        },
        "" => refused("FRAME_MALFORMED"),
        "control.ping" | "input.audio.end" | "input.text" => {
            Some(Reply::Ack(line.turn_id.clone(), line.kind.clone()))
        }
        _ => refused("FRAME_UNKNOWN"),
    }
}

/// The reply that a line of the target is, if it is one.
fn reply(line: &Line) -> Option<Reply> {
    let own = ["FRAME_", "AUDIO_"];
    let turn_id = line.turn_id.clone();
    if line.is("ack") {
        let of = line.payload["of"].as_str().unwrap_or_default();
        return Some(Reply::Ack(turn_id, of.to_owned()));
    }
    let about_frames = own.iter().any(|prefix| line.code().starts_with(prefix));
    (line.is("error") && about_frames).then(|| Reply::Error(turn_id, line.code().to_owned()))
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["frames", "error_frames"] {
        judgement.exercised(counter, 0);
    }
    let mut waiting: VecDeque<Reply> = VecDeque::new();
    for line in &seen.lines {
        match line.by {
            By::Us => waiting.extend(owed(line, seen.longest)),
            By::Target => came(line, &mut waiting, &mut judgement),
        }
    }
    for reply in waiting {
        violation!(judgement, "got no reply, expected {reply:?}");
    }
    let pieces = heard(seen, &mut judgement);
    let spoken = spoken(seen, &mut judgement);
    judgement.exercised("frames", pieces);
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} frames on one socket, {} of them refused, {pieces} of them audio; {spoken} frames of \
         audio came back: {} violations",
        count("frames"),
        count("error_frames"),
        judgement.violations.len()
    );
    judgement
}

fn came(line: &Line, waiting: &mut VecDeque<Reply>, judgement: &mut Judgement) {
    if line.is("closed") {
        let code = &line.payload["code"];
        violation!(
            judgement,
            "the socket was closed with {code}, expected open"
        );
    }
    let Some(got) = reply(line) else {
        return;
    };
    match waiting.pop_front() {
        Some(expected) if got == expected => {
            judgement.exercised("frames", 1);
            let refused = matches!(got, Reply::Error(..));
            judgement.exercised("error_frames", u64::from(refused));
        }
        Some(expected) => violation!(judgement, "got {got:?}, expected {expected:?}"),
        None => violation!(judgement, "got {got:?}, expected no reply"),
    }
}

/// How many frames of audio were right, when what was heard is all of them and nothing else.
fn heard(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let ours = seen.lines.iter().filter(|line| line.by == By::Us);
    let audio: Vec<Vec<u8>> = ours
        .filter(|line| line.kind == "audio" && owed(line, seen.longest).is_none())
        .map(Line::bytes)
        .collect();
    let (expected, got) = (audio.concat(), pcm(&seen.pieces));
    if got == expected {
        return audio.len() as u64;
    }
    let same = got.iter().zip(&expected).take_while(|(a, b)| a == b);
    violation!(
        judgement,
        "the speech provider got {} bytes, the first {} as they were sent, expected all {}",
        got.len(),
        same.count(),
        expected.len()
    );
    0
}

/// How many frames of audio came back.
fn spoken(seen: &Evidence, judgement: &mut Judgement) -> usize {
    let odd = |line: &&Line| line.bytes().len() % 2 == 1;
    let frames: Vec<&Line> = seen.lines.iter().filter(|line| line.is("audio")).collect();
    if let Some(frame) = frames.iter().copied().find(odd) {
        let bytes = frame.bytes().len();
        violation!(
            judgement,
            "got {bytes} bytes of audio in a frame, expected whole samples"
        );
    }
    let asked = |line: &Line| line.by == By::Us && line.kind == "input.text";
    judgement.expect(!frames.is_empty() || !seen.lines.iter().any(asked), || {
        "got no audio for a text, expected an answer aloud".to_owned()
    });
    frames.len()
}

fn pcm(pieces: &[Value]) -> Vec<u8> {
    pieces.iter().flat_map(pcm_of).collect()
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session in it.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let stage = Stage::open(cx).await?;
    let mut config = stage.config();
    config["voice"]["frame_bytes"] = json!(LONGEST);
    let mut target = cx.start(config).await?;
    let client = target.client(Credential::Operator(1));
    let session = session(&client).await?;
    let mut talk = Talk::open(cx, &client, &session).await?;
    let mut rng = cx.seed.child("framing").rng();
    let mut sent = 0;
    for round in 0..ROUNDS {
        if !utter(&mut talk, &mut rng, round).await {
            break;
        }
        sent += LETTERS * tones::FRAME_BYTES + tones::FRAME_BYTES;
        let all = || async { (pcm(&pieces(&stage)).len() >= sent).then_some(()) };
        // What is missing is the judge's to see.
        if cx.until("audio at the provider", BOUND, all).await.is_err() {
            break;
        }
    }
    talk.say_as("input.text", Some("t-1"), json!({"text": TEXT}))
        .await;
    let answered = |line: &Line| line.turn_id.as_deref() == Some("t-1") && !line.is("ack");
    let over = |line: &Line| line.is("speech.ended") || line.is("error");
    talk.until(|line| answered(line) && over(line)).await;
    seen.longest = LONGEST;
    seen.lines = talk.lines;
    seen.pieces = pieces(&stage);
    target.exited();
    Ok(())
}

fn pieces(stage: &Stage) -> Vec<Value> {
    let calls = stage.asr.asked().into_iter();
    calls.map(|call| call.body).collect()
}

/// One utterance among everything else; false when a reply did not come.
async fn utter(talk: &mut Talk, rng: &mut impl Rng, round: usize) -> bool {
    let audio = tones::speak(&letters(rng, LETTERS));
    let (first, rest) = audio.split_at(LONGEST);
    let (second, third) = rest.split_at(2 * rng.random_range(1..rest.len() / 2));
    let odd = 1 + 2 * rng.random_range(0..LONGEST / 2);
    let more = LONGEST + 2 * rng.random_range(1..LONGEST);
    let id = |what: &str| format!("{what}-{round}");
    let nothing = || json!({});
    talk.say_as("control.ping", Some(&id("ping")), nothing())
        .await;
    let mut right = replied(talk).await;
    talk.play(first.to_vec()).await;
    talk.say_as("control.unheard-of", Some(&id("new")), nothing())
        .await;
    right = right && replied(talk).await;
    talk.play(second.to_vec()).await;
    talk.play(vec![0x40; odd]).await;
    right = right && replied(talk).await;
    talk.play(third.to_vec()).await;
    talk.write("{\"type\": \"control.ping\", ").await;
    right = right && replied(talk).await;
    talk.play(vec![0x40; more]).await;
    right = right && replied(talk).await;
    talk.play(reads_as_a_ping(&id("audio"))).await;
    talk.say_as("control.ping", Some(&id("pong")), nothing())
        .await;
    right = right && replied(talk).await;
    talk.say("input.audio.end", nothing()).await;
    right && replied(talk).await
}

/// Waits for whatever is a reply to a message.
async fn replied(talk: &mut Talk) -> bool {
    talk.until(|line| reply(line).is_some()).await
}

/// A frame of loud audio whose bytes are a ping in JSON, with spaces after it.
fn reads_as_a_ping(id: &str) -> Vec<u8> {
    let frame = json!({"type": "control.ping", "turn_id": id, "payload": {}});
    let mut bytes = frame.to_string().into_bytes();
    bytes.resize(tones::FRAME_BYTES, b' ');
    bytes
}

#[cfg(test)]
#[path = "ws_audio_framing_tests.rs"]
mod tests;
