//! Gate lifespan-wiring: no request is answered from empty state. Until the restore is over a known
//! session is "starting" or unanswered, never "not found".
//!
//! A session, a confirmation and a task are made, and the target is killed. The harness then holds
//! the gateway's database under `locking_mode = EXCLUSIVE` while the target starts, and asks for
//! them as soon as it listens: nothing can have been restored. Then it lets go; once the target is
//! ready all three are there, and what the restore counts is what the database holds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::approvals::{Route, guarded_calls, markers, mint, session};
use crate::checks::{Cx, Judgement, Sent, Undecided, database};
use crate::target::{Ask, Client, Credential, Instance};
use crate::violation;

/// Probes of each of the three, beyond those of the session that the row asks for.
const OTHERS: usize = 5;
/// How long all probes may take.
const PROBING_BOUND: Duration = Duration::from_secs(15);
/// How long one of them is waited for. Without an answer it is no wrong one.
const PROBE_BOUND: Duration = Duration::from_secs(1);

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";

/// What a stage of the restore counts, by its name: the database, and the rows in it.
const COUNTS: [(&str, &str, &str); 3] = [
    (
        "sessions",
        GATEWAY,
        "SELECT count(*) FROM sessions WHERE state = 'active'",
    ),
    (
        "confirmations",
        GATEWAY,
        "SELECT count(*) FROM decisions WHERE kind = 'confirmation' AND state = 'pending'",
    ),
    (
        "tasks",
        EVA,
        "SELECT count(*) FROM tasks WHERE deleted_at_us IS NULL",
    ),
];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The session, the pending confirmations and the task, read before the KILL.
    pub before: Vec<Sent>,
    /// The same, asked for while the database was held.
    pub probes: Vec<Sent>,
    /// When the harness let go of the database.
    pub released_us: Option<u64>,
    /// The same, once the target was ready.
    pub after: Vec<Sent>,
    /// `/status` of the gateway then.
    pub status: Option<Sent>,
    /// Rows in the databases, by stage of the restore.
    pub rows: BTreeMap<String, u64>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["probes_while_starting", "restored_managers"] {
        judgement.exercised(counter, 0);
    }
    let released = seen.released_us.unwrap_or(u64::MAX);
    // An answer that came after the release may be that of a target that is ready.
    let early = |probe: &&Sent| probe.returned_us.unwrap_or(probe.invoked_us) < released;
    let known = seen.before.first().map(|sent| sent.path.as_str());
    for probe in seen.probes.iter().filter(early) {
        if is_starting(probe) {
            let of_session = known == Some(probe.path.as_str());
            judgement.exercised("probes_while_starting", u64::from(of_session));
        } else {
            violation!(
                judgement,
                "while the database was held {}: got {} {}, expected 503 or no answer",
                probe.line(),
                probe.status,
                probe.answer
            );
        }
    }
    let wired = wired(seen, &mut judgement);
    judgement.exercised("restored_managers", wired);
    judgement.detail = format!(
        "{} probes of a known session while its database was held: starting or unanswered; then \
         {wired} managers with what the database holds ({:?})",
        judgement.exercised["probes_while_starting"], seen.rows
    );
    judgement
}

/// Whether an answer says nothing about what was asked for.
fn is_starting(probe: &Sent) -> bool {
    !probe.answered() || probe.status == 503
}

/// Judges what is there once the target is ready; of how many managers that is all of it.
fn wired(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let Some(status) = seen.status.as_ref().filter(|status| status.ok()) else {
        judgement.undecided("the status after the start could not be read");
        return 0;
    };
    let mut wired = 0;
    for (number, (stage, ..)) in COUNTS.iter().enumerate() {
        let (before, after) = (seen.before.get(number), seen.after.get(number));
        let (Some(before), Some(after), Some(rows)) = (before, after, seen.rows.get(*stage)) else {
            judgement.undecided(format!("{stage} were not looked at"));
            continue;
        };
        let stages = status.answer["restore"].as_array().into_iter().flatten();
        let told: Vec<&Value> = stages
            .filter(|one| one["stage"] == *stage)
            .map(|one| &one["rows"])
            .collect();
        judgement.expect(told == [&json!(rows)], || {
            format!("rows of {stage} in the restore: got {told:?}, expected [{rows}]")
        });
        if !before.ok() || shown(before).is_null() || *rows == 0 {
            judgement.undecided(format!("{stage}: nothing was there before the KILL"));
            continue;
        }
        let (got, expected) = (shown(after), shown(before));
        judgement.expect(after.ok() && got == expected, || {
            format!(
                "once ready {}: got {} {got}, expected 200 {expected}",
                after.line(),
                after.status
            )
        });
        wired += 1;
    }
    wired
}

