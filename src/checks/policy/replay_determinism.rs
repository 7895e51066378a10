//! Gate replay-determinism: the same envelope gives the same decision and hash, whenever and however
//! it is written, and another one gives another hash; a dry run leaves no trace.
//!
//! Envelopes that differ in one thing each are sent as turns again and again: as they are and with the
//! keys of every object the other way round, several at once, and after a KILL once more, by a target
//! whose clock is a day ahead. The model answers the same text with the same calls. Then a dead letter
//! and an action are rehearsed, between two looks at every table and double, and done for real
//! afterwards: what is not done by a dry run has to be something that can be done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::json::merge;
use crate::chaos::approvals::{marked, markers, session};
use crate::checks::auth::tables::{Look, Tables};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential, Instance};
use crate::violation;

const GATEWAY: &str = "api-gateway";
/// How often each envelope is sent in each spelling between two starts.
const TIMES: usize = 2;
/// How far ahead the clock is after the KILL: a day.
const AHEAD_MS: u64 = 86_400_000;
/// Sessions outlive that.
const SESSION_MS: u64 = 10 * AHEAD_MS;
/// No window of the SLO machine closes while databases are compared.
const WINDOW_MS: u64 = 600_000;
/// Until when nothing is written by itself any more.
const QUIET_BOUND: Duration = Duration::from_secs(10);
/// What a dry run of an action leaves: itself, as validated, and that somebody asked.
const REHEARSED: [&str; 3] = [
    "api-gateway.actions",
    "api-gateway.audit_log",
    "api-gateway.events",
];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every turn.
    pub turns: Vec<Turn>,
    /// Every dry run.
    pub dry_runs: Vec<DryRun>,
    /// The same requests without `dry_run`.
    pub controls: Vec<Control>,
}

/// A turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// The number of its envelope.
    pub envelope: usize,
    /// Whether the keys of its objects were written the other way round.
    pub reordered: bool,
    /// How many KILLs were before it.
    pub kills: u64,
    /// The request.
    pub sent: Sent,
}

/// A dry run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DryRun {
    /// What it may change.
    pub leaves: Vec<String>,
    /// The request.
    pub sent: Sent,
    /// What changed by itself just before it.
    pub before: Look,
    /// What changed with it.
    pub after: Look,
}

/// What was rehearsed, done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Control {
    /// The request.
    pub sent: Sent,
    /// Calls at the tools before and after it.
    pub calls: (usize, usize),
}

/// The decision of a turn.
fn decision(sent: &Sent) -> Option<(&str, &str)> {
    let decision = &sent.answer["decision"];
    let pair = (decision["class"].as_str()?, decision["hash"].as_str()?);
    (!pair.0.is_empty() && !pair.1.is_empty()).then_some(pair)
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let counters = [
        "replays",
        "reordered",
        "kills",
        "other_envelopes",
        "dry_runs",
        "controls",
    ];
    for counter in counters {
        judgement.exercised(counter, 0);
    }
    let mut first: BTreeMap<usize, &Turn> = BTreeMap::new();
    let mut kills = 0;
    for turn in &seen.turns {
        kills = kills.max(replay(turn, &mut first, &mut judgement));
    }
    judgement.exercised("kills", kills);
    others(&first, &mut judgement);
    for dry_run in &seen.dry_runs {
        dry_run.judge(&mut judgement);
    }
    for control in &seen.controls {
        let done = control.sent.ok() && control.calls.1 > control.calls.0;
        judgement.exercised("controls", u64::from(done));
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} envelopes with hashes of their own, {} replays decided alike, {} of them written in \
         another order, over {} KILL; {} dry runs left nothing, {} of them were done afterwards: {} \
         violations",
        first.len(),
        count("replays"),
        count("reordered"),
        count("kills"),
        count("dry_runs"),
        count("controls"),
        judgement.violations.len()
    );
    judgement
}

