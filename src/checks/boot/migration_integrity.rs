//! Gate migration-integrity: an upgrade keeps every row and raises the version once; a newer database
//! is refused; forward, back and forward again changes nothing else.
//!
//! The databases of a stopped target are replaced by those of an older release. The target is started
//! while the harness holds the write lock of one of them, and killed when the other one has been
//! raised: in the middle. Started again, it has every row of the older release, serves what they hold,
//! and keeps what is written now. Over another KILL nothing is raised again. With a number from the
//! future one of them is refused, and not changed. Then `--migrate-to v4.6` takes the databases back,
//! and the next start forward again: every table that is there on both sides is the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::older::{self, NAMES, Rows, Shape};
use crate::chaos::crash::WriteLock;
use crate::checks::{Cx, Judgement, Sent, Undecided, database};
use crate::target::{Ask, Client, Credential, Instance, Ran, StartError};
use crate::violation;

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";
/// The table that the step to v4.7 makes.
const STEP: &str = "idempotency_keys";
/// How far in the future a number is that nobody knows yet.
const FUTURE: i64 = 1000;
/// How long the other database may take to be raised.
const RAISE_BOUND: Duration = Duration::from_secs(10);
/// How long a lock is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(5);

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Each database of the older release, in the order of [`NAMES`].
    pub older: Vec<Older>,
    /// The numbers at the KILL in the middle, likewise.
    pub killed_at: Vec<i64>,
    /// What the older release had, asked for over HTTP: sessions, confirmations, tasks.
    pub served: Vec<Sent>,
    /// What was written then.
    pub written: Vec<Sent>,
    /// The same, read after the next KILL.
    pub read: Vec<Sent>,
    /// The list of tasks then.
    pub listed: Option<Sent>,
    /// The database of a newer release.
    pub newer: Option<Newer>,
    /// The way back and forward again.
    pub round: Option<Round>,
}

/// A database of the older release, and what became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Older {
    /// Its name.
    pub name: String,
    /// Its number, before and after each of two starts.
    pub versions: Vec<i64>,
    /// Its rows before.
    pub before: Rows,
    /// The rows of the same tables after the first start.
    pub after: Rows,
}

/// A database with a number that the target cannot know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Newer {
    /// Before the start.
    pub before: Shape,
    /// After it.
    pub after: Shape,
    /// Why the start failed; none when it did not.
    pub refused: Option<String>,
    /// Whether the process ended by itself with an exit code other than 0.
    pub exited: bool,
}

/// Back to v4.6 and forward again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// How the command ended.
    pub command: Ran,
    /// The databases before it, after it, and after the next start, each in the order of [`NAMES`].
    pub shapes: [Vec<Shape>; 3],
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in [
        "older_databases",
        "refused_newer",
        "kills_in_migration",
        "round_trips",
    ] {
        judgement.exercised(counter, 0);
    }
    for older in &seen.older {
        kept(older, &mut judgement);
    }
    in_the_middle(seen, &mut judgement);
    over_http(seen, &mut judgement);
    match &seen.newer {
        Some(newer) => refused(newer, &mut judgement),
        None => judgement.undecided("no newer database was tried"),
    }
    match &seen.round {
        Some(round) => and_back(round, &mut judgement),
        None => judgement.undecided("the way back was not tried"),
    }
    let rows: usize = seen
        .older
        .iter()
        .flat_map(|older| older.before.values())
        .map(Vec::len)
        .sum();
    let count = |what: &str| judgement.exercised[what];
    judgement.detail = format!(
        "{rows} rows of {} older databases kept over {} KILL in the middle; {} newer one refused; \
         {} time back and forward again with all other tables equal",
        count("older_databases"),
        count("kills_in_migration"),
        count("refused_newer"),
        count("round_trips")
    );
    judgement
}

