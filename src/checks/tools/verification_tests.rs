//! Gate verification-tests: the three round trips of verification, a written file, a shell run and an
//! extraction, each accept the honest run and catch an injected lie.
//!
//! File and shell go by way of actions. The extraction begins with a model: its answer has a guarded
//! call, a person approves it, and the tool writes the file or does not. All tools say that they
//! succeeded, and that it was verified; the model says of its own call that it was executed already.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deeds::{Action, Deed, World, as_told, send};
use crate::chaos::approvals::{markers, session};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// The deeds that go by way of an action.
const ACTIONS: [Deed; 4] = [
    Deed::FileWritten,
    Deed::FileMissing,
    Deed::Exit0,
    Deed::Exit1,
];
/// The deeds that begin with a model.
const EXTRACTIONS: [Deed; 2] = [Deed::FileWritten, Deed::FileMissing];

/// A call, from a model's answer to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Extraction {
    /// What its tool really did.
    pub deed: Deed,
    /// Its arguments.
    pub args: Value,
    /// The turn whose model wanted it.
    pub turn: Sent,
    /// Calls of its tool before anybody approved it.
    pub early: u64,
    /// Its approval.
    pub approved: Sent,
    /// Calls of its tool in the end.
    pub runs: u64,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Files and shells.
    pub actions: Vec<Action>,
    /// Extractions.
    pub extractions: Vec<Extraction>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["honest_runs", "lies"] {
        judgement.exercised(counter, 0);
    }
    let counter = |deed: Deed| if deed.honest() { "honest_runs" } else { "lies" };
    for action in &seen.actions {
        if !action.told() {
            judgement.undecided(format!("{:?} could not be followed", action.deed));
            continue;
        }
        let wrong = action.wrong();
        judgement.exercised(counter(action.deed), u64::from(wrong.is_empty()));
        judgement.violations.extend(wrong);
    }
    for extraction in &seen.extractions {
        if !(extraction.turn.answered() && extraction.approved.answered()) {
            let deed = extraction.deed;
            judgement.undecided(format!("the extraction of {deed:?} could not be followed"));
            continue;
        }
        let before = judgement.violations.len();
        extraction.judge(&mut judgement);
        let right = judgement.violations.len() == before;
        judgement.exercised(counter(extraction.deed), u64::from(right));
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "file, shell and extraction: {} honest runs accepted, {} lies caught: {} violations",
        count("honest_runs"),
        count("lies"),
        judgement.violations.len()
    );
    judgement
}

impl Extraction {
    /// The call in the turn's answer.
    fn told(&self) -> &Value {
        let calls = self.turn.answer["tool_calls"].as_array();
        let mine = |call: &&Value| call["args"] == self.args;
        calls
            .and_then(|calls| calls.iter().find(mine))
            .unwrap_or(&Value::Null)
    }

