//! Audit entries, exports and proofs, and their verification over everything that was served:
//! the hash covers all fields of an entry but itself, so it is recomputed from the raw object.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::json::{canonical, sha256_hex};

/// `prev_hash` of entry 0.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// The chain's name.
    pub chain: String,
    /// From 0, no gaps.
    pub seq: i64,
    /// RFC 3339 in UTC with microseconds.
    pub ts: String,
    /// The service that wrote it.
    pub service: String,
    /// Who acted.
    pub actor_id: String,
    /// In which role.
    pub actor_role: String,
    /// The service that acted for them.
    pub via: Option<String>,
    /// `session.create`, ...
    pub action: String,
    /// `session/ses_...`.
    pub resource: String,
    /// `ok`, `refused`, `failed`.
    pub outcome: String,
    /// Of the request.
    pub correlation_id: String,
    /// Of the request, made by the service.
    pub request_id: String,
    /// Raised by each replay.
    pub replay_generation: i64,
    /// `chain/seq/hash` of the entry that caused it.
    pub causal_parent: Option<String>,
    /// Over the canonical form of the request's body.
    pub payload_sha256: String,
    /// Of the entry before.
    pub prev_hash: String,
    /// Over all other fields.
    pub hash: String,
}

/// `GET /v3/audit/export`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// As they were served.
    pub entries: Vec<Value>,
    /// None for a forensic export.
    pub proof: Option<Proof>,
}

/// What an export says of its own entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The chain's name.
    pub chain: String,
    /// Of the first entry.
    pub first_seq: i64,
    /// Of the last entry.
    pub last_seq: i64,
    /// Of the first entry.
    pub first_hash: String,
    /// Of the last entry.
    pub last_hash: String,
    /// Of the entry before the first.
    pub prev_hash: String,
    /// How many entries.
    pub entry_count: i64,
    /// `sha256`.
    pub algorithm: String,
    /// The signed checkpoint, if the chain has one.
    pub checkpoint: Option<String>,
}

/// The entry that a segment goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its number.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

/// One thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The chain that was asked for.
    pub chain: String,
    /// The number of the entry, or its place when it has none; none for the proof.
    pub seq: Option<i64>,
    /// What is wrong.
    pub kind: FlawKind,
}

/// The kinds of flaw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// It is no entry.
    Unreadable(String),
    /// A field has another value than the chain demands.
    Field {
        /// `seq`, `prev_hash`, `hash`, `chain`, `ts`, `outcome`, or `proof.first_seq`, ...
        field: &'static str,
        /// What it is.
        got: String,
        /// What it must be.
        expected: String,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {}", self.chain)?;
        if let Some(seq) = self.seq {
            write!(f, ", entry {seq}")?;
        }
        match &self.kind {
            FlawKind::Unreadable(why) => write!(f, ": unreadable ({why})"),
            FlawKind::Field {
                field,
                got,
                expected,
            } => {
                write!(f, ": {field} is {got}, expected {expected}")
            }
        }
    }
}

/// The hash that an entry ought to have: over all of its fields but `hash`.
#[must_use]
pub fn hash_of(entry: &Value) -> String {
    let mut rest = entry.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("hash");
    }
    sha256_hex(&canonical(&rest))
}

/// `payload_sha256` of a request: over its body, `{}` when there is none.
#[must_use]
pub fn payload_sha256(body: Option<&Value>) -> String {
    match body {
        Some(body) => sha256_hex(&canonical(body)),
        None => sha256_hex(b"{}"),
    }
}

/// Verifies consecutive entries of `chain`, that go on from `before` (none: from the genesis).
/// Every flaw is found, not only the first: an entry is compared with the one really before it,
/// so that one bad entry does not condemn the rest.
#[must_use]
pub fn verify_entries(chain: &str, entries: &[Value], before: Option<&Before>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut seq = before.map_or(0, |entry| entry.seq + 1);
    let mut prev = before.map_or_else(|| GENESIS.to_owned(), |entry| entry.hash.clone());
    for raw in entries {
        let entry: AuditEntry = match crate::contract::read(raw) {
            Ok(entry) => entry,
            Err(why) => {
                let kind = FlawKind::Unreadable(why);
                flaws.push(Flaw {
                    chain: chain.to_owned(),
                    seq: Some(seq),
                    kind,
                });
                prev = raw["hash"].as_str().unwrap_or_default().to_owned();
                seq = raw["seq"].as_i64().unwrap_or(seq) + 1;
                continue;
            }
        };
        let mut check = |field, got: &str, expected: &str| {
            if got != expected {
                let (got, expected) = (got.to_owned(), expected.to_owned());
                let kind = FlawKind::Field {
                    field,
                    got,
                    expected,
                };
                flaws.push(Flaw {
                    chain: chain.to_owned(),
                    seq: Some(entry.seq),
                    kind,
                });
            }
        };
        check("seq", &entry.seq.to_string(), &seq.to_string());
        check("chain", &entry.chain, chain);
        check("prev_hash", &entry.prev_hash, &prev);
        check("hash", &entry.hash, &hash_of(raw));
        if !is_timestamp(&entry.ts) {
            check("ts", &entry.ts, "RFC 3339 in UTC with microseconds");
        }
        if !["ok", "refused", "failed"].contains(&entry.outcome.as_str()) {
            check("outcome", &entry.outcome, "ok, refused or failed");
        }
        seq = entry.seq + 1;
        prev = entry.hash;
    }
    flaws
}

/// Verifies an export: its entries, and its proof against them.
#[must_use]
pub fn verify_export(chain: &str, export: &Export, before: Option<&Before>) -> Vec<Flaw> {
    let mut flaws = verify_entries(chain, &export.entries, before);
    let mut flaw = |kind| {
        flaws.push(Flaw {
            chain: chain.to_owned(),
            seq: None,
            kind,
        })
    };
    let Some(proof) = &export.proof else {
        flaw(FlawKind::Unreadable("no proof".to_owned()));
        return flaws;
    };
    let (Some(first), Some(last)) = (export.entries.first(), export.entries.last()) else {
        flaw(FlawKind::Unreadable("no entries".to_owned()));
        return flaws;
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.to_string();
    let rows = [
        ("proof.chain", proof.chain.clone(), chain.to_owned()),
        (
            "proof.first_seq",
            proof.first_seq.to_string(),
            number(&first["seq"]),
        ),
        (
            "proof.last_seq",
            proof.last_seq.to_string(),
            number(&last["seq"]),
        ),
        (
            "proof.first_hash",
            proof.first_hash.clone(),
            text(&first["hash"]),
        ),
        (
            "proof.last_hash",
            proof.last_hash.clone(),
            text(&last["hash"]),
        ),
        (
            "proof.prev_hash",
            proof.prev_hash.clone(),
            text(&first["prev_hash"]),
        ),
        (
            "proof.entry_count",
            proof.entry_count.to_string(),
            export.entries.len().to_string(),
        ),
        (
            "proof.algorithm",
            proof.algorithm.clone(),
            "sha256".to_owned(),
        ),
    ];
    for (field, got, expected) in rows {
        if got != expected {
            flaw(FlawKind::Field {
                field,
                got,
                expected,
            });
        }
    }
    flaws
}

/// `2026-11-22T10:00:00.000000Z`, a moment that exists.
fn is_timestamp(text: &str) -> bool {
    let shape = text.len() == 27
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            26 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    shape && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
