//! Gate wal-mode: the journal survives a crash, and a long reader blocks no writer.
//!
//! Every service's database says how it keeps its journal and whether it is whole. A read transaction is held
//! open on three of them while a hundred rows are written; it sees none of them, and each is
//! acknowledged. Then memories are stored by several clients at once, and the target is killed as
//! soon as enough are acknowledged; after the restart each of those is read. That is done three
//! times: a KILL may fall into the moment in which nothing is on its way to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::chaos::bursts::{self, Burst};
use crate::checks::{Cx, Judgement, Sent, Undecided, database};
use crate::target::{Ask, Client, Credential, Instance};

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";
const MEMORY: &str = "memory-engine";

/// Databases on which a reader stays while they are written, each with its route and table.
const WRITTEN: [(&str, &str, &str); 3] = [
    (GATEWAY, "/v3/sessions", "sessions"),
    (EVA, "/tasks", "tasks"),
    (MEMORY, "/store", "memories"),
];
/// Bursts, each ended by a KILL.
const BURSTS: usize = 3;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The database of each service, before and after everything.
    pub looks: Vec<Look>,
    /// Rows that the long readers saw, by database: at the begin and at the end of their
    /// transaction.
    pub snapshots: BTreeMap<String, (i64, i64)>,
    /// Writes that were sent while they read, in order.
    pub beside_reader: Vec<Sent>,
    /// The bursts.
    pub bursts: Vec<Burst>,
}

/// What a database says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Look {
    /// Its name.
    pub database: String,
    /// `PRAGMA journal_mode`.
    pub journal_mode: String,
    /// `PRAGMA integrity_check`, its lines joined.
    pub integrity: String,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for look in &seen.looks {
        let (name, mode) = (&look.database, &look.journal_mode);
        judgement.expect(mode == "wal", || {
            format!("journal_mode of {name}: got {mode}, expected wal")
        });
        judgement.expect(look.integrity == "ok", || {
            format!(
                "integrity_check of {name}: got {}, expected ok",
                look.integrity
            )
        });
    }
    if seen.looks.is_empty() {
        judgement.undecided("no database could be looked at");
    }
    let beside = beside_reader(seen, &mut judgement);
    judgement.exercised("acknowledged_before_kill", 0);
    let mut ids = BTreeSet::new();
    for (number, burst) in seen.bursts.iter().enumerate() {
        bursts::survived(number + 1, burst, &mut ids, &mut judgement);
    }
    let kills = seen.bursts.iter().filter(|burst| burst.killed).count();
    judgement.exercised("kills", kills as u64);
    judgement.detail = format!(
        "{} databases in WAL mode and whole; {beside} writes beside long readers; {} acknowledged \
         rows there after {kills} KILLs in mid-burst",
        seen.looks
            .iter()
            .map(|look| &look.database)
            .collect::<BTreeSet<_>>()
            .len(),
        judgement.exercised["acknowledged_before_kill"]
    );
    judgement
}

/// Writes while somebody reads: all of them, and the reader sees what it saw. How many there were.
fn beside_reader(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let mut acknowledged = 0;
    for sent in &seen.beside_reader {
        acknowledged += u64::from(sent.ok());
        judgement.expect(sent.ok(), || {
            format!(
                "beside a long reader {}: got {}, expected 201",
                sent.line(),
                sent.status
            )
        });
    }
    // Without the reader at its end the writes were beside nobody.
    let read = seen.snapshots.len() == WRITTEN.len();
    judgement.exercised("writes_beside_reader", if read { acknowledged } else { 0 });
    for (name, (from, to)) in &seen.snapshots {
        judgement.expect(from == to, || {
            format!("rows of {name} in one read transaction: got {to}, expected {from}")
        });
    }
    acknowledged
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or its databases cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let wanted = |what: &str| cx.minimum.get(what).copied().unwrap_or_default();
    let (beside, burst) = (
        wanted("writes_beside_reader"),
        wanted("acknowledged_before_kill"),
    );
    let mut instance = cx.start(json!({"sessions": {"max_active": 1000}})).await?;
    let client = instance.client(Credential::Operator(1));
    looks(&instance, seen)?;
    let span = cx.span("writes beside long readers");
    write_beside_readers(&instance, &client, beside, seen).await?;
    drop(span);
    for number in 0..BURSTS {
        let _span = cx.span("burst");
        let burst_of = burst.div_ceil(BURSTS as u64);
        bursts::drive(&mut instance, &client, number, burst_of, &mut seen.bursts).await?;
    }
    looks(&instance, seen)
}

fn looks(instance: &Instance, seen: &mut Evidence) -> Result<(), Undecided> {
    let listening = instance.listening();
    // That of the identities is written by nobody whom a reader could block.
    let of_services = |name: &&String| listening.services.contains_key(*name);
    for name in listening.databases.keys().filter(of_services) {
        let path = &listening.databases[name];
        seen.looks.push(look(name, path)?);
    }
    Ok(())
}

fn look(name: &str, path: &Path) -> rusqlite::Result<Look> {
    let conn = database::reader(path)?;
    let journal_mode = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let mut lines = conn.prepare("PRAGMA integrity_check")?;
    let lines = lines.query_map([], |row| row.get::<_, String>(0))?;
    let lines = lines.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Look {
        database: name.to_owned(),
        journal_mode,
        integrity: lines.join("; "),
    })
}

/// Writes `n` rows in turn while a read transaction is open on each of the databases, until one is
/// not acknowledged.
async fn write_beside_readers(
    instance: &Instance,
    client: &Client,
    n: u64,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let mut readers: Vec<(&str, &str, Connection, i64)> = Vec::new();
    for (name, _, table) in WRITTEN {
        let conn = database::reader(&database::file(instance, name)?)?;
        conn.execute_batch("BEGIN")?;
        let rows = count(&conn, table)?;
        readers.push((name, table, conn, rows));
    }
    for number in 0..n {
        let (service, route, _) = WRITTEN[number as usize % WRITTEN.len()];
        let text = format!("beside {number}");
        let body = match service {
            GATEWAY => json!({"user_id": text, "conversation_id": "c-1"}),
            EVA => json!({"name": text}),
            _ => json!({"type": "note", "content": text}),
        };
        let sent = Sent::by(client, Ask::post(service, route, body)).await;
        let acknowledged = sent.ok();
        seen.beside_reader.push(sent);
        if !acknowledged {
            break;
        }
    }
    for (name, table, conn, before) in readers {
        let after = count(&conn, table)?;
        seen.snapshots.insert(name.to_owned(), (before, after));
    }
    Ok(())
}

fn count(conn: &Connection, table: &str) -> rusqlite::Result<i64> {
    let sql = format!("SELECT count(*) FROM {table}");
    conn.query_row(&sql, [], |row| row.get(0))
}

#[cfg(test)]
#[path = "wal_mode_tests.rs"]
mod tests;