    fn judge(&self, judgement: &mut Judgement) {
        let (deed, line, told) = (self.deed, self.turn.line(), self.told());
        let waits = self.turn.ok() && told["status"] == "confirmation_required";
        judgement.expect(waits && told["result"].is_null(), || {
            format!(
                "{deed:?}: {line}: got {told}, expected a call that waits, whatever the model says"
            )
        });
        for (got, expected, when) in [(self.early, 0, "before"), (self.runs, 1, "after")] {
            judgement.expect(got == expected, || {
                format!(
                    "{deed:?}: its tool ran {got} times {when} the approval, expected {expected}"
                )
            });
        }
        let said = &self.approved.answer["execution"]["status"];
        let expected = if deed.honest() { "succeeded" } else { "failed" };
        if !(self.approved.status == 200 && said == expected) {
            let line = self.approved.line();
            violation!(
                judgement,
                "{deed:?}: {line}: got {said}, expected 200 and {expected}"
            );
        }
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let all = [&ACTIONS[..], &EXTRACTIONS[..]].concat();
    let markers = markers(cx.seed, "verified", all.len());
    let deeds = markers.iter().cloned().zip(all.iter().copied());
    let world = World::open(cx, deeds, json!({"verified": true}))?;
    cx.models.script(says_it_did);
    let instance = cx.start(world.config()).await?;
    let client = instance.client(Credential::Operator(1));
    let session = session(&client).await?;
    for (number, (marker, deed)) in markers.iter().zip(all).enumerate() {
        let about = (deed, world.args(marker));
        if number < ACTIONS.len() {
            seen.actions
                .push(Action::act(cx, &client, &session, about).await);
        } else {
            seen.extractions
                .push(extract(cx, &client, &session, about).await);
        }
    }
    Ok(())
}

/// The model wants the call that it is told of, in JSON, and says that it was executed already.
fn says_it_did(request: &Value) -> Value {
    let mut answer = as_told(request);
    for call in answer["tool_calls"].as_array_mut().into_iter().flatten() {
        call["status"] = json!("executed");
        call["result"] = json!({"bytes": 5, "verified": true});
    }
    answer
}

async fn extract(cx: &Cx, client: &Client, session: &str, about: (Deed, Value)) -> Extraction {
    let (deed, args) = about;
    let call = json!({"tool_name": deed.tool(), "args": args});
    let body = json!({"session_id": session, "input_text": json!([call]).to_string()});
    let turn = send(client, Ask::post("api-gateway", "/v3/turn", body)).await;
    let runs = || {
        let calls = cx.tools.calls();
        calls
            .iter()
            .filter(|call| call.body["args"] == args)
            .count() as u64
    };
    let early = runs();
    let calls = turn.answer["tool_calls"].as_array();
    let id = calls.and_then(|calls| calls.first()?["confirmation_id"].as_str());
    let path = format!("/v3/confirmations/{}/approve", id.unwrap_or("cnf_none"));
    let approved = send(client, Ask::post("api-gateway", &path, json!({}))).await;
    Extraction {
        deed,
        turn,
        early,
        approved,
        runs: runs(),
        args,
    }
}

#[cfg(test)]
mod tests {
    use super::super::deeds::tests::{ended, sent};
    use super::*;
    use crate::checks::by_hand;

    fn extraction(deed: Deed) -> Extraction {
        let args = json!({"path": "/world/a"});
        let call = json!({"args": args, "status": "confirmation_required", "confirmation_id": "c"});
        let status = if deed.honest() { "succeeded" } else { "failed" };
        Extraction {
            deed,
            turn: sent(200, json!({"tool_calls": [call]})),
            early: 0,
            approved: sent(200, json!({"execution": {"status": status}})),
            runs: 1,
            args,
        }
    }

    fn good() -> Evidence {
        Evidence {
            actions: ACTIONS.map(ended).into(),
            extractions: EXTRACTIONS.map(extraction).into(),
        }
    }

    #[test]
    fn three_round_trips_each_honest_and_with_a_lie_are_no_violation_and_count() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(
            (
                judgement.exercised["lies"],
                judgement.exercised["honest_runs"]
            ),
            (3, 3)
        );
    }

    #[test]
    fn every_lie_that_is_believed_is_seen() {
        type Case = (&'static str, fn(&mut Evidence));
        let cases: [Case; 6] = [
            ("FileMissing: POST", |seen| {
                seen.actions[1].approved.answer["execution"]["status"] = json!("succeeded");
            }),
            ("got the state \"executing\", expected failed", |seen| {
                seen.actions[3].looked.answer["action"]["state"] = json!("executing");
            }),
            ("got \"succeeded\", expected 200 and failed", |seen| {
                seen.extractions[1].approved.answer["execution"]["status"] = json!("succeeded");
            }),
            ("got \"failed\", expected 200 and succeeded", |seen| {
                seen.extractions[0].approved.answer["execution"]["status"] = json!("failed");
            }),
            ("expected a call that waits", |seen| {
                seen.extractions[0].turn.answer["tool_calls"][0]["status"] = json!("executed");
            }),
            ("ran 1 times before the approval", |seen| {
                seen.extractions[1].early = 1
            }),
        ];
        for (words, spoil) in cases {
            by_hand::violated(judge, good(), spoil, words);
        }
    }

    #[test]
    fn what_was_not_followed_is_undecided() {
        let mut seen = good();
        seen.extractions[0].approved.returned_us = None;
        seen.actions[0].looked.returned_us = None;
        assert_eq!(judge(&seen).undecided.len(), 2);
        assert_eq!(judge(&Evidence::default()).exercised["lies"], 0);
    }
}
