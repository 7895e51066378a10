//! One request for an inference, and what it came to: an answer, and calls of the model.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::random_id;
use crate::checks::{Cx, Judgement, Sent, Undecided, bench};
use crate::target::{Ask, Client};
use crate::violation;

const SERVICE: &str = "perception";

/// Which way to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// `POST /v1/perception/analyze`.
    Analyze,
    /// `POST /v1/perception/events`.
    Event,
}

/// What should become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// 403, and the model is not asked.
    Denied,
    /// It is answered with what the model says, which is asked once.
    Allowed,
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inference {
    /// What is known of the session: `no record`, `GRANTED`, ...
    pub case: String,
    /// The way it went.
    pub path: Path,
    /// What should become of it.
    pub due: Due,
    /// What the model is asked by it, and by nothing else.
    pub marker: String,
    /// The request.
    pub sent: Sent,
    /// Calls of the model with that marker, at the end; none when the drive stopped before.
    pub calls: Option<u64>,
}

impl Inference {
    /// Asks for an inference about a session; null names none.
    pub(super) async fn ask(
        client: &Client,
        marker: String,
        (case, path, due): (&str, Path, Due),
        session: &Value,
    ) -> Self {
        let ask = match path {
            Path::Analyze => {
                let body = json!({"session_id": session, "data": "AAECAw==", "prompt": marker});
                Ask::post(SERVICE, "/v1/perception/analyze", body)
            }
            Path::Event => {
                let body = json!({"session_id": session, "type": "motion", "text": marker});
                Ask::post(SERVICE, "/v1/perception/events", body)
            }
        };
        Self {
            case: case.to_owned(),
            path,
            due,
            marker,
            sent: Sent::new(&client.send(ask).await, client.credential()),
            calls: None,
        }
    }

    /// Counts what the model was asked.
    pub(super) fn count(&mut self, cx: &Cx) {
        let calls = cx.models.calls();
        let ours = calls
            .iter()
            .filter(|call| call.body["input_text"] == self.marker.as_str());
        self.calls = Some(ours.count() as u64);
    }

    /// Judges it; whether it is as it should be.
    pub(super) fn judge(&self, judgement: &mut Judgement) -> bool {
        let (case, line) = (&self.case, self.sent.line());
        let Some(calls) = self.calls else {
            judgement.undecided(format!(
                "{case}: {line}: the calls of the model were not counted"
            ));
            return false;
        };
        let before = judgement.violations.len();
        match self.due {
            Due::Denied => {
                judgement.expect(self.sent.status == 403, || {
                    format!("{case}: {line}: got {}, expected 403", self.sent.status)
                });
                judgement.expect(calls == 0, || {
                    format!("{case}: {line}: got {calls} calls of the model, expected 0")
                });
            }
            Due::Allowed => {
                judgement.expect(self.sent.ok(), || {
                    format!("{case}: {line}: got {}, expected 2xx", self.sent.status)
                });
                judgement.expect(calls == 1, || {
                    format!("{case}: {line}: got {calls} calls of the model, expected 1")
                });
                let said = format!("You said: {}", self.marker);
                let text = &self.sent.answer["text"];
                if self.sent.ok() && text.as_str() != Some(&said) {
                    violation!(
                        judgement,
                        "{case}: {line}: got text {text}, expected {said:?}"
                    );
                }
            }
        }
        judgement.violations.len() == before
    }
}

/// Ids and markers that nobody else has.
pub(super) struct Names(rand::rngs::ChaCha8Rng);

impl Names {
    pub(super) fn new(cx: &Cx) -> Self {
        Self(cx.seed.child("names").rng())
    }

    /// A session that nobody knows.
    pub(super) fn session(&mut self) -> String {
        random_id("ses_", &mut self.0)
    }

    /// What a model is asked once.
    pub(super) fn marker(&mut self) -> String {
        random_id("what is ", &mut self.0)
    }
}

/// Takes a session's consent these steps on.
///
/// # Errors
/// When a step is not done.
pub(super) async fn consent(
    client: &Client,
    session: &str,
    steps: &[&str],
) -> Result<(), Undecided> {
    for step in steps {
        done(client, bench::consent(step, session)).await?;
    }
    Ok(())
}

/// Switches a session's privacy on (`enable`) or off (`disable`).
///
/// # Errors
/// When that is not done.
pub(super) async fn privacy(client: &Client, session: &str, switch: &str) -> Result<(), Undecided> {
    done(client, bench::privacy(switch, session)).await
}

async fn done(client: &Client, ask: Ask) -> Result<(), Undecided> {
    bench::done(&client.send(ask).await)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answered inference as it should be.
    pub(crate) fn inference(case: &str, path: Path, due: Due) -> Inference {
        let marker = format!("what is {case}");
        let (status, answer, calls) = match due {
            Due::Denied => (403, json!({"error": {"code": "CONSENT_REQUIRED"}}), Some(0)),
            Due::Allowed => (200, json!({"text": format!("You said: {marker}")}), Some(1)),
        };
        let sent = serde_json::from_value(json!({
            "service": SERVICE, "method": "POST", "path": "/v1/perception/analyze",
            "actor": "op-1", "role": "operator", "id": "cor_1", "invoked_us": 1,
            "returned_us": 2, "status": status, "answer": answer,
        }));
        Inference {
            case: case.to_owned(),
            path,
            due,
            marker,
            sent: sent.unwrap(),
            calls,
        }
    }

    fn violations(due: Due, spoil: impl FnOnce(&mut Inference)) -> Vec<String> {
        let mut one = inference("one", Path::Analyze, due);
        spoil(&mut one);
        let mut judgement = Judgement::default();
        assert_eq!(one.judge(&mut judgement), judgement.violations.is_empty());
        judgement.violations
    }

    #[test]
    fn a_refusal_with_a_call_and_a_yes_without_one_are_violations() {
        assert_eq!(violations(Due::Denied, |_| {}), [""; 0]);
        assert_eq!(violations(Due::Allowed, |_| {}), [""; 0]);
        let bad = [
            violations(Due::Denied, |one| one.sent.status = 200),
            violations(Due::Denied, |one| one.sent.status = 503),
            violations(Due::Denied, |one| one.sent.status = 0),
            violations(Due::Denied, |one| one.calls = Some(1)),
            violations(Due::Allowed, |one| one.sent.status = 403),
            violations(Due::Allowed, |one| one.calls = Some(0)),
            violations(Due::Allowed, |one| one.calls = Some(2)),
            violations(Due::Allowed, |one| one.sent.answer = json!({"ok": true})),
        ];
        for found in bad {
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_calls_that_nobody_counted() {
        for due in [Due::Denied, Due::Allowed] {
            let mut one = inference("one", Path::Analyze, due);
            one.calls = None;
            let mut judgement = Judgement::default();
            assert!(!one.judge(&mut judgement));
            assert_eq!(judgement.violations, [""; 0]);
            assert_eq!(judgement.undecided.len(), 1);
        }
    }
}
