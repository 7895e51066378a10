//! Gate e2e-audio-test (v4.5/C5): audio in becomes audio out, and with any provider down a JSON error
//! frame comes within its bound.
//!
//! A file of audio is played in. What was heard, what the model said to it and what is spoken must be
//! one story; the speech is decoded back to text, and left as a file that a person can listen to. Then
//! each of recogniser, model and speech backend is down in each of three ways: it answers 503, its
//! port is closed, or it takes the call and says nothing. Each time one error frame of the right code
//! must come, the socket must still answer, and afterwards audio becomes audio again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::counted::Counted;
use super::speeches::heard;
use super::stage::{self, Stage, letters, pieces};
use super::talk::{BOUND, By, Line, Talk};
use super::wav;
use crate::base::json::merge;
use crate::chaos::approvals;
use crate::chaos::link::Link;
use crate::checks::durability::written::address;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::{Behaviour, Double, Point, tones};
use crate::target::Credential;
use crate::violation;

/// Letters of what is said.
const LETTERS: usize = 12;
/// Pieces in which it is sent.
const PIECES: usize = 5;
/// How long the target waits for a provider that says nothing. It waits that long for no other one.
const SHORT: Duration = Duration::from_millis(300);
/// The same for the model: its turn is waited for at the gateway, by every other case too.
const MODEL_SHORT: Duration = Duration::from_secs(2);

/// What is taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The recogniser.
    Asr,
    /// The model, behind the gateway.
    Model,
    /// The speech backend.
    Tts,
}

impl Provider {
    const ALL: [Self; 3] = [Self::Asr, Self::Model, Self::Tts];

    /// The code of the error frame.
    fn code(self) -> &'static str {
        match self {
            Self::Asr => "ASR_UNAVAILABLE",
            Self::Model => "TURN_FAILED",
            Self::Tts => "TTS_UNAVAILABLE",
        }
    }

    /// What comes of an utterance before it is this one's turn; none for the first.
    fn after(self) -> Option<&'static str> {
        match self {
            Self::Asr => None,
            Self::Model => Some("transcript.final"),
            Self::Tts => Some("response.final"),
        }
    }
}

/// How it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It answers 503.
    Refuses,
    /// Nobody listens on its port.
    Closed,
    /// It takes the call and says nothing.
    Hangs,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Conversations with everything up.
    pub loops: Vec<Loop>,
    /// Conversations with something down.
    pub downs: Vec<Down>,
    /// The session of the conversations before and after.
    pub turns: Counted,
}

/// Something was said, and nothing was down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Loop {
    /// What was said.
    pub text: String,
    /// What was said on the socket from then on.
    pub lines: Vec<Line>,
}

/// Something was said, and this was down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Down {
    /// What.
    pub provider: Provider,
    /// How.
    pub how: How,
    /// Whether it was typed: then the recogniser has nothing to do with it.
    pub typed: bool,
    /// What was said on the socket from then on.
    pub lines: Vec<Line>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    if seen.loops.is_empty() {
        judgement.undecided("nobody spoke");
    }
    for one in &seen.loops {
        let wrong = wrong(one);
        judgement.exercised("full_loops", u64::from(wrong.is_none()));
        if let Some(wrong) = wrong {
            violation!(judgement, "{:?} was said: {wrong}", one.text);
        }
    }
    let lines = seen.loops.iter().flat_map(|one| &one.lines);
    seen.turns.judge(lines, &mut judgement);
    let mut slowest_us = 0;
    for down in &seen.downs {
        let took_us = told(down, &mut judgement);
        judgement.exercised("providers_down", u64::from(took_us.is_some()));
        slowest_us = slowest_us.max(took_us.unwrap_or_default());
    }
    let count = |what: &str| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} of {} loops whole; {} of {} times that something was down told, after at most {} ms",
        count("full_loops"),
        seen.loops.len(),
        count("providers_down"),
        seen.downs.len(),
        slowest_us / 1000
    );
    judgement
}

/// What is wrong with a conversation in which nothing was down.
fn wrong(one: &Loop) -> Option<String> {
    let Loop { text, lines } = one;
    let first = |kind: &str| lines.iter().find(|line| line.is(kind));
    if let Some(error) = first("error") {
        return Some(format!("got the error {}, expected none", error.payload));
    }
    let transcript = first("transcript.final").map(Line::said);
    if transcript != Some(text.as_str()) {
        return Some(format!(
            "got the final transcript {transcript:?}, expected it"
        ));
    }
    let response = first("response.final").map(|line| &line.payload["assistant_text"]);
    let expected = answer(text);
    if response.and_then(Value::as_str) != Some(expected.as_str()) {
        return Some(format!(
            "got the answer {response:?}, expected {expected:?}"
        ));
    }
    let (speeches, stray) = heard(lines);
    if speeches.len() != 1 || !stray.is_empty() {
        let (speeches, stray) = (speeches.len(), stray.len());
        return Some(format!(
            "got {speeches} speeches and {stray} stray frames, expected 1 and 0"
        ));
    }
    let spoken = tones::hear(&speeches[0].pcm());
    (spoken != expected).then(|| format!("got {spoken:?} spoken, expected {expected:?}"))
}