/// Every row is there with every value it had, and the number went up once.
fn kept(older: &Older, judgement: &mut Judgement) {
    let name = &older.name;
    // Without a start there is no row after it.
    let started = older.versions.len() > 1;
    for (table, rows) in older.before.iter().filter(|_| started) {
        let after = older.after.get(table).map_or(&[][..], Vec::as_slice);
        for row in rows {
            if !after.iter().any(|now| holds(now, row)) {
                violation!(judgement, "{name}.{table}: got no such row, expected {row}");
            }
        }
    }
    let [before, first, second] = older.versions[..] else {
        judgement.undecided(format!(
            "the number of {name} was not read before and after"
        ));
        return;
    };
    judgement.expect(first > before && second == first, || {
        format!("the number of {name}: got {before}, {first}, {second}, expected it to rise once")
    });
    let whole = older.before.values().any(|rows| !rows.is_empty());
    judgement.exercised("older_databases", u64::from(whole));
}

/// Whether a row has all the values of another one, whatever columns it has besides.
fn holds(now: &Value, then: &Value) -> bool {
    let fields = then.as_object().into_iter().flatten();
    fields
        .into_iter()
        .all(|(name, value)| now.get(name) == Some(value))
}

/// The KILL fell where one database was raised, and the other one not.
fn in_the_middle(seen: &Evidence, judgement: &mut Judgement) {
    let before: Vec<i64> = seen
        .older
        .iter()
        .filter_map(|older| older.versions.first().copied())
        .collect();
    let [gateway, eva] = seen.killed_at[..] else {
        judgement.undecided("no KILL in the middle of a migration");
        return;
    };
    if before.len() == NAMES.len() && gateway == before[0] && eva > before[1] {
        judgement.exercised("kills_in_migration", 1);
    } else {
        let at = &seen.killed_at;
        judgement.undecided(format!("numbers at the KILL: {at:?}, before it {before:?}"));
    }
}

/// What was there is served, and what is written now stays.
fn over_http(seen: &Evidence, judgement: &mut Judgement) {
    for sent in &seen.served {
        judgement.expect(sent.ok(), || {
            format!(
                "of the older release, {}: got {}, expected 200",
                sent.line(),
                sent.status
            )
        });
    }
    let listed = |field: &str| {
        let lists = seen
            .served
            .iter()
            .filter_map(|sent| sent.answer[field].as_array());
        lists.map(Vec::len).sum::<usize>()
    };
    let of = |name: &str, table: &str, open: fn(&Value) -> bool| {
        let older = seen.older.iter().find(|older| older.name == name);
        let rows = older.and_then(|older| older.before.get(table));
        rows.map_or(0, |rows| rows.iter().filter(|row| open(row)).count())
    };
    let pending = of(GATEWAY, "decisions", |row| row["state"] == "pending");
    let tasks = of(EVA, "tasks", |row| row["deleted_at_us"].is_null());
    if !seen.served.is_empty() {
        for (what, got, expected) in [
            ("confirmations", listed("confirmations"), pending),
            ("tasks", listed("tasks"), tasks),
        ] {
            judgement.expect(got == expected, || {
                format!("{what} of the older release: got {got} listed, expected {expected}")
            });
        }
    }
    for (written, read) in seen.written.iter().zip(&seen.read) {
        judgement.expect(written.ok(), || {
            format!(
                "after the upgrade {}: got {}, expected 201",
                written.line(),
                written.status
            )
        });
        judgement.expect(!written.ok() || read.ok(), || {
            format!(
                "after the next KILL {}: got {}, expected 200",
                read.line(),
                read.status
            )
        });
    }
    let new = seen.written.iter().find(|sent| sent.path == "/tasks");
    if let (Some(new), Some(listed)) = (new.filter(|sent| sent.ok()), &seen.listed) {
        let id = &new.answer["task_id"];
        let tasks = listed.answer["tasks"].as_array().into_iter().flatten();
        judgement.expect(tasks.into_iter().any(|task| task["task_id"] == *id), || {
            format!(
                "tasks after the next KILL: got {}, expected {id} among them",
                listed.answer
            )
        });
    }
    if seen.written.is_empty() || seen.read.len() < seen.written.len() {
        judgement.undecided("nothing was written after the upgrade and read again");
    }
}

