//! A storm of creates: every answer is a success or an explicit refusal, and every success is a row
//! after a KILL. How that is driven, what is seen of it, and what contradicts it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::{Judgement, Sent, Site, storm};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// Sessions that may be active: some creates of the storm have to be refused.
const MOST_ACTIVE: u64 = 160;
/// How long an answer may take at most, at the 99th percentile.
const P99_BOUND: Duration = Duration::from_secs(8);
/// Reads under way at once after the restart.
const READS_AT_ONCE: usize = 16;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The creates of the storm.
    pub created: Vec<Sent>,
    /// Every acknowledged session, read after the KILL.
    pub read: Vec<Sent>,
    /// `/status` of the gateway after the KILL.
    pub status: Option<Sent>,
    /// KILLs right after the storm.
    pub kills: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    for sent in &seen.created {
        match (sent.ok(), sent.answer["session_id"].as_str()) {
            (true, Some(id)) => judgement.expect(acknowledged.insert(id), || {
                format!(
                    "{}: got the id {id} a second time, expected a fresh one",
                    sent.line()
                )
            }),
            _ if matches!(sent.status, 429 | 503) => refused += 1,
            _ => violation!(
                judgement,
                "{}: expected 201 with an id, 429 or 503",
                sent.line()
            ),
        }
    }
    judgement.exercised("creates", seen.created.len() as u64);
    judgement.exercised("acknowledged", acknowledged.len() as u64);
    judgement.exercised("kills", seen.kills);
    let p99_ms = p99_ms(&seen.created);
    judgement.expect(p99_ms <= P99_BOUND.as_secs_f64() * 1e3, || {
        format!(
            "p99 of the answers: got {p99_ms:.0} ms, expected at most {} ms",
            P99_BOUND.as_millis()
        )
    });
    after(seen, &acknowledged, &mut judgement);
    judgement.detail = format!(
        "{} creates at once: {} acknowledged and there after a KILL, {refused} refused, p99 {p99_ms:.0} ms",
        seen.created.len(),
        acknowledged.len()
    );
    judgement
}

/// What was acknowledged is there, and nothing else.
fn after(seen: &Evidence, acknowledged: &BTreeSet<&str>, judgement: &mut Judgement) {
    for id in acknowledged {
        let path = path(id);
        match seen.read.iter().find(|sent| sent.path == path) {
            Some(sent) if sent.answered() => judgement.expect(sent.ok(), || {
                format!(
                    "after the KILL {}: got {}, expected 200",
                    sent.line(),
                    sent.status
                )
            }),
            _ => judgement.undecided(format!("session {id} was not read after the KILL")),
        }
    }
    let stages = seen.status.as_ref().map(|sent| &sent.answer["restore"]);
    let stages = stages.and_then(Value::as_array).into_iter().flatten();
    let rows = stages.filter(|stage| stage["stage"] == "sessions");
    let rows: Vec<&Value> = rows.map(|stage| &stage["rows"]).collect();
    let expected = acknowledged.len();
    judgement.expect(rows == [&json!(expected)], || {
        format!("the restore of sessions: got rows {rows:?}, expected [{expected}]")
    });
}

/// The smallest time with at least 99 % of the answers at or below it; a missing answer took for ever.
fn p99_ms(sent: &[Sent]) -> f64 {
    let took = |sent: &Sent| {
        let us = sent
            .returned_us
            .map(|returned| returned.saturating_sub(sent.invoked_us));
        us.map_or(f64::INFINITY, |us| us as f64 / 1e3)
    };
    let mut times: Vec<f64> = sent.iter().map(took).collect();
    times.sort_by(f64::total_cmp);
    let place = (times.len() * 99).div_ceil(100);
    times.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn path(id: &str) -> String {
    format!("/v3/sessions/{id}")
}

/// Drives it on a target of its own, with so many creates at once.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(site: &mut Site, creates: usize, seen: &mut Evidence) -> anyhow::Result<()> {
    let patch = json!({"sessions": {"max_active": MOST_ACTIVE}});
    let mut instance = site.start(patch).await?;
    let client = instance.client(Credential::Operator(1));
    let span = site.span("storm of creates");
    seen.created = storm(creates, |number| {
        let body = json!({"user_id": format!("u-{number}"), "conversation_id": "c-1"});
        send(
            client.clone(),
            Ask::post("api-gateway", "/v3/sessions", body),
        )
    })
    .await;
    drop(span);
    instance.kill().await?;
    instance.start_again().await?;
    seen.kills += 1;
    let ids = seen
        .created
        .iter()
        .filter_map(|sent| sent.answer["session_id"].as_str());
    let asks: Vec<Ask> = ids.map(|id| Ask::get("api-gateway", &path(id))).collect();
    for asks in asks.chunks(READS_AT_ONCE) {
        let read = storm(asks.len(), |number| {
            send(client.clone(), asks[number].clone())
        })
        .await;
        seen.read.extend(read);
    }
    seen.status = Some(send(client.clone(), Ask::get("api-gateway", "/status")).await);
    Ok(())
}

async fn send(client: Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