/// A provider that is down is told of in time, and the socket goes on; after how long it was told.
fn told(down: &Down, judgement: &mut Judgement) -> Option<u64> {
    let (code, bound_us) = (down.provider.code(), BOUND.as_micros() as u64);
    let what = format!("{:?} {:?}", down.provider, down.how).to_lowercase();
    let came = |kind: &str| down.lines.iter().any(|line| line.is(kind));
    let errors: Vec<&Line> = down.lines.iter().filter(|line| line.is("error")).collect();
    let after = down
        .provider
        .after()
        .filter(|kind| !down.typed || *kind == "response.final");
    if after.is_some_and(|kind| !came(kind)) {
        let errors: Vec<&str> = errors.iter().map(|line| line.code()).collect();
        let after = after.unwrap_or_default();
        judgement.undecided(format!("{what}: no {after} before it, errors {errors:?}"));
        return None;
    }
    let ours = |line: &&Line| line.by == By::Us && line.kind != "control.ping";
    let asked_us = down.lines.iter().rfind(ours).map(|line| line.at_us)?;
    let pings = down.lines.iter().filter(|line| line.kind == "control.ping");
    let acks = down.lines.iter().filter(|line| line.is("ack"));
    let acks = acks.filter(|line| line.payload["of"] == "control.ping");
    let (pings, acks) = (pings.count(), acks.count());
    judgement.expect(pings == acks, || {
        format!("{what}: got {acks} answers to {pings} pings, expected as many")
    });
    if came("closed") {
        violation!(judgement, "{what}: the socket was closed, expected it open");
    }
    let [error] = errors.as_slice() else {
        let errors: Vec<&str> = errors.iter().map(|line| line.code()).collect();
        let bound = BOUND.as_millis();
        violation!(
            judgement,
            "{what}: got the errors {errors:?} within {bound} ms, expected [{code:?}]"
        );
        return None;
    };
    let whole = error.payload["message"].is_string() && error.payload["retryable"].is_boolean();
    judgement.expect(error.code() == code && whole, || {
        format!("{what}: got the error {}, expected {code}", error.payload)
    });
    let took_us = error.at_us.saturating_sub(asked_us);
    judgement.expect(took_us <= bound_us, || {
        format!(
            "{what}: told after {} ms, expected at most {}",
            took_us / 1000,
            bound_us / 1000
        )
    });
    Some(took_us)
}

/// What the model answers.
fn answer(text: &str) -> String {
    format!("You said: {text}")
}

/// A backend behind a link, so that its port can be closed while the target runs.
struct Behind {
    double: Double,
    link: Link,
}

impl Behind {
    async fn open(cx: &Cx, double: Double, name: &str) -> Result<Self, Undecided> {
        let link = Link::open(address(&double)?, cx.seed.child(name)).await?;
        Ok(Self { double, link })
    }

    async fn take_down(&mut self, how: How) {
        match how {
            How::Refuses => self.double.behave(Behaviour::fail(503)),
            How::Hangs => self.double.behave(Behaviour::hold(Point::Arrived)),
            How::Closed => self.link.refuse().await,
        }
    }

    async fn bring_up(&mut self) {
        self.double.behave(Behaviour::default());
        self.double.release();
        self.link.up().await;
    }
}

/// The backends, in the order of [`Provider::ALL`].
struct Backends([Behind; 3]);

impl Backends {
    async fn open(cx: &Cx) -> Result<Self, Undecided> {
        let stage = Stage::open(cx).await?;
        Ok(Self([
            Behind::open(cx, stage.asr, "asr").await?,
            Behind::open(cx, cx.models.clone(), "models").await?,
            Behind::open(cx, stage.tts, "tts").await?,
        ]))
    }

    fn of(&mut self, provider: Provider) -> &mut Behind {
        &mut self.0[provider as usize]
    }

