//! Verification on read. Nothing that was verified is remembered: each read checks what it reads,
//! and the link to the entry before the first one.

use std::fmt;

use rusqlite::{Connection, Row, params};

use super::{ChainRule, Entry, Link};
use crate::reference::store::is_lock;

/// Why an entry is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its hash is not the hash of its fields.
    Hash,
    /// It does not point to the hash of the entry before.
    Prev,
    /// It is missing, or another one stands in its place.
    Gap,
    /// It cannot be read as an entry.
    Unreadable,
    /// The chain is not the one that a checkpoint was signed for.
    Checkpoint,
}

impl Reason {
    /// The word in `details.reason`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Prev => "prev",
            Self::Gap => "gap",
            Self::Unreadable => "unreadable",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// The first bad place of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The chain.
    pub chain: String,
    /// The first bad seq.
    pub seq: i64,
    /// What is wrong with it.
    pub reason: Reason,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Reason::Hash => "hash mismatch",
            Reason::Prev => "it does not follow the entry before",
            Reason::Gap => "entry missing or out of order",
            Reason::Unreadable => "unreadable",
            Reason::Checkpoint => "not as its checkpoint says",
        };
        write!(
            f,
            "chain {} is broken at seq {}: {what}",
            self.chain, self.seq
        )
    }
}

/// Verified entries, and the hash that the first of them points back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// In order, without gaps; empty when the range holds none.
    pub entries: Vec<Entry>,
}

/// Where an entry stands in what is read.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The seq that it has to have.
    pub seq: i64,
    /// The entry before, when that one was read too.
    pub last: Option<&'a Link>,
    /// The last seq that is read.
    pub end: i64,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked<T> {
    /// Everything read is as it was appended.
    Clean(T),
    /// The chain is broken.
    Broken(Break),
}

impl<T> Checked<T> {
    /// The same, with something made of what was read.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Checked<U> {
        match self {
            Self::Clean(value) => Checked::Clean(make(value)),
            Self::Broken(broken) => Checked::Broken(broken),
        }
    }
}

/// Reads and verifies entries `from..=to`, at most `limit` of them.
///
/// # Errors
/// When the database cannot be read at all just now (locked); damage is a [`Break`].
pub fn segment(
    conn: &Connection,
    rule: &dyn ChainRule,
    chain: &str,
    (from, to): (i64, i64),
    limit: usize,
) -> rusqlite::Result<Checked<Segment>> {
    let mut walk = Walk::new(rule, chain, from);
    let mut entries = Vec::new();
    let found = walk.through(conn, to, |entry| {
        entries.push(entry);
        Ok(entries.len() < limit)
    })?;
    Ok(match found {
        Some(broken) => Checked::Broken(broken),
        None => Checked::Clean(Segment { entries }),
    })
}

/// Verifies a whole chain, and hands over each entry that is as it should be; the answer is the
/// first break, which `keep` may find too.
///
/// # Errors
/// When the database cannot be read at all just now.
pub fn each(
    conn: &Connection,
    rule: &dyn ChainRule,
    chain: &str,
    mut keep: impl FnMut(Entry) -> Result<(), Reason>,
) -> rusqlite::Result<Option<Break>> {
    let mut walk = Walk::new(rule, chain, 0);
    walk.through(conn, i64::MAX, |entry| keep(entry).map(|()| true))
}

struct Walk<'a> {
    rule: &'a dyn ChainRule,
    chain: &'a str,
    from: i64,
    /// The place that the next row has to have.
    expected: i64,
    last: Option<Link>,
}

/// What a table holds, whatever a row says of itself.
struct Extent {
    newest: i64,
    /// The first entry in the range that names another chain: it slipped out of this one.
    foreign: Option<i64>,
}

impl<'a> Walk<'a> {
    fn new(rule: &'a dyn ChainRule, chain: &'a str, from: i64) -> Self {
        // One entry earlier is read and checked too: the first one's link leads there.
        Self {
            rule,
            chain,
            from,
            expected: (from - 1).max(0),
            last: None,
        }
    }

    fn through(
        &mut self,
        conn: &Connection,
        to: i64,
        keep: impl FnMut(Entry) -> Result<bool, Reason>,
    ) -> rusqlite::Result<Option<Break>> {
        match self.walk(conn, to, keep) {
            Ok(found) => Ok(found.map(|(seq, reason)| self.broken(seq, reason))),
            Err(error) if is_lock(&error) => Err(error),
            Err(_) => Ok(Some(self.broken(self.expected, Reason::Unreadable))),
        }
    }

    fn walk(
        &mut self,
        conn: &Connection,
        to: i64,
        mut keep: impl FnMut(Entry) -> Result<bool, Reason>,
    ) -> rusqlite::Result<Option<(i64, Reason)>> {
        let Extent { newest, foreign } = self.extent(conn, to)?;
        let end = newest.min(to);
        let mut statement = conn.prepare_cached(
            "SELECT chain, seq, ts, service, actor_id, actor_role, via, action, resource, \
             outcome, correlation_id, request_id, replay_generation, causal_parent, \
             payload_sha256, prev_hash, hash FROM audit_log \
             WHERE chain = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq",
        )?;
        let mut rows = statement.query(params![self.chain, self.expected, end])?;
        while let Some(row) = rows.next()? {
            if foreign.is_some_and(|foreign| foreign <= self.expected) {
                break;
            }
            let entry = entry(row)?;
            let place = Place {
                seq: self.expected,
                last: self.last.as_ref(),
                end,
            };
            if let Err(reason) = self.rule.check(&place, &entry) {
                return Ok(Some((self.expected, reason)));
            }
            self.last = Some(entry.link());
            self.expected += 1;
            if entry.seq < self.from {
                continue;
            }
            match keep(entry) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(reason) => return Ok(Some((self.expected - 1, reason))),
            }
        }
        Ok(match foreign {
            // One that slipped away with its number stands where it is missed; one whose number is
            // another too leaves a gap before.
            Some(foreign) if foreign <= self.expected => Some((foreign, Reason::Hash)),
            // Entries 0 to 9 without 5, read up to 5: nothing bad is seen, 5 just does not come.
            _ => (self.expected <= end).then_some((self.expected, Reason::Gap)),
        })
    }

    fn extent(&self, conn: &Connection, to: i64) -> rusqlite::Result<Extent> {
        conn.prepare_cached(
            "SELECT coalesce(max(CASE typeof(seq) WHEN 'integer' THEN seq END), -1), \
             min(CASE WHEN chain IS NOT ?1 AND seq >= ?2 AND seq <= ?3 THEN seq END) \
             FROM audit_log",
        )?
        .query_row(params![self.chain, self.expected, to], |row| {
            Ok(Extent {
                newest: row.get(0)?,
                foreign: row.get(1)?,
            })
        })
    }

    fn broken(&self, seq: i64, reason: Reason) -> Break {
        Break {
            chain: self.chain.to_owned(),
            seq,
            reason,
        }
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        chain: row.get(0)?,
        seq: row.get(1)?,
        ts: row.get(2)?,
        service: row.get(3)?,
        actor_id: row.get(4)?,
        actor_role: row.get(5)?,
        via: row.get(6)?,
        action: row.get(7)?,
        resource: row.get(8)?,
        outcome: row.get(9)?,
        correlation_id: row.get(10)?,
        request_id: row.get(11)?,
        replay_generation: row.get(12)?,
        causal_parent: row.get(13)?,
        payload_sha256: row.get(14)?,
        prev_hash: row.get(15)?,
        hash: row.get(16)?,
    })
}
