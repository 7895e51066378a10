//! Gate replay-determinism: the same envelope gives the same decision and hash, whenever and however
//! it is written, and another one gives another hash; a dry run leaves no trace.
//!
//! Envelopes that differ in one thing each are sent as turns again and again: as they are and with the
//! keys of every object the other way round, several at once, and after a KILL once more, by a target
//! whose clock is a day ahead. The model answers the same text with the same calls. Then a dead letter
//! and an action are rehearsed, between two looks at every table and double, and done for real
//! afterwards: what is not done by a dry run has to be something that can be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::base::json::merge;
use crate::chaos::approvals::{marked, markers, session};
use crate::chaos::envelopes::{self, Turn};
use crate::checks::auth::tables::{Look, Tables};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential, Instance};

const GATEWAY: &str = "api-gateway";
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
    let envelopes = envelopes::judge(&seen.turns, &mut judgement);
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
        envelopes,
        count("replays"),
        count("reordered"),
        count("kills"),
        count("dry_runs"),
        count("controls"),
        judgement.violations.len()
    );
    judgement
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
    cx.models.script(envelopes::as_wanted);
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
    let envelopes = envelopes::all(cx.seed);
    envelopes::round(&client, &session, &envelopes, 0, &mut seen.turns).await;
    instance.kill().await?;
    let mut later = instance.setup().config.clone();
    merge(&mut later, &json!({"clock": {"offset_ms": AHEAD_MS}}));
    instance.start_again_with(later).await?;
    envelopes::round(&client, &session, &envelopes, 1, &mut seen.turns).await;
    works.store(false, Ordering::SeqCst);
    let letter = letter(cx, &client, &session).await?;
    works.store(true, Ordering::SeqCst);
    rehearse(cx, &instance, (&session, &letter), seen).await?;
    instance.exited();
    Ok(())
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
        let looked = match tables.lock() {
            Ok(mut tables) => tables.look().ok(),
            Err(_) => None,
        };
        std::future::ready(looked.filter(|look| look.changed.is_empty()).map(|_| ()))
    };
    cx.until("nothing to change by itself", QUIET_BOUND, look)
        .await
}

#[cfg(test)]
#[path = "replay_determinism_tests.rs"]
mod tests;
