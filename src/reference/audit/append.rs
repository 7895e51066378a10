//! Appending inside a transaction: the entry commits with the effect that it describes.

use rusqlite::{Connection, OptionalExtension, params};

use super::{ChainRule, Draft, Entry, Link};
use crate::reference::time::Timestamp;

/// The last entry's place, read from the table itself.
pub fn last(conn: &Connection, chain: &str) -> rusqlite::Result<Option<Link>> {
    conn.prepare_cached(
        "SELECT seq, hash FROM audit_log WHERE chain = ?1 ORDER BY seq DESC LIMIT 1",
    )?
    .query_row([chain], |row| {
        Ok(Link {
            chain: chain.to_owned(),
            seq: row.get(0)?,
            hash: row.get(1)?,
        })
    })
    .optional()
}

/// Appends one entry. `at_start` is the chain's last place when this process opened the database.
pub fn append(
    conn: &Connection,
    rule: &dyn ChainRule,
    chain: &str,
    at_start: Option<&Link>,
    now: Timestamp,
    draft: Draft,
) -> rusqlite::Result<Link> {
    let last = last(conn, chain)?;
    let first_since_start = last.as_ref() == at_start;
    let Draft {
        origin,
        action,
        resource,
        outcome,
    } = rule.draft(draft);
    let mut entry = Entry {
        chain: chain.to_owned(),
        seq: last.as_ref().map_or(0, |link| link.seq + 1),
        ts: now.to_string(),
        service: chain.to_owned(),
        actor_id: origin.actor_id,
        actor_role: origin.actor_role,
        via: origin.via,
        action,
        resource,
        outcome: outcome.word().to_owned(),
        correlation_id: origin.correlation_id,
        request_id: origin.request_id,
        replay_generation: origin.replay_generation,
        causal_parent: origin.causal_parent,
        payload_sha256: origin.payload_sha256,
        prev_hash: rule.prev(last.as_ref(), first_since_start),
        hash: String::new(),
    };
    entry.hash = rule.digest(&entry);
    insert(conn, &entry)?;
    Ok(entry.link())
}

fn insert(conn: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO audit_log (chain, seq, ts, service, actor_id, actor_role, via, action, \
         resource, outcome, correlation_id, request_id, replay_generation, causal_parent, \
         payload_sha256, prev_hash, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?
    .execute(params![
        entry.chain,
        entry.seq,
        entry.ts,
        entry.service,
        entry.actor_id,
        entry.actor_role,
        entry.via,
        entry.action,
        entry.resource,
        entry.outcome,
        entry.correlation_id,
        entry.request_id,
        entry.replay_generation,
        entry.causal_parent,
        entry.payload_sha256,
        entry.prev_hash,
        entry.hash,
    ])?;
    Ok(())
}