/// What an answer shows, without what belongs to the answer alone; null when it is nothing.
fn shown(sent: &Sent) -> Value {
    match sent.answer.get("confirmations") {
        Some(list) => {
            let ids = list.as_array().into_iter().flatten();
            let ids: Vec<Value> = ids.map(|one| one["confirmation_id"].clone()).collect();
            if ids.is_empty() {
                Value::Null
            } else {
                json!(ids)
            }
        }
        None => {
            let mut shown = sent.answer.clone();
            if let Some(fields) = shown.as_object_mut() {
                fields.remove("correlation_id");
                fields.remove("ok");
            }
            shown
        }
    }
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or its databases cannot be held or read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let wanted = cx.minimum.get("probes_while_starting").copied();
    let wanted = wanted.unwrap_or_default() as usize;
    cx.models.script(guarded_calls);
    let mut instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    let asks = make(cx, &client).await?;
    for ask in &asks {
        seen.before.push(Sent::by(&client, ask.clone()).await);
    }
    instance.kill().await?;
    start_while_held(cx, &mut instance, &client, (&asks, wanted), seen).await?;
    for ask in &asks {
        seen.after.push(Sent::by(&client, ask.clone()).await);
    }
    seen.status = Some(Sent::by(&client, Ask::get(GATEWAY, "/status")).await);
    for (stage, name, sql) in COUNTS {
        let conn = database::reader(&database::file(&instance, name)?)?;
        let rows: i64 = conn.query_row(sql, [], |row| row.get(0))?;
        seen.rows.insert(stage.to_owned(), rows.unsigned_abs());
    }
    Ok(())
}

/// A session, a confirmation and a task: how each is asked for.
async fn make(cx: &Cx, client: &Client) -> Result<[Ask; 3], Undecided> {
    let id = session(client).await?;
    let names = markers(cx.seed, "lifespan", 2);
    mint(client, &id, Route::Confirmations, &names).await?;
    let task = Ask::post(EVA, "/tasks", json!({"name": names[0]}));
    let task = client.send(task).await;
    let task_id = crate::chaos::approvals::text(&task, task.answered(), "task_id")?;
    let asks = [
        Ask::get(GATEWAY, &format!("/v3/sessions/{id}")),
        Ask::get(GATEWAY, "/v3/confirmations/pending"),
        Ask::get(EVA, &format!("/tasks/{task_id}")),
    ];
    Ok(asks.map(|ask| ask.within(PROBE_BOUND)))
}

/// Starts the target while its databases are held, asks, lets go, and waits until it is ready.
async fn start_while_held(
    cx: &Cx,
    instance: &mut Instance,
    client: &Client,
    (asks, wanted): (&[Ask; 3], usize),
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let files = [GATEWAY, EVA].map(|name| database::file(instance, name));
    let mut held = Vec::new();
    for file in files {
        let conn = database::writer(&file?)?;
        conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")?;
        held.push(conn);
    }
    let starting = instance.start_listening().await?;
    let span = cx.span("probes while starting");
    let end = tokio::time::Instant::now() + PROBING_BOUND;
    for number in 0..wanted.max(OTHERS) {
        if tokio::time::Instant::now() >= end {
            break;
        }
        let asked = if number < OTHERS {
            &asks[..]
        } else {
            &asks[..1]
        };
        for ask in asked {
            seen.probes.push(Sent::by(client, ask.clone()).await);
        }
    }
    drop(span);
    seen.released_us = Some(cx.clock.now_us());
    drop(held);
    Ok(starting.ready().await?)
}

#[cfg(test)]
#[path = "lifespan_wiring_tests.rs"]
mod tests;