/// Holds a turn against the first of its envelope; how many KILLs lie between them when they agree.
fn replay<'a>(
    turn: &'a Turn,
    first: &mut BTreeMap<usize, &'a Turn>,
    judgement: &mut Judgement,
) -> u64 {
    let sent = &turn.sent;
    if !sent.answered() {
        return 0;
    }
    if sent.status != 200 {
        violation!(
            judgement,
            "{}: got {}, expected 200",
            sent.line(),
            sent.status
        );
        return 0;
    }
    let Some(got) = decision(sent) else {
        let got = &sent.answer["decision"];
        violation!(
            judgement,
            "{}: got decision {got}, expected a class and a hash",
            sent.line()
        );
        return 0;
    };
    let Some(one) = first.get(&turn.envelope) else {
        first.insert(turn.envelope, turn);
        return 0;
    };
    let expected = decision(&one.sent).unwrap_or_default();
    if got != expected {
        let order = if turn.reordered {
            ", keys the other way round"
        } else {
            ""
        };
        violation!(
            judgement,
            "envelope {}{order}, after {} KILLs, {}: got {got:?}, expected {expected:?} as in {}",
            turn.envelope,
            turn.kills,
            sent.line(),
            one.sent.line()
        );
        return 0;
    }
    judgement.exercised("replays", 1);
    judgement.exercised("reordered", u64::from(turn.reordered != one.reordered));
    turn.kills.saturating_sub(one.kills)
}

/// Each envelope has a hash of its own.
fn others(first: &BTreeMap<usize, &Turn>, judgement: &mut Judgement) {
    let mut hashes: BTreeMap<&str, &Turn> = BTreeMap::new();
    for turn in first.values() {
        let (_, hash) = decision(&turn.sent).unwrap_or_default();
        match hashes.insert(hash, turn) {
            None => judgement.exercised("other_envelopes", u64::from(hashes.len() > 1)),
            Some(other) => violation!(
                judgement,
                "envelopes {} and {}: got the hash {hash} for both, {} and {}, expected two",
                other.envelope,
                turn.envelope,
                other.sent.line(),
                turn.sent.line()
            ),
        }
    }
}

impl DryRun {
    fn judge(&self, judgement: &mut Judgement) {
        let line = self.sent.line();
        if !self.sent.answered() {
            return;
        }
        judgement.expect(self.sent.ok(), || {
            format!("a dry run, {line}: got {}, expected 2xx", self.sent.status)
        });
        for (what, (from, to)) in &self.after.changed {
            // What changes while nothing is asked for says nothing of a dry run.
            let own = self.before.changed.contains_key(what) || self.leaves.contains(what);
            judgement.expect(own, || {
                format!(
                    "a dry run, {line}: got {what} changed from {from} to {to}, expected untouched"
                )
            });
        }
        let still = self.before.changed.is_empty() && self.after.tables > 0;
        judgement.exercised("dry_runs", u64::from(self.sent.ok() && still));
    }
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or has no session or letter.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let works = Arc::new(AtomicBool::new(true));
    cx.models.script(as_wanted);
    let told = Arc::clone(&works);
    cx.tools.script(move |_| match told.load(Ordering::SeqCst) {
        true => json!({"ok": true, "result": {"bytes": 5}}),
        false => json!({"ok": false, "error": {"code": "TOOL_FAILED", "message": "exit code 1"}}),
    });
    let patch = json!({
        "sessions": {"ttl_ms": SESSION_MS, "idle_ms": SESSION_MS},
        "slo": {"window_ms": WINDOW_MS},
    });
    let mut instance = cx.start(patch).await?;
    let client = instance.client(Credential::Operator(1));
    let session = session(&client).await?;
    let envelopes = envelopes(cx);
    round(&client, &session, &envelopes, 0, seen).await;
    instance.kill().await?;
    let mut later = instance.setup().config.clone();
    merge(&mut later, &json!({"clock": {"offset_ms": AHEAD_MS}}));
    instance.start_again_with(later).await?;
    round(&client, &session, &envelopes, 1, seen).await;
    works.store(false, Ordering::SeqCst);
    let letter = letter(cx, &client, &session).await?;
    works.store(true, Ordering::SeqCst);
    rehearse(cx, &instance, (&session, &letter), seen).await?;
    instance.exited();
    Ok(())
}

/// The model answers a text with the call that it begins with, if any.
fn as_wanted(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    let calls = match heard.split_once(':') {
        Some(("read", marker)) => json!([{"tool_name": "file.read", "args": marked(marker)}]),
        Some(("write", marker)) => json!([{"tool_name": "file.write", "args": marked(marker)}]),
        _ => json!([]),
    };
    json!({"text": "As you wish.", "tool_calls": calls})
}

