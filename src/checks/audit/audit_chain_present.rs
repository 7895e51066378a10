//! Gate audit-chain-present: every effect has its entry in a SHA-256 chain that only grows.
//!
//! Two operators write to every chain, in rounds between which the target is killed with requests
//! in flight. After each round all chains are read, over HTTP and from a copy of the database.
//! At the end the resources of the entries are read back, and statements that an append-only
//! table refuses are tried on the copies. Roles, fences, second decisions and the proof beside an
//! export are never asked about here: other gates do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::stored::{self, Statement};
use super::traffic::{Desk, burst, readback};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::contract::{self, AuditEntry, Export};
use crate::target::{Ask, Credential, Instance};

mod book;
mod judge;

/// How often the target is killed.
const KILLS: u32 = 2;
/// How long operations in doubt may take to be resumed after a start.
const QUIET_BOUND: Duration = Duration::from_secs(10);
/// Effects of one round, about: how many rounds the minimum asks for follows from it.
const EFFECTS_A_ROUND: u64 = 24;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The chains that the target lists.
    pub chains: Vec<String>,
    /// Every mutation that was sent.
    pub sent: Vec<Sent>,
    /// When it was killed.
    pub kills_us: Vec<u64>,
    /// Every reading of every chain, in order.
    pub readings: Vec<Reading>,
    /// What the last readings that worked served, by chain.
    pub exports: BTreeMap<String, Export>,
    /// Statements that were tried on copies of the databases.
    pub statements: Vec<Statement>,
    /// Resources of entries, read over HTTP after everything.
    pub readback: Vec<Sent>,
    /// Approvals that were pending after everything; none when they could not be read.
    pub pending: Option<Vec<String>>,
    /// What the tools did.
    pub effects: Vec<ToolRun>,
    /// What could not be done, and why.
    pub trouble: Vec<String>,
}

/// One effect at the tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRun {
    /// The operation id.
    pub key: String,
    /// The tool.
    pub tool_name: String,
    /// The correlation id that the call carried.
    pub id: String,
    /// When it was done, on the clock of the run.
    pub at_us: u64,
}

/// One chain, read over HTTP and from its database, with no mutation under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The chain.
    pub chain: String,
    /// Before the request was sent, on the clock of the run.
    pub at_us: u64,
    /// The export's status and code: `200`, `409 CHAIN_BROKEN`.
    pub answer: String,
    /// Why the answer is no export, if it is none.
    pub unreadable: Option<String>,
    /// A digest of each entry of the export.
    pub exported: Vec<String>,
    /// A digest of each row of the database; none when it could not be read.
    pub stored: Option<Vec<String>>,
    /// Rows that are not what the export says, in full.
    pub differing: Vec<serde_json::Value>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    judge::judge(seen)
}

/// Acknowledged effects without their entry, and entries without their effect, in what others have
/// recorded in the same form.
pub(super) fn effects_and_entries(seen: &Evidence) -> Vec<String> {
    let [effects, entries, ..] = book::Book::new(seen).complaints();
    [effects.1, entries.1].concat()
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut instance = cx.start(json!({})).await?;
    seen.chains = instance.listening().chains.keys().cloned().collect();
    let desk = Desk::new(&instance);
    let session = desk.session(cx.seed).await;
    let session_id = session.answer["session_id"]
        .as_str()
        .unwrap_or("ses_none")
        .to_owned();
    seen.sent.push(session);
    for epoch in 0..=KILLS {
        let seed = cx.seed.child(&format!("epoch {epoch}"));
        write(cx, &desk, &session_id, seed, seen).await;
        if let Err(Undecided(why)) = quiet(cx, &desk).await {
            seen.trouble.push(why);
        }
        read(cx, &instance, seen).await;
        if epoch < KILLS {
            kill(cx, &mut instance, &desk, burst(seed, &session_id), seen).await?;
        }
    }
    look(cx, &desk, seen).await;
    attack(cx, &instance, seen).await;
    Ok(())
}

async fn write(
    cx: &Cx,
    desk: &Desk,
    session_id: &str,
    seed: crate::base::Seed,
    seen: &mut Evidence,
) {
    let _span = cx.span("storm of writes");
    let wanted = cx.minimum.get("mutations").copied().unwrap_or_default();
    let rounds = wanted
        .div_ceil(EFFECTS_A_ROUND * u64::from(KILLS + 1))
        .max(1);
    for round in 0..rounds {
        let seed = seed.child(&format!("round {round}"));
        seen.sent.extend(desk.round(seed, session_id).await);
    }
}

/// Kills the target as soon as the first of these requests has its answer; the others are then
/// somewhere between not sent and done.
async fn kill(
    cx: &Cx,
    instance: &mut Instance,
    desk: &Desk,
    asks: Vec<(Credential, Ask)>,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("kill");
    let mut flying = tokio::task::JoinSet::new();
    for (who, ask) in asks {
        let desk = desk.clone();
        flying.spawn(async move { desk.send(who, ask).await });
    }
    let first = flying.join_next().await;
    seen.kills_us.push(cx.clock.now_us());
    let killed = instance.kill().await;
    seen.sent.extend(first.into_iter().flatten());
    seen.sent.extend(flying.join_all().await);
    killed?;
    let _span = cx.span("start again");
    instance.start_again().await?;
    Ok(())
}

