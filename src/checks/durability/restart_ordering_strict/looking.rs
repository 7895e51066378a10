//! What restart-ordering-strict looks at while nothing is under way: lists, sessions and memories over
//! HTTP, events too, and the chains in their databases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::deed::Thing;
use super::drive::{Script, no_database};
use super::oracle::List;
use super::stream::{Entry, Reading};
use super::{EVENTS, Lane, Listed, Look, One};
use crate::checks::Undecided;
use crate::target::Ask;

/// Memories that are read back after a restart; at the end all are.
const MEMORIES: usize = 2;

impl Script {
    /// Lists, sessions, memories, chains and events.
    pub(super) async fn look(&self, lane: &mut Lane, kill: Option<usize>) {
        let lists = join_all(List::ALL.map(|list| async move {
            let (service, path) = list.line();
            let exchange = self.client.send(Ask::get(service, path)).await;
            let rows = list.rows(exchange.answered()).filter(|_| exchange.ok());
            let status = exchange.status();
            (list, Listed { status, rows })
        }));
        let old = match kill {
            None => 0,
            Some(_) => {
                let memories = self
                    .readable
                    .iter()
                    .filter(|(thing, ..)| *thing == Thing::Memory);
                memories.count().saturating_sub(MEMORIES)
            }
        };
        let mut memories = 0;
        let read = self.readable.iter().filter(|(thing, ..)| {
            memories += usize::from(*thing == Thing::Memory);
            *thing == Thing::Session || memories > old
        });
        let ones = join_all(read.map(|one| self.one(one)));
        let (lists, ones, mut streams) = tokio::join!(lists, ones, self.chains());
        streams.insert(EVENTS.to_owned(), self.events().await);
        let streams = streams.into_iter().map(|(name, read)| {
            let seen = seen_before(lane, &name);
            (name, Reading::new(read, seen))
        });
        let look = Look {
            kill,
            ops: lane.ops.len(),
            lists: lists.into_iter().collect(),
            ones,
            streams: streams.collect(),
        };
        lane.looks.push(look);
    }

    async fn one(&self, (thing, marker, id): &(Thing, String, String)) -> One {
        let ask = match thing {
            Thing::Memory => Ask::get("memory-engine", &format!("/recall/{id}")),
            _ => Ask::get("api-gateway", &format!("/v3/sessions/{id}")),
        };
        let exchange = self.client.send(ask).await;
        let answer = exchange.answered();
        let facts = match thing {
            Thing::Memory => json!([answer["content"]]),
            _ => json!([answer["user_id"], answer["turn_count"]]),
        };
        One {
            marker: marker.clone(),
            status: exchange.status(),
            facts,
        }
    }

    /// Every chain, from its database.
    async fn chains(&self) -> BTreeMap<String, Result<Vec<Entry>, String>> {
        let listening = self.instance.listening();
        let reads = listening.chains.keys().map(|name| async {
            let read = match listening.databases.get(name) {
                Some(path) => chain(path.clone(), name.clone()).await,
                None => Err(no_database(name).0),
            };
            (name.clone(), read)
        });
        join_all(reads).await.into_iter().collect()
    }

    /// Every event, page by page.
    async fn events(&self) -> Result<Vec<Entry>, String> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry.0);
            let ask = Ask::get("api-gateway", &format!("/v3/events?after={after}"));
            let exchange = self.client.send(ask).await;
            let answer = exchange.answered();
            let page = answer["events"].as_array().filter(|_| exchange.ok());
            let page = page.ok_or_else(|| exchange.line())?;
            if page.is_empty() {
                return Ok(entries);
            }
            for event in page {
                let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                let number = event["seq"]
                    .as_i64()
                    .ok_or_else(|| format!("no seq in {event}"))?;
                entries.push(Entry(number, word("correlation_id"), word("type")));
            }
            // A feed that does not go on would be read for ever.
            if entries.last().is_none_or(|last| last.0 <= after) {
                return Err(format!("the page after {after} does not go on"));
            }
        }
    }
}

/// How many entries of a stream were seen up to the last look.
fn seen_before(lane: &Lane, name: &str) -> usize {
    let readings = lane.looks.iter().filter_map(|look| look.streams.get(name));
    readings.map(|reading| reading.fresh.len()).sum()
}

async fn chain(path: PathBuf, name: String) -> Result<Vec<Entry>, String> {
    let read = tokio::task::spawn_blocking(move || entries(&path, &name)).await;
    read.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

fn entries(path: &Path, chain: &str) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT seq, correlation_id, action || ' ' || outcome FROM audit_log
               WHERE chain = ? ORDER BY seq";
    let db = open(path)?;
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([chain], |row| {
        Ok(Entry(row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    rows.collect()
}

/// The actions of a correlation id's entries.
pub(super) async fn actions(path: PathBuf, id: String) -> Result<Vec<String>, Undecided> {
    let read = move || -> rusqlite::Result<Vec<String>> {
        let db = open(&path)?;
        let mut statement = db.prepare("SELECT action FROM audit_log WHERE correlation_id = ?")?;
        let rows = statement.query_map([id], |row| row.get(0))?;
        rows.collect()
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}
