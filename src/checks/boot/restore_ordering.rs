//! Gate restore-ordering: sessions, confirmations, tasks, budgets, in that order at every boot, and
//! each stage is announced.
//!
//! The first boot finds nothing and announces all four all the same. Then sessions, confirmations
//! and tasks are made, some of them are ended, and the row of one session is removed while the target
//! is down: its confirmation is an orphan. After each of five boots the trace in `/status` is the
//! same: the stages in their order, none begun before the one before it was over, and as many rows as
//! there are things to restore. The orphan is listed nowhere and cannot be approved; the others are
//! listed, and one of them is approved and runs once.

use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::approvals::{Minted, Route, Shown, guarded_calls, markers, mint, text};
use crate::checks::{Cx, Judgement, Sent, Undecided, database};
use crate::target::{Ask, Client, Credential, Instance};
use crate::violation;

/// The stages, in their order.
const STAGES: [&str; 4] = ["sessions", "confirmations", "tasks", "budgets"];
/// Those whose rows are compared: a budget is there when something was restarted.
const COUNTED: usize = 3;
/// Boots on the same data.
const BOOTS: usize = 5;
/// Sessions that are opened; each gets a confirmation.
const SESSIONS: usize = 4;
/// The session that is closed, with its confirmation still open.
const CLOSED: usize = 1;
/// The one whose row is removed.
const ORPHANED: usize = 2;
/// The one whose confirmation is denied.
const DENIED: usize = 3;
/// Tasks that are created; the first one is deleted.
const TASKS: usize = 4;
/// Stages follow each other on one clock; this is for the rounding, in milliseconds.
const ROUNDING_MS: f64 = 0.001;

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// `/status` of the gateway when nothing was there yet.
    pub fresh: Option<Sent>,
    /// What was made: sessions, tasks.
    pub made: Vec<Sent>,
    /// The confirmations, one a session.
    pub minted: Vec<Minted>,
    /// What was ended: a session, a confirmation, a task.
    pub ended: Vec<Sent>,
    /// Rows of the table of sessions that were removed while the target was down.
    pub removed: u64,
    /// `/status` after each boot.
    pub boots: Vec<Sent>,
    /// The pending confirmations after the last one.
    pub pending: Option<Sent>,
    /// The orphan, approved.
    pub orphan: Option<Sent>,
    /// Another one, approved.
    pub control: Option<Sent>,
    /// How often the tools of the two ran.
    pub runs: Option<(u64, u64)>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["boots", "stages", "orphans"] {
        judgement.exercised(counter, 0);
    }
    if let Some(fresh) = seen.fresh.as_ref().filter(|fresh| fresh.ok()) {
        boot("the boot on nothing", fresh, &[0; COUNTED], &mut judgement);
    } else {
        judgement.undecided("the status after the boot on nothing could not be read");
    }
    let expected = expected(seen);
    let mut stages = usize::MAX;
    for (number, status) in seen.boots.iter().enumerate() {
        if !status.ok() {
            judgement.undecided(format!(
                "the status after boot {} could not be read",
                number + 1
            ));
            continue;
        }
        judgement.exercised("boots", 1);
        let announced = boot(
            &format!("boot {}", number + 1),
            status,
            &expected,
            &mut judgement,
        );
        stages = stages.min(announced);
    }
    if stages < usize::MAX {
        judgement.exercised("stages", stages as u64);
    }
    same(seen, &mut judgement);
    orphan(seen, &mut judgement);
    judgement.detail = format!(
        "{} boots with the same trace: {expected:?} rows of {:?}, then budgets, each after the one \
         before; all four announced on nothing too; {} orphan not served",
        judgement.exercised["boots"],
        &STAGES[..COUNTED],
        judgement.exercised["orphans"]
    );
    judgement
}