/// Waits until no service has an operation under way: those in doubt at a kill are resumed by the
/// target on its own, and their entries come when they are done. A service that does not say is
/// not waited for.
pub(super) async fn quiet(cx: &Cx, desk: &Desk) -> Result<(), Undecided> {
    for service in ["openclaw", "eva-os"] {
        let poll = || async {
            let got = desk
                .send(Credential::Operator(1), Ask::get(service, "/status"))
                .await;
            match got.answer["queues"]["operations"].as_u64() {
                Some(0) => Some(Ok(())),
                Some(_) => None,
                None => Some(Err(Undecided(format!(
                    "{}: no queues.operations",
                    got.line()
                )))),
            }
        };
        let what = format!("end of the operations of {service}");
        cx.until(&what, QUIET_BOUND, poll).await??;
    }
    Ok(())
}

/// Reads every chain over HTTP, and from a copy of its database.
async fn read(cx: &Cx, instance: &Instance, seen: &mut Evidence) {
    let _span = cx.span("read");
    let desk = Desk::new(instance);
    for chain in seen.chains.clone() {
        let path = format!("/v1/audit/export?chain={chain}&from_seq=0&limit=1000");
        let ask = Ask::get("api-gateway", &path);
        let got = desk.send(Credential::Operator(1), ask).await;
        let mut reading = Reading {
            chain: chain.clone(),
            at_us: got.invoked_us,
            answer: format!("{} {}", got.status, got.code())
                .trim_end()
                .to_owned(),
            ..Reading::default()
        };
        match contract::read::<Export>(&got.answer) {
            Ok(export) => {
                reading.exported = export.entries.iter().map(stored::digest).collect();
                seen.exports.insert(chain.clone(), export);
            }
            Err(why) => reading.unreadable = Some(got.error.unwrap_or(why)),
        }
        match rows(cx, instance, &chain).await {
            Ok(rows) => {
                let digests: Vec<String> = rows.iter().map(stored::digest).collect();
                for (place, row) in rows.into_iter().enumerate() {
                    if reading.exported.get(place) != Some(&digests[place]) {
                        reading.differing.push(row);
                    }
                }
                reading.stored = Some(digests);
            }
            Err(why) => seen.trouble.push(why),
        }
        seen.readings.push(reading);
    }
}

/// The rows of a chain, from a copy of its database.
async fn rows(cx: &Cx, instance: &Instance, chain: &str) -> Result<Vec<serde_json::Value>, String> {
    let listening = instance.listening();
    let from = listening.databases.get(chain).cloned();
    let from = from.ok_or_else(|| format!("chain {chain}: no database is named for it"))?;
    let (to, chain) = (copy_of(cx, chain), chain.to_owned());
    let copied = tokio::task::spawn_blocking(move || {
        stored::copy(&from, &to)?;
        stored::rows(&to, &chain)
    });
    copied.await.map_err(|error| error.to_string())?
}

fn copy_of(cx: &Cx, chain: &str) -> std::path::PathBuf {
    cx.dir.join(format!("copy-of-{chain}.db"))
}

/// Reads back what the `ok` entries are about.
async fn look(cx: &Cx, desk: &Desk, seen: &mut Evidence) {
    let _span = cx.span("look");
    let mut resources: Vec<String> = seen
        .exports
        .values()
        .flat_map(|export| &export.entries)
        .filter_map(|entry| contract::read::<AuditEntry>(entry).ok())
        .filter(|entry| entry.outcome == "ok")
        .map(|entry| entry.resource)
        .collect();
    resources.sort();
    resources.dedup();
    let asks = resources.iter().filter_map(|resource| readback(resource));
    let got = asks.map(|ask| desk.send(Credential::Operator(1), ask));
    seen.readback = futures_util::future::join_all(got).await;
    let approvals = desk
        .send(Credential::Operator(1), Ask::get("eva-os", "/approvals"))
        .await;
    match contract::read::<contract::decisions::Approvals>(&approvals.answer) {
        Ok(list) => {
            seen.pending = Some(
                list.approvals
                    .into_iter()
                    .map(|one| one.approval_id)
                    .collect(),
            );
        }
        Err(why) => seen.trouble.push(format!("{}: {why}", approvals.line())),
    }
    seen.effects = tool_runs(cx);
}

/// The effects at the tools: of calls under one key, the first that was done.
pub(super) fn tool_runs(cx: &Cx) -> Vec<ToolRun> {
    let mut runs: Vec<ToolRun> = Vec::new();
    for call in cx.tools.calls() {
        let key = call.key.unwrap_or_default();
        let Some(at_us) = call.committed_us else {
            continue;
        };
        if runs.iter().any(|run| run.key == key && !key.is_empty()) {
            continue;
        }
        let tool_name = call.body["tool_name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let id = call
            .headers
            .get("x-correlation-id")
            .cloned()
            .unwrap_or_default();
        runs.push(ToolRun {
            key,
            tool_name,
            id,
            at_us,
        });
    }
    runs
}

/// Tries on the last copies what an append-only table refuses.
async fn attack(cx: &Cx, instance: &Instance, seen: &mut Evidence) {
    let _span = cx.span("attack");
    for chain in seen.chains.clone() {
        if !instance.listening().databases.contains_key(&chain) {
            continue;
        }
        let copy = copy_of(cx, &chain);
        let tried = tokio::task::spawn_blocking(move || stored::try_statements(&copy, &chain));
        match tried.await {
            Ok(Ok(statements)) => seen.statements.extend(statements),
            Ok(Err(why)) => seen.trouble.push(why),
            Err(error) => seen.trouble.push(error.to_string()),
        }
    }
}