/// Bodies of turns, each another one in one thing.
fn envelopes(cx: &Cx) -> Vec<Value> {
    let marker = &markers(cx.seed, "envelope", 1)[0];
    let base = json!({
        "input_text": format!("read:{marker}"),
        "envelope": {
            "channel": "text", "locale": "de", "steps": [1, 2, 3],
            "origin": {"device": "desk", "build": 7, "flags": {"quiet": false, "late": true}},
        },
    });
    let changed = |patch: Value| {
        let mut body = base.clone();
        merge(&mut body, &patch);
        body
    };
    vec![
        base.clone(),
        changed(json!({"input_text": format!("read:{marker} ")})),
        changed(json!({"input_text": format!("write:{marker}")})),
        changed(json!({"input_text": format!("say:{marker}")})),
        changed(json!({"envelope": null})),
        changed(json!({"envelope": {"locale": "en"}})),
        changed(json!({"envelope": {"steps": [1, 3, 2]}})),
        changed(json!({"envelope": {"origin": {"flags": {"late": false}}}})),
        changed(json!({"envelope": {"origin": {"build": "7"}}})),
    ]
}

/// Every envelope in both spellings, all of them at once, and that several times.
async fn round(
    client: &Client,
    session: &str,
    envelopes: &[Value],
    kills: u64,
    seen: &mut Evidence,
) {
    for _ in 0..TIMES {
        let asks = envelopes.iter().enumerate().flat_map(|(envelope, body)| {
            [false, true].map(|reordered| (envelope, body, reordered))
        });
        let turns = asks.map(async |(envelope, body, reordered)| {
            let mut body = body.clone();
            body["session_id"] = json!(session);
            let text = written(&body, reordered);
            let ask = Ask::post(GATEWAY, "/v3/turn", body).written(text);
            Turn {
                envelope,
                reordered,
                kills,
                sent: Sent::by(client, ask).await,
            }
        });
        seen.turns.extend(join_all(turns).await);
    }
}

/// JSON, the keys of every object in order or the other way round.
fn written(value: &Value, reversed: bool) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", json!(key), written(value, reversed)))
                .collect();
            if reversed {
                fields.reverse();
            }
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(|one| written(one, reversed)).collect();
            format!("[{}]", all.join(","))
        }
        other => other.to_string(),
    }
}

/// A dead letter, of a call that has failed.
async fn letter(cx: &Cx, client: &Client, session: &str) -> Result<String, Undecided> {
    let marker = &markers(cx.seed, "lost", 1)[0];
    let body = json!({"session_id": session, "input_text": format!("read:{marker}")});
    client.send(Ask::post(GATEWAY, "/v3/turn", body)).await;
    let list = client.send(Ask::get(GATEWAY, "/v3/dead-letters")).await;
    let letters = list.answered()["dead_letters"].as_array();
    let letter = letters.and_then(|all| all.last()?["dead_letter_id"].as_str());
    let letter =
        letter.ok_or_else(|| Undecided("no dead letter of a call that failed".to_owned()))?;
    Ok(letter.to_owned())
}

/// Dry runs of a letter and of an action, and then both for real.
async fn rehearse(
    cx: &Cx,
    instance: &Instance,
    (session, letter): (&str, &str),
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let client = instance.client(Credential::Operator(1));
    let replay = format!("/v3/dead-letters/{letter}/replay");
    let plan = |dry_run: bool| {
        let params = marked("rehearsed");
        let body = json!({
            "intent": "file.read", "params": params, "session_id": session, "dry_run": dry_run,
        });
        Ask::post(GATEWAY, "/v3/actions/plan", body)
    };
    let rehearsed = Ask::post(GATEWAY, &format!("{replay}?dry_run=true"), json!({}));
    let mut tables = Tables::open(instance, &cx.models, &cx.tools)?;
    for (ask, leaves) in [(rehearsed, &[][..]), (plan(true), &REHEARSED[..])] {
        quiet(cx, &mut tables).await?;
        let before = tables.look()?;
        let sent = Sent::by(&client, ask).await;
        seen.dry_runs.push(DryRun {
            leaves: leaves.iter().map(|name| (*name).to_owned()).collect(),
            sent,
            before,
            after: tables.look()?,
        });
    }
    for ask in [Ask::post(GATEWAY, &replay, json!({})), plan(false)] {
        let before = cx.tools.calls().len();
        let sent = Sent::by(&client, ask).await;
        seen.controls.push(Control {
            sent,
            calls: (before, cx.tools.calls().len()),
        });
    }
    Ok(())
}

/// Waits until nothing is written by itself.
async fn quiet(cx: &Cx, tables: &mut Tables) -> Result<(), Undecided> {
    let tables = std::sync::Mutex::new(tables);
    let look = || {
        let still = match tables.lock() {
            Ok(mut tables) => tables.still().is_ok_and(|still| still),
            Err(_) => false,
        };
        std::future::ready(still.then_some(()))
    };
    cx.until("nothing to change by itself", QUIET_BOUND, look)
        .await
}

#[cfg(test)]
#[path = "replay_determinism_tests.rs"]
mod tests;