/// How many sessions, confirmations and tasks there are to restore.
fn expected(seen: &Evidence) -> [u64; COUNTED] {
    let done = |all: &[Sent], method: &str, path: &str| {
        let of = |sent: &&Sent| sent.ok() && sent.method == method && sent.path.starts_with(path);
        all.iter().filter(of).count() as u64
    };
    let denied = done(&seen.ended, "POST", "/v3/confirmations/");
    let open = seen.minted.len() as u64;
    [
        (done(&seen.made, "POST", "/v3/sessions"))
            .saturating_sub(done(&seen.ended, "DELETE", "/v3/sessions/"))
            .saturating_sub(seen.removed),
        open.saturating_sub(denied).saturating_sub(seen.removed),
        done(&seen.made, "POST", "/tasks").saturating_sub(done(&seen.ended, "DELETE", "/tasks/")),
    ]
}

fn trace(status: &Sent) -> &[Value] {
    status.answer["restore"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// Judges the trace of one boot; how many of the stages it announces.
fn boot(name: &str, status: &Sent, rows: &[u64; COUNTED], judgement: &mut Judgement) -> usize {
    let trace = trace(status);
    let stages: Vec<&str> = trace
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap_or("no name"))
        .collect();
    judgement.expect(stages == STAGES, || {
        format!("stages of {name}: got {stages:?}, expected {STAGES:?}")
    });
    for (stage, expected) in STAGES.iter().zip(rows) {
        let found = trace.iter().find(|one| one["stage"] == *stage);
        let got = found.map_or(&Value::Null, |one| &one["rows"]);
        judgement.expect(*got == json!(expected), || {
            format!("rows of {stage} at {name}: got {got}, expected {expected}")
        });
    }
    for pair in trace.windows(2) {
        let number = |stage: &Value, field: &str| stage[field].as_f64();
        let over = number(&pair[0], "begun_ms").zip(number(&pair[0], "duration_ms"));
        match (over, number(&pair[1], "begun_ms")) {
            (Some((begun, took)), Some(next)) => {
                judgement.expect(next + ROUNDING_MS >= begun + took, || {
                    let [first, second] = [&pair[0]["stage"], &pair[1]["stage"]];
                    format!(
                        "at {name} {second} began: got {next:.4} ms, expected not before {first} \
                         was over at {:.4} ms",
                        begun + took
                    )
                });
            }
            _ => violation!(
                judgement,
                "stage of {name}: got {}, expected its times",
                pair[0]
            ),
        }
    }
    STAGES.iter().filter(|stage| stages.contains(stage)).count()
}

/// Boots on the same data restore the same.
fn same(seen: &Evidence, judgement: &mut Judgement) {
    let told = |status: &Sent| -> Vec<Value> {
        let stages = trace(status).iter();
        stages
            .map(|stage| json!([stage["stage"], stage["rows"]]))
            .collect()
    };
    let traces: Vec<Vec<Value>> = seen
        .boots
        .iter()
        .filter(|boot| boot.ok())
        .map(told)
        .collect();
    for (number, pair) in traces.windows(2).enumerate() {
        judgement.expect(pair[0] == pair[1], || {
            let got = json!(pair[1]);
            format!(
                "trace of boot {}: got {got}, expected {}",
                number + 2,
                json!(pair[0])
            )
        });
    }
}

/// What nobody owns is not served; what somebody owns is.
fn orphan(seen: &Evidence, judgement: &mut Judgement) {
    let (Some(pending), Some(orphan), Some(control), Some((orphaned, owned))) =
        (&seen.pending, &seen.orphan, &seen.control, seen.runs)
    else {
        judgement.undecided("the orphan was not asked for");
        return;
    };
    let Some(listed) = pending.answer["confirmations"]
        .as_array()
        .filter(|_| pending.ok())
    else {
        judgement.undecided("the pending confirmations could not be listed");
        return;
    };
    let is_listed = |index: usize| {
        let id = seen.minted.get(index).map(|minted| minted.id.as_str());
        listed
            .iter()
            .any(|row| row["confirmation_id"].as_str() == id)
    };
    let told = orphan.answered() && control.answered();
    let removed = if told { seen.removed } else { 0 };
    judgement.exercised("orphans", removed);
    if removed == 0 {
        return;
    }
    judgement.expect(!is_listed(ORPHANED), || {
        "the orphan: got it listed as pending, expected nowhere".to_owned()
    });
    judgement.expect(orphan.status == 404, || {
        format!(
            "the orphan, {}: got {}, expected 404",
            orphan.line(),
            orphan.status
        )
    });
    judgement.expect(orphaned == 0, || {
        format!("the orphan ran: got {orphaned}, expected 0")
    });
    judgement.expect(is_listed(0), || {
        format!(
            "pending: got {}, expected {} among them",
            json!(listed),
            seen.minted[0].id
        )
    });
    judgement.expect(control.ok() && owned == 1, || {
        format!(
            "{}: got {} and {owned} runs, expected 200 and 1",
            control.line(),
            control.status
        )
    });
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or mints nothing.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(guarded_calls);
    let mut instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    seen.fresh = Some(status(&client).await);
    make(cx, &client, seen).await?;
    instance.terminate().await?;
    let id = session(seen, ORPHANED);
    let gateway = database::writer(&database::file(&instance, GATEWAY)?)?;
    let removed = gateway.execute("DELETE FROM sessions WHERE id = ?1", params![id])?;
    drop(gateway);
    seen.removed = removed as u64;
    for number in 0..BOOTS {
        if number > 0 {
            stop(&mut instance, number).await?;
        }
        instance.start_again().await?;
        seen.boots.push(status(&client).await);
    }
    ask_for_the_orphan(cx, &client, seen).await;
    Ok(())
}

/// By KILL and by TERM in turn: a boot knows neither.
async fn stop(instance: &mut Instance, number: usize) -> Result<(), Undecided> {
    if number.is_multiple_of(2) {
        instance.kill().await?;
    } else {
        instance.terminate().await?;
    }
    Ok(())
}

fn session(seen: &Evidence, index: usize) -> String {
    let id = seen
        .made
        .get(index)
        .and_then(|sent| sent.answer["session_id"].as_str());
    id.unwrap_or("ses_none").to_owned()
}

async fn make(cx: &Cx, client: &Client, seen: &mut Evidence) -> Result<(), Undecided> {
    let names = markers(cx.seed, "orphan", SESSIONS);
    for (number, name) in names.into_iter().enumerate() {
        let body = json!({"user_id": format!("u-{number}"), "conversation_id": "c-1"});
        let exchange = client.send(Ask::post(GATEWAY, "/v3/sessions", body)).await;
        let id = text(&exchange, exchange.answered(), "session_id")?;
        seen.made.push(Sent::new(&exchange, client.credential()));
        seen.minted
            .extend(mint(client, &id, Route::Confirmations, &[name]).await?);
    }
    for number in 0..TASKS {
        let body = json!({"name": format!("task {number}")});
        seen.made
            .push(Sent::by(client, Ask::post(EVA, "/tasks", body)).await);
    }
    let closed = format!("/v3/sessions/{}", session(seen, CLOSED));
    let task = seen.made[SESSIONS].answer["task_id"]
        .as_str()
        .unwrap_or("tsk_none");
    let denied = Route::Confirmations.ask(&seen.minted[DENIED].id, "deny", Shown::Nothing);
    for ask in [
        Ask::delete(GATEWAY, &closed),
        denied,
        Ask::delete(EVA, &format!("/tasks/{task}")),
    ] {
        seen.ended.push(Sent::by(client, ask).await);
    }
    Ok(())
}

async fn status(client: &Client) -> Sent {
    Sent::by(client, Ask::get(GATEWAY, "/status")).await
}

async fn ask_for_the_orphan(cx: &Cx, client: &Client, seen: &mut Evidence) {
    let pending = Ask::get(GATEWAY, "/v3/confirmations/pending");
    seen.pending = Some(Sent::by(client, pending).await);
    let approve = |minted: &Minted| Route::Confirmations.ask(&minted.id, "approve", Shown::Nothing);
    let [orphan, control] = [ORPHANED, 0].map(|index| approve(&seen.minted[index]));
    seen.orphan = Some(Sent::by(client, orphan).await);
    seen.control = Some(Sent::by(client, control).await);
    let effects = cx.tools.effects();
    let runs = |index: usize| {
        let marker = seen.minted[index].marker();
        let own = effects
            .iter()
            .filter(|effect| effect.body["args"]["path"] == marker);
        own.count() as u64
    };
    seen.runs = Some((runs(ORPHANED), runs(0)));
}

#[cfg(test)]
#[path = "restore_ordering_tests.rs"]
mod tests;
