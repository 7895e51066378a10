//! Gate voice-roundtrip-test: a text on the voice socket reaches the model through the gateway and
//! comes back unchanged, under one correlation id at every hop.
//!
//! Two sockets of two sessions, each under a correlation id of the harness's choice. The texts are
//! sent one after the other without waiting for answers; the model turns each round, so that nothing
//! but the model can have made an answer. The hops are the model, the gateway (what its answer says)
//! and the voice provider.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stage::{Stage, letters};
use super::talk::{By, Line, Talk};
use crate::chaos::approvals::session;
use crate::checks::{Cx, Judgement, Undecided};
use crate::doubles::Call;
use crate::target::Credential;
use crate::violation;

/// Sockets.
const SOCKETS: usize = 2;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The conversations. The target had its time for everything that it should have said.
    pub talks: Vec<Conversation>,
    /// Every call of the model.
    pub model: Vec<Call>,
    /// Every call of the voice provider.
    pub tts: Vec<Call>,
}

/// One of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Conversation {
    /// Its session.
    pub session: String,
    /// What it was opened under.
    pub correlation_id: String,
    /// What was said.
    pub lines: Vec<Line>,
}

/// A text of a conversation.
struct Text<'a> {
    of: &'a Conversation,
    /// Our name of it.
    id: &'a str,
    text: &'a str,
}

impl Conversation {
    fn texts(&self) -> impl Iterator<Item = Text<'_>> {
        let ours = |line: &&Line| line.by == By::Us && line.kind == "input.text";
        self.lines.iter().filter(ours).map(|line| Text {
            of: self,
            id: line.turn_id.as_deref().unwrap_or_default(),
            text: line.said(),
        })
    }
}

/// What the model says to a text: the same, the other way round.
fn round(text: &str) -> String {
    text.chars().rev().collect()
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["round_trips", "hops"] {
        judgement.exercised(counter, 0);
    }
    let texts: Vec<Text<'_>> = seen.talks.iter().flat_map(Conversation::texts).collect();
    for text in &texts {
        let before = judgement.violations.len();
        let turn = text.came_back(&mut judgement);
        text.passed(seen, turn, &mut judgement);
        let right = judgement.violations.len() == before;
        judgement.exercised("round_trips", u64::from(right));
    }
    for call in &seen.model {
        let input = call.body["input_text"].as_str().unwrap_or_default();
        judgement.expect(texts.iter().any(|text| text.text == input), || {
            format!("the model was told {input:?}, expected one of the texts that were sent")
        });
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} of {} texts came back, {} hops under the id of their socket: {} violations",
        count("round_trips"),
        texts.len(),
        count("hops"),
        judgement.violations.len()
    );
    judgement
}

impl Text<'_> {
    /// The gateway's name of its turn, as the answer has it.
    fn came_back(&self, judgement: &mut Judgement) -> Value {
        let Self { of, id, text } = self;
        let about = |line: &&Line| line.turn_id.as_deref() == Some(id);
        let named = |kind: &'static str| {
            let lines = of.lines.iter().filter(about);
            lines.filter(move |line| line.is(kind)).collect::<Vec<_>>()
        };
        let (acks, finals) = (named("ack"), named("response.final"));
        let heard = |line: &&Line| line.payload["of"] == "input.text";
        judgement.expect(acks.len() == 1 && acks.iter().all(heard), || {
            format!("{id}: got {} acks, expected 1 of input.text", acks.len())
        });
        let [answer] = finals[..] else {
            let got = finals.len();
            violation!(
                judgement,
                "{id}: got {got} times response.final, expected 1"
            );
            return Value::Null;
        };
        let (got, expected) = (&answer.payload["assistant_text"], round(text));
        judgement.expect(got == expected.as_str(), || {
            format!("{id}: got {got} back, expected {expected:?}")
        });
        let session = &answer.payload["session_id"];
        judgement.expect(session == of.session.as_str(), || {
            format!(
                "{id}: got {session} as the session, expected {}",
                of.session
            )
        });
        let got = answer.payload["correlation_id"].as_str();
        self.hop("the gateway's answer", got, judgement);
        answer.payload["turn_id"].clone()
    }

    /// What the backends were told.
    fn passed(&self, seen: &Evidence, turn: Value, judgement: &mut Judgement) {
        let Self { of, id, text } = self;
        let model = |call: &&Call| call.body["input_text"] == *text;
        let model: Vec<&Call> = seen.model.iter().filter(model).collect();
        if let [call] = model[..] {
            let (got, expected) = (&call.body["session_id"], &of.session);
            judgement.expect(got == expected.as_str(), || {
                format!("{id}: the model was told the session {got}, expected {expected}")
            });
            let got = &call.body["turn_id"];
            judgement.expect(*got == turn, || {
                format!("{id}: the model was told the turn {got}, the answer says {turn}")
            });
            self.hop("the model", header(call), judgement);
        } else {
            let got = model.len();
            violation!(
                judgement,
                "{id}: the model was told {got} times, expected 1"
            );
        }
        let answer = round(text);
        let spoken = seen
            .tts
            .iter()
            .filter(|call| call.body["text"] == answer.as_str());
        for call in spoken {
            self.hop("the voice provider", header(call), judgement);
        }
    }

    fn hop(&self, at: &str, got: Option<&str>, judgement: &mut Judgement) {
        let expected = &self.of.correlation_id;
        let right = got == Some(expected.as_str());
        judgement.exercised("hops", u64::from(right));
        judgement.expect(right, || {
            let id = self.id;
            format!("{id}: got the correlation id {got:?} at {at}, expected {expected}")
        });
    }
}

fn header(call: &Call) -> Option<&str> {
    call.headers.get("x-correlation-id").map(String::as_str)
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session in it.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let stage = Stage::open(cx).await?;
    cx.models.script(|request| {
        let text = request["input_text"].as_str().unwrap_or_default();
        json!({"text": round(text), "tool_calls": []})
    });
    let mut target = cx.start(stage.config()).await?;
    let client = target.client(Credential::Operator(1));
    let mut rng = cx.seed.child("round trips").rng();
    for number in 0..SOCKETS {
        let session = session(&client).await?;
        let correlation_id = format!("vce_{}", letters(&mut rng, 12));
        let mut talk = Talk::under(cx, &client, &session, &correlation_id).await?;
        let texts = texts(&mut rng);
        let last = format!("t-{number}-{}", texts.len() - 1);
        for (at, text) in texts.iter().enumerate() {
            let id = format!("t-{number}-{at}");
            talk.say_as("input.text", Some(&id), json!({"text": text}))
                .await;
        }
        let over = |line: &Line| line.is("speech.ended") || line.is("error");
        talk.until(|line| line.turn_id.as_deref() == Some(&last) && over(line))
            .await;
        seen.talks.push(Conversation {
            session,
            correlation_id,
            lines: talk.lines,
        });
    }
    seen.model = cx.models.asked();
    seen.tts = stage.tts.asked();
    target.exited();
    Ok(())
}

/// Texts in which nothing is to be lost, each with letters of its own.
fn texts(rng: &mut impl Rng) -> Vec<String> {
    let plain = letters(rng, 8);
    let envelope = json!({"type": "input.text", "payload": {"text": letters(rng, 6)}});
    let number: u32 = rng.random();
    vec![
        plain,
        format!(" \"{number}\" ä€😀\n\\ "),
        envelope.to_string(),
    ]
}

#[cfg(test)]
#[path = "voice_roundtrip_test_tests.rs"]
mod tests;