    fn config(&self) -> Value {
        let [asr, models, tts] = &self.0;
        let mut config = stage::config(&asr.link.url(), &tts.link.url());
        let models = json!({"backends": {"models": {"url": models.link.url()}}});
        merge(&mut config, &models);
        config
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("speech").rng();
    let mut said = || letters(&mut rng, LETTERS);
    let mut backends = Backends::open(cx).await?;
    let instance = cx.start(backends.config()).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    seen.turns = Counted::before(&client, &session).await;
    let mut talk = Talk::open(cx, &client, &session).await?;
    let text = said();
    let pcm = from_file(cx, "in.wav", &tones::speak(&text))?;
    seen.loops.push(whole(cx, &mut talk, text, &pcm).await);
    to_file(cx, "out.wav", &seen.loops)?;
    for how in [How::Refuses, How::Closed] {
        for provider in Provider::ALL {
            let text = said();
            let backend = backends.of(provider);
            backend.take_down(how).await;
            say(cx, &mut talk, &tones::speak(&text)).await;
            let told = ends(&mut talk).await;
            seen.downs.push(down(&mut talk, provider, how, false).await);
            if !told {
                // Who is silent once is not asked again.
                return Ok(());
            }
            backend.bring_up().await;
        }
    }
    let text = said();
    let pcm = tones::speak(&text);
    seen.loops.push(whole(cx, &mut talk, text, &pcm).await);
    seen.turns.look_again(&client, &session).await;
    drop((talk, instance));
    hangs(cx, &mut backends, seen).await
}

/// What says nothing is waited for, and not for long. Elsewhere load would be taken for it, so this is
/// another target, and only the recogniser is spoken to.
async fn hangs(cx: &mut Cx, backends: &mut Backends, seen: &mut Evidence) -> Result<(), Undecided> {
    let (short, model) = (SHORT.as_millis() as u64, MODEL_SHORT.as_millis() as u64);
    let mut config = backends.config();
    let short = json!({
        "backends": {"models": {"timeout_ms": model}},
        "voice": {"asr": {"timeout_ms": short}, "tts": {"timeout_ms": short}},
    });
    merge(&mut config, &short);
    let instance = cx.start(config).await?;
    let client = instance.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    let mut talk = Talk::open(cx, &client, &session).await?;
    for provider in Provider::ALL {
        let backend = backends.of(provider);
        backend.take_down(How::Hangs).await;
        let typed = provider != Provider::Asr;
        if typed {
            talk.say_as("input.text", Some("t-1"), json!({"text": "are you there?"}))
                .await;
        } else {
            say(cx, &mut talk, &tones::speak("are you there?")).await;
        }
        let told = ends(&mut talk).await;
        seen.downs
            .push(down(&mut talk, provider, How::Hangs, typed).await);
        if !told {
            return Ok(());
        }
        backends.of(provider).bring_up().await;
    }
    Ok(())
}

/// Says this, piece by piece, and that it is all.
async fn say(cx: &Cx, talk: &mut Talk, pcm: &[u8]) {
    let mut rng = cx.seed.child("pieces").rng();
    talk.utter(pieces(&mut rng, pcm, PIECES)).await;
}

/// Listens until what was said has an end; false when it has none.
async fn ends(talk: &mut Talk) -> bool {
    talk.until(|line| line.is("error") || line.is("speech.ended"))
        .await
}

async fn whole(cx: &Cx, talk: &mut Talk, text: String, pcm: &[u8]) -> Loop {
    say(cx, talk, pcm).await;
    ends(talk).await;
    let lines = std::mem::take(&mut talk.lines);
    Loop { text, lines }
}

async fn down(talk: &mut Talk, provider: Provider, how: How, typed: bool) -> Down {
    talk.ping().await;
    Down {
        provider,
        how,
        typed,
        lines: std::mem::take(&mut talk.lines),
    }
}

/// Leaves audio as a file, and reads it from there.
fn from_file(cx: &Cx, name: &str, pcm: &[u8]) -> Result<Vec<u8>, Undecided> {
    cx.leave(name, &wav::wav(pcm)?)?;
    Ok(wav::pcm(&std::fs::read(cx.evidence_dir.join(name))?)?)
}

/// Leaves what was spoken as a file.
fn to_file(cx: &Cx, name: &str, loops: &[Loop]) -> Result<(), Undecided> {
    let lines = loops.iter().flat_map(|one| &one.lines);
    let spoken = lines.filter(|line| line.is("audio"));
    let pcm: Vec<u8> = spoken.flat_map(|line| line.bytes()).collect();
    Ok(cx.leave(name, &wav::wav(&pcm)?)?)
}

#[cfg(test)]
#[path = "e2e_audio_test_tests.rs"]
mod tests;
