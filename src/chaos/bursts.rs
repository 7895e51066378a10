//! Bursts of writes, each ended by a KILL: what was acknowledged before it is there after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Judgement, Sent};
use crate::target::{Ask, Client, Instance};
use crate::violation;

const MEMORY: &str = "memory-engine";
/// Clients of a burst.
const WRITERS: usize = 8;
/// How long a burst may take to its last acknowledgement.
const BURST_BOUND: Duration = Duration::from_secs(20);
/// Reads under way at once.
const READS_AT_ONCE: usize = 8;

/// One burst and its KILL.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Burst {
    /// Every write that was begun. Those without an answer may have happened.
    pub writes: Vec<Sent>,
    /// Whether the target was killed while more writes were on their way.
    pub killed: bool,
    /// Every acknowledged row, read after the restart.
    pub reads: Vec<Sent>,
}

/// What was acknowledged before this KILL is there after it.
pub fn survived<'a>(
    number: usize,
    burst: &'a Burst,
    ids: &mut BTreeSet<&'a str>,
    judgement: &mut Judgement,
) {
    for sent in burst.writes.iter().filter(|sent| sent.answered()) {
        let Some(id) = id(sent) else {
            violation!(
                judgement,
                "burst {number}, {}: expected 201 with an id",
                sent.line()
            );
            continue;
        };
        judgement.expect(ids.insert(id), || {
            format!(
                "burst {number}, {}: got the id {id} again, expected a fresh one",
                sent.line()
            )
        });
        if !burst.killed {
            continue;
        }
        match burst.reads.iter().find(|read| read.path == path(id)) {
            Some(read) if read.answered() => {
                judgement.exercised("acknowledged_before_kill", 1);
                let content = |body: &Value| body["content"].clone();
                let (got, expected) = (
                    content(&read.answer),
                    sent.body.as_ref().map_or(Value::Null, content),
                );
                judgement.expect(read.ok() && got == expected, || {
                    format!(
                        "after KILL {number} {}: got {} with {got}, expected 200 with {expected}",
                        read.line(),
                        read.status
                    )
                });
            }
            _ => judgement.undecided(format!("memory {id} was not read after KILL {number}")),
        }
    }
}

fn id(sent: &Sent) -> Option<&str> {
    sent.answer["id"].as_str().filter(|_| sent.ok())
}

fn path(id: &str) -> String {
    format!("/recall/{id}")
}

/// What the clients of a burst share.
#[derive(Default)]
struct Going {
    acknowledged: AtomicU64,
    over: AtomicBool,
}

/// One burst on a target that runs, killed as soon as so many writes are acknowledged, and started
/// again; then every acknowledged row is read.
///
/// # Errors
/// When it cannot be killed or does not come back.
pub async fn drive(
    instance: &mut Instance,
    client: &Client,
    number: usize,
    wanted: u64,
    seen: &mut Vec<Burst>,
) -> anyhow::Result<()> {
    seen.push(Burst::default());
    let wanted = wanted.max(WRITERS as u64);
    let going = Arc::new(Going::default());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let prefix = format!("burst {number} of {writer}");
        writers.spawn(write_on(client.clone(), prefix, Arc::clone(&going)));
    }
    // Not a poll with pauses: the KILL should follow right upon an acknowledgement.
    let end = tokio::time::Instant::now() + BURST_BOUND;
    while going.acknowledged.load(Ordering::Relaxed) < wanted
        && !going.over.load(Ordering::Relaxed)
        && tokio::time::Instant::now() < end
    {
        tokio::task::yield_now().await;
    }
    let in_mid_burst = !going.over.load(Ordering::Relaxed);
    instance.kill().await?;
    going.over.store(true, Ordering::Relaxed);
    let writes: Vec<Sent> = writers.join_all().await.into_iter().flatten().collect();
    let ids: Vec<String> = writes.iter().filter_map(id).map(str::to_owned).collect();
    let burst = seen.last_mut().expect("a burst was added");
    burst.writes = writes;
    instance.start_again().await?;
    burst.killed = in_mid_burst;
    for ids in ids.chunks(READS_AT_ONCE) {
        let reads = ids
            .iter()
            .map(|id| Sent::by(client, Ask::get(MEMORY, &path(id))));
        burst
            .reads
            .extend(futures_util::future::join_all(reads).await);
    }
    Ok(())
}

/// Stores one memory after the other until the burst is over, or one is not acknowledged.
async fn write_on(client: Client, prefix: String, going: Arc<Going>) -> Vec<Sent> {
    let mut writes = Vec::new();
    while !going.over.load(Ordering::Relaxed) {
        let content = format!("{prefix}: {}", writes.len());
        let body = json!({"type": "note", "content": content});
        let sent = Sent::by(&client, Ask::post(MEMORY, "/store", body)).await;
        if sent.ok() {
            going.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            going.over.store(true, Ordering::Relaxed);
        }
        writes.push(sent);
    }
    writes
}
