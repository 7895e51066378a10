//! The ledger: memories and their vectors in one transaction. The index follows it, after each
//! change and at start; a memory without a vector gets one when there is one to be had.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde_json::{Value, json};

use super::embed::{self, Purpose, Wanted};
use super::file::Entry;
use super::index::{Index, Opening};
use super::{MEMORY, unknown};
use crate::reference::ids;
use crate::reference::mutation::Refused;
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::web::{Call, Field, Refusal, Reply, Row, handler};

/// Memories that get their vectors in one go.
const MENDED_AT_ONCE: i64 = 64;

const MISMATCH: &[Field] = &[
    Field::text("file"),
    Field::text("expected_sha256"),
    Field::text("got_sha256"),
];
const MANIFEST: &[Field] = &[
    Field::count("format"),
    Field::text("file"),
    Field::text("sha256"),
    Field::count("entry_count"),
];

/// The route.
pub(super) fn routes() -> Vec<Row> {
    vec![
        Row::get(MEMORY, "/v1/index", "v4.3", handler(look))
            .about("The vector index: what is in it, how it was loaded, and its manifest.")
            .gives(
                200,
                &[
                    Field::word("state", &["ready", "repairing"]),
                    Field::count("vectors"),
                    Field::count("documents"),
                    Field::text("embedder"),
                    Field::word("loaded", &["new", "verified", "rebuilt"]),
                    Field::object("mismatch", MISMATCH).or_null(),
                    Field::object("manifest", MANIFEST).or_null(),
                ],
            ),
    ]
}

async fn look(svc: Arc<Service>, call: Call) -> Reply {
    let embedder = embed::embedder(&svc);
    let counted = svc.store.read(move |sql| {
        sql.query_row(
            "SELECT (SELECT count(*) FROM memories),
                    (SELECT count(*) FROM vectors WHERE embedder = ?1)",
            [embedder],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )
    });
    let answer = match (counted.await, svc.shared.memory()) {
        (Err(error), _) => Err(Refusal::store(&error)),
        (_, None) => Err(Refusal::unavailable("NO_INDEX", "there is no index", 1)),
        (Ok((documents, embedded)), Some(index)) => {
            let mut body = index.value();
            let whole = documents == embedded && body["vectors"] == documents;
            body["documents"] = json!(documents);
            body["state"] = json!(if whole { "ready" } else { "repairing" });
            Ok(body)
        }
    };
    match answer {
        Ok(body) => Reply::ok(&call.correlation_id, body),
        Err(refusal) => refusal.reply(&call.correlation_id),
    }
}

/// A memory that is to be.
pub(super) struct New<'a> {
    pub(super) id: &'a str,
    pub(super) kind: &'a str,
    pub(super) content: &'a str,
    pub(super) metadata: &'a Value,
    pub(super) priority: &'a str,
}

/// The vector of a text that a request brings, with who made it.
pub(super) type Vector = (&'static str, Vec<f32>);

/// Embeds what a request wants kept, if it is a text that may be kept.
pub(super) async fn embed(svc: &Arc<Service>, call: &Call, text: Option<&str>) -> Option<Vector> {
    let text = text.filter(|text| !text.is_empty())?;
    let wanted = Wanted {
        purpose: Purpose::Keep,
        text: text.to_owned(),
        correlation_id: call.correlation_id.clone(),
    };
    let vector = (svc.parts.embedder)(svc.clone(), wanted).await?;
    Some((embed::embedder(svc), vector))
}

/// Writes a memory and its vector.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    new: &New<'_>,
    vector: Option<&Vector>,
) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached(
            "INSERT INTO memories (id, type, content, metadata, priority, created_at_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            new.id,
            new.kind,
            new.content,
            new.metadata.to_string(),
            new.priority,
            tx.now().us()
        ])?;
    Ok(keep(tx.sql(), new.id, vector)?)
}

/// Changes a memory; its vector goes with what it was of.
pub(super) fn change(
    tx: &mut Tx<'_>,
    id: &str,
    content: &str,
    (metadata, priority): (Option<&Value>, Option<&str>),
    vector: Option<&Vector>,
) -> Result<(), Refused> {
    let sql = tx.sql();
    let changed = sql
        .prepare_cached(
            "UPDATE memories SET content = ?2, metadata = coalesce(?3, metadata),
             priority = coalesce(?4, priority), version = version + 1 WHERE id = ?1",
        )?
        .execute(params![
            id,
            content,
            metadata.map(Value::to_string),
            priority
        ])?;
    if changed == 0 {
        return Err(unknown(id).into());
    }
    sql.prepare_cached("DELETE FROM vectors WHERE memory_id = ?1")?
        .execute([id])?;
    Ok(keep(sql, id, vector)?)
}

