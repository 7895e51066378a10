//! Gate consent-fsm: of all pairs of a state of consent and an event only the legal ones change the
//! state, and the trail tells exactly what happened.
//!
//! Each of the twenty pairs has a session of its own. Its consent is taken to the state over legal
//! steps, the event is sent, and the consent is read. A machine written down here, from the
//! contract, says what each step should have come to and what the trail has to be.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::inference::Names;
use crate::checks::{Cx, Judgement, Sent, Undecided, bench};
use crate::target::{Ask, Client, Credential};

const STATES: [&str; 5] = ["OFF", "REQUESTED", "GRANTED", "ACTIVE", "REVOKED"];
const EVENTS: [&str; 4] = ["request", "grant", "activate", "revoke"];

/// What the contract makes of an event in a state; nothing when it is not legal there.
fn step(state: &str, event: &str) -> Option<&'static str> {
    match (state, event) {
        ("OFF", "request") => Some("REQUESTED"),
        ("REQUESTED", "grant") => Some("GRANTED"),
        ("GRANTED", "activate") => Some("ACTIVE"),
        ("OFF" | "REQUESTED" | "GRANTED" | "ACTIVE", "revoke") => Some("REVOKED"),
        _ => None,
    }
}

/// Legal steps from OFF to a state.
fn way(state: &str) -> &'static [&'static str] {
    match state {
        "REQUESTED" => &["request"],
        "GRANTED" => &["request", "grant"],
        "ACTIVE" => &["request", "grant", "activate"],
        "REVOKED" => &["request", "grant", "activate", "revoke"],
        _ => &[],
    }
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every pair.
    pub pairs: Vec<Pair>,
}

/// One state and one event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// The session that it is about.
    pub session: String,
    /// The state that it was to be in.
    pub state: String,
    /// The events that were sent, each with its request; the last one is the pair's.
    pub steps: Vec<(String, Sent)>,
    /// The consent afterwards.
    pub look: Sent,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.exercised("pairs", 0);
    judgement.exercised("refused_pairs", 0);
    for pair in &seen.pairs {
        let answered = pair.steps.iter().all(|(_, sent)| sent.answered());
        if !(answered && pair.look.answered()) {
            judgement.undecided(format!("{}: not all of it was answered", pair.state));
            continue;
        }
        let refused = follow(pair, &mut judgement);
        judgement.exercised("pairs", 1);
        judgement.exercised("refused_pairs", u64::from(refused));
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} pairs of state and event, {} of them refused with the state unchanged: {} violations",
        count("pairs"),
        count("refused_pairs"),
        judgement.violations.len()
    );
    judgement
}

/// Follows a session through its steps; whether the last one had to be refused.
fn follow(pair: &Pair, judgement: &mut Judgement) -> bool {
    let (mut state, mut trail, mut refused) = ("OFF", Vec::new(), false);
    for (event, sent) in &pair.steps {
        let to = step(state, event);
        refused = to.is_none();
        let Some(to) = to else {
            judgement.expect(sent.status == 409, || {
                let got = sent.status;
                format!(
                    "{event} in {state}: {}: got {got}, expected 409",
                    sent.line()
                )
            });
            continue;
        };
        let told = [&sent.answer["session_id"], &sent.answer["state"]];
        judgement.expect(
            sent.ok() && told == [&json!(pair.session), &json!(to)],
            || {
                format!(
                    "{event} in {state}: {}: got {} {}, expected 2xx, {} and {to}",
                    sent.line(),
                    told[0],
                    told[1],
                    pair.session
                )
            },
        );
        trail.push(json!({
            "event": event, "from": state, "to": to, "actor_id": sent.actor,
        }));
        state = to;
    }
    let at = format!("{} and then", pair.state);
    let last = pair.steps.last().map_or("nothing", |(event, _)| event);
    let look = &pair.look;
    judgement.expect(look.ok() && look.answer["state"] == state, || {
        let got = &look.answer["state"];
        format!(
            "{at} {last}: {}: got state {got}, expected {state}",
            look.line()
        )
    });
    let told = told(&look.answer["audit_trail"]);
    judgement.expect(told.as_ref() == Some(&trail), || {
        let got = told.map_or("none".to_owned(), |told| json!(told).to_string());
        format!(
            "{at} {last}: got the trail {got}, expected {}",
            json!(trail)
        )
    });
    refused
}

/// A trail without what the contract leaves to the target.
fn told(trail: &Value) -> Option<Vec<Value>> {
    let entry = |entry: &Value| {
        json!({
            "event": entry["event"], "from": entry["from"], "to": entry["to"],
            "actor_id": entry["actor_id"],
        })
    };
    Some(trail.as_array()?.iter().map(entry).collect())
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut names = Names::new(cx);
    let mut target = cx.start(json!({})).await?;
    let client = target.client(Credential::Operator(1));
    let pairs = STATES
        .iter()
        .flat_map(|state| EVENTS.map(|event| (*state, event)));
    let pairs = pairs.map(|(state, event)| pair(&client, names.session(), state, event));
    let pairs: Vec<_> = pairs.collect();
    seen.pairs = join_all(pairs).await;
    target.exited();
    Ok(())
}

async fn pair(client: &Client, session: String, state: &str, event: &str) -> Pair {
    let mut steps = Vec::new();
    for event in way(state).iter().copied().chain([event]) {
        let exchange = client.send(bench::consent(event, &session)).await;
        steps.push((event.to_owned(), Sent::new(&exchange, client.credential())));
    }
    let ask = Ask::get("perception", &format!("/v1/perception/consent/{session}"));
    let look = Sent::new(&client.send(ask).await, client.credential());
    Pair {
        session,
        state: state.to_owned(),
        steps,
        look,
    }
}

#[cfg(test)]
#[path = "consent_fsm_tests.rs"]
mod tests;