/// It is refused, and it is what it was.
fn refused(newer: &Newer, judgement: &mut Judgement) {
    match &newer.refused {
        Some(_) if newer.exited => judgement.exercised("refused_newer", 1),
        Some(why) => judgement.undecided(format!("the newer database: {why}")),
        None => {
            let version = newer.before.version;
            violation!(
                judgement,
                "a database with number {version}: got it opened, expected it refused"
            );
        }
    }
    judgement.expect(newer.before == newer.after, || {
        let (got, expected) = (&newer.after, &newer.before);
        format!("the newer database after its refusal: got {got:?}, expected {expected:?}")
    });
}

/// One step back and forward; nothing but the step's own table changes.
fn and_back(round: &Round, judgement: &mut Judgement) {
    let Round { command, shapes } = round;
    judgement.expect(command.code == Some(0), || {
        format!("--migrate-to v4.6: got {}, expected exit 0", command.line())
    });
    let [before, back, forward] = shapes;
    if shapes.iter().any(|shapes| shapes.len() != NAMES.len()) {
        judgement.undecided("the databases were not read on the way back and forward");
        return;
    }
    for (number, name) in NAMES.iter().enumerate() {
        let [before, back, forward] = [&before[number], &back[number], &forward[number]];
        judgement.expect(!back.tables.contains_key(STEP), || {
            format!("{name} at v4.6: got the table {STEP}, expected none")
        });
        judgement.expect(back.version < before.version && forward.version == before.version, || {
            let [before, back, forward] = [before, back, forward].map(|shape| shape.version);
            format!(
                "the number of {name} at v4.7, v4.6 and again: got {before}, {back}, {forward}, \
                 expected lower and the same"
            )
        });
        for (shape, when) in [(back, "at v4.6"), (forward, "at v4.7 again")] {
            let mut tables: Vec<&String> =
                before.tables.keys().chain(shape.tables.keys()).collect();
            tables.sort();
            tables.dedup();
            for table in tables.into_iter().filter(|table| *table != STEP) {
                let [got, expected] = [shape, before].map(|shape| shape.tables.get(table));
                judgement.expect(got == expected, || {
                    format!("{name}.{table} {when}: got {got:?}, expected {expected:?}")
                });
            }
        }
    }
    judgement.exercised("round_trips", u64::from(command.code == Some(0)));
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or its databases cannot be replaced or read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    instance.terminate().await?;
    older::install(&instance)?;
    for name in NAMES {
        seen.older.push(Older {
            name: name.to_owned(),
            versions: vec![older::shape(&instance, name)?.version],
            before: older::rows(&instance, name)?,
            after: Rows::new(),
        });
    }
    kill_in_the_middle(cx, &mut instance, seen).await?;
    instance.start_again().await?;
    upgraded(&instance, seen, true)?;
    serve(&client, seen).await;
    instance.kill().await?;
    instance.start_again().await?;
    upgraded(&instance, seen, false)?;
    for sent in &seen.written {
        let read = Sent::by(&client, Ask::get(&sent.service, &place(sent))).await;
        seen.read.push(read);
    }
    seen.listed = Some(Sent::by(&client, Ask::get(EVA, "/tasks")).await);
    instance.terminate().await?;
    seen.newer = Some(start_newer(&mut instance).await?);
    if instance.pid().is_some() {
        instance.kill().await?;
    }
    let before = shapes(&instance)?;
    let Some(command) = instance.migrate_to("v4.6").await else {
        return Ok(());
    };
    let back = shapes(&instance)?;
    instance.start_again().await?;
    instance.kill().await?;
    let shapes = [before, back, shapes(&instance)?];
    seen.round = Some(Round { command, shapes });
    Ok(())
}