fn keep(sql: &Connection, id: &str, vector: Option<&Vector>) -> rusqlite::Result<()> {
    let Some((embedder, vector)) = vector else {
        return Ok(());
    };
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    sql.prepare_cached(
        "INSERT INTO vectors (memory_id, embedder, vector) VALUES (?1, ?2, ?3)
         ON CONFLICT (memory_id) DO UPDATE SET embedder = ?2, vector = ?3",
    )?
    .execute(params![id, embedder, bytes])?;
    Ok(())
}

const ENTRIES: &str = "SELECT m.id, m.seq, m.version, v.vector
     FROM memories m JOIN vectors v ON v.memory_id = m.id WHERE v.embedder = ?1";

fn entry(row: &SqlRow<'_>) -> rusqlite::Result<Entry> {
    let bytes: Vec<u8> = row.get(3)?;
    let number = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    Ok(Entry {
        id: row.get(0)?,
        seq: row.get(1)?,
        version: row.get(2)?,
        vector: bytes.chunks_exact(4).map(number).collect(),
    })
}

/// Brings the index up to the ledger for one memory, and saves it when much has changed.
pub(super) async fn refresh(svc: &Arc<Service>, id: &str) {
    let Some(index) = svc.shared.memory().cloned() else {
        return;
    };
    let (embedder, named) = (embed::embedder(svc), id.to_owned());
    let read = svc.store.read(move |sql| {
        let one = format!("{ENTRIES} AND m.id = ?2");
        sql.prepare_cached(&one)?
            .query_row([embedder, &named], entry)
            .optional()
    });
    match read.await {
        Ok(Some(entry)) => index.put(entry),
        Ok(None) => index.remove(id),
        Err(error) => tracing::warn!(%error, id, "the index lags behind until the next start"),
    }
    if index.changes() >= svc.config().memory.save_every {
        save(svc, index).await;
    }
}

async fn save(svc: &Service, index: Arc<Index>) {
    let describe = svc.parts.index_manifest;
    let saved = tokio::task::spawn_blocking(move || index.save(describe)).await;
    if !matches!(saved, Ok(Ok(()))) {
        tracing::warn!(?saved, "the index is not saved");
    }
}

/// Opens the index of a memory-engine, before it answers anything.
///
/// # Errors
/// When neither the ledger nor the files can be read.
pub async fn restore(svc: &Arc<Service>) -> Result<(), StoreError> {
    let embedder = embed::embedder(svc);
    let ledger = svc.store.read(move |sql| {
        sql.prepare(&format!("{ENTRIES} ORDER BY m.seq"))?
            .query_map([embedder], entry)?
            .collect::<rusqlite::Result<Vec<Entry>>>()
    });
    let ledger = ledger.await?;
    let (verify, repair) = (svc.parts.index_verify, svc.parts.index_repair);
    let database = svc.store.path().to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let opening = Opening {
            database: &database,
            embedder,
            verify,
            repair,
        };
        Index::open(&opening, ledger)
    });
    let failed = |why: String| StoreError::Unavailable(format!("the index: {why}"));
    let index = opened
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    let index = Arc::new(index);
    if index.is_unsaved() {
        save(svc, index.clone()).await;
    }
    svc.shared.set_memory(index);
    Ok(())
}

/// Saves the index when the process stops.
pub async fn close(svc: Arc<Service>) {
    if let Some(index) = svc.shared.memory().cloned() {
        save(&svc, index).await;
    }
}

/// Gives vectors to memories that have none, as long as the process runs.
pub async fn mend(svc: Arc<Service>) {
    loop {
        mend_some(&svc).await;
        let pace = Duration::from_millis(svc.config().memory.repair_interval_ms);
        tokio::time::sleep(pace).await;
    }
}

async fn mend_some(svc: &Arc<Service>) {
    let embedder = embed::embedder(svc);
    let wanting = svc.store.read(move |sql| {
        sql.prepare_cached(
            "SELECT m.id, m.version, m.content FROM memories m
             LEFT JOIN vectors v ON v.memory_id = m.id AND v.embedder = ?1
             WHERE v.memory_id IS NULL ORDER BY m.seq LIMIT ?2",
        )?
        .query_map(params![embedder, MENDED_AT_ONCE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<Vec<(String, i64, String)>>>()
    });
    for (id, version, text) in wanting.await.unwrap_or_default() {
        let wanted = Wanted {
            purpose: Purpose::Mend,
            text,
            correlation_id: ids::make("req_"),
        };
        let Some(vector) = (svc.parts.embedder)(svc.clone(), wanted).await else {
            // Whoever embeds is away, or this text has no vector: there is a next time.
            continue;
        };
        let (vector, named) = ((embedder, vector), id.clone());
        let written = svc.store.write(move |tx| {
            let current: Option<i64> = tx
                .sql()
                .prepare_cached("SELECT version FROM memories WHERE id = ?1")?
                .query_row([&named], |row| row.get(0))
                .optional()?;
            match current == Some(version) {
                true => Ok(keep(tx.sql(), &named, Some(&vector))?),
                false => Ok(()),
            }
        });
        if written.await.is_ok() {
            refresh(svc, &id).await;
        }
    }
}