fn shapes(instance: &Instance) -> Result<Vec<Shape>, Undecided> {
    let mut shapes = Vec::new();
    for name in NAMES {
        shapes.push(older::shape(instance, name)?);
    }
    Ok(shapes)
}

/// Starts the target while the gateway's database cannot be written, and kills it once the other
/// one is raised.
async fn kill_in_the_middle(
    cx: &Cx,
    instance: &mut Instance,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let [gateway, eva] = [GATEWAY, EVA].map(|name| database::file(instance, name));
    let (gateway, eva) = (gateway?, eva?);
    let before = seen.older[1].versions[0];
    let lock = WriteLock::take(&gateway, LOCK_BOUND).await?;
    let starting = instance.start_listening().await?;
    let raised = cx.until("a database that is raised", RAISE_BOUND, || {
        let now = database::reader(&eva).and_then(|conn| older::version(&conn));
        std::future::ready(now.is_ok_and(|now| now > before).then_some(()))
    });
    let raised = raised.await;
    starting.kill().await;
    drop(lock);
    for file in [&gateway, &eva] {
        seen.killed_at
            .push(older::version(&database::reader(file)?)?);
    }
    raised
}

/// Notes the numbers after a start, and after the first one the rows of the tables that were there.
fn upgraded(instance: &Instance, seen: &mut Evidence, first: bool) -> Result<(), Undecided> {
    for older in &mut seen.older {
        older
            .versions
            .push(older::shape(instance, &older.name)?.version);
        if first {
            let mut rows = older::rows(instance, &older.name)?;
            rows.retain(|table, _| older.before.contains_key(table));
            older.after = rows;
        }
    }
    Ok(())
}

/// Asks for what the older release had, and writes something new.
async fn serve(client: &Client, seen: &mut Evidence) {
    let sessions = seen.older[0].before.get("sessions");
    let active = sessions.into_iter().flatten();
    let active = active.filter(|row| row["state"] == "active");
    let mut asks: Vec<Ask> = active
        .filter_map(|row| row["id"].as_str())
        .map(|id| Ask::get(GATEWAY, &format!("/v3/sessions/{id}")))
        .collect();
    asks.push(Ask::get(GATEWAY, "/v3/confirmations/pending"));
    asks.push(Ask::get(EVA, "/tasks"));
    for ask in asks {
        seen.served.push(Sent::by(client, ask).await);
    }
    let session = json!({"user_id": "u-new", "conversation_id": "c-new"});
    for ask in [
        Ask::post(GATEWAY, "/v3/sessions", session),
        Ask::post(EVA, "/tasks", json!({"name": "new"})),
    ] {
        seen.written.push(Sent::by(client, ask).await);
    }
}

/// Where what was written can be read.
fn place(sent: &Sent) -> String {
    let id = ["session_id", "task_id"].map(|field| sent.answer[field].as_str());
    let id = id.into_iter().flatten().next().unwrap_or("none");
    format!("{}/{id}", sent.path)
}

/// Starts the target on a database with a number that nobody knows, and puts the old one back.
async fn start_newer(instance: &mut Instance) -> Result<Newer, Undecided> {
    let file = database::file(instance, EVA)?;
    let known = older::shape(instance, EVA)?.version;
    let number = |version: i64| -> Result<(), Undecided> {
        let conn = database::writer(&file)?;
        Ok(conn.pragma_update(None, "user_version", version)?)
    };
    number(known + FUTURE)?;
    let before = older::shape(instance, EVA)?;
    let started = instance.start_or_refuse().await;
    let after = older::shape(instance, EVA)?;
    let exited = match &started {
        Err(StartError::Exited { status, .. }) => status.code().is_some_and(|code| code != 0),
        _ => false,
    };
    let refused = started.err().map(|error| error.to_string());
    if refused.is_some() {
        number(known)?;
    }
    Ok(Newer {
        before,
        after,
        refused,
        exited,
    })
}

#[cfg(test)]
#[path = "migration_integrity_tests.rs"]
mod tests;
