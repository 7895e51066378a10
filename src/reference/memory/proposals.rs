//! Proposals: memories that somebody would like to have written. What is of little risk is written
//! at once, the rest when it is approved, once and by nobody else.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde_json::{Value, json};

use super::ledger::{self, New, Vector};
use super::{CONTENT, MEMORY};
use crate::reference::ids;
use crate::reference::mutation::{Done, Refused, commit};
use crate::reference::service::Service;
use crate::reference::store::Tx;
use crate::reference::time::Timestamp;
use crate::reference::web::{Call, Field, Refusal, Reply, Row, handler};

/// How much is at risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Written at once.
    AutoLow,
    /// Written when approved.
    GuardedMedium,
    /// Written when approved, and more is at stake.
    GuardedHigh,
}

impl Tier {
    /// As it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::AutoLow => "auto_low",
            Self::GuardedMedium => "guarded_medium",
            Self::GuardedHigh => "guarded_high",
        }
    }
}

/// From the type and the confidence of a proposal to its tier.
pub type TierOf = fn(&str, f64) -> Tier;

/// The table of the contract; the bounds belong to the better tier.
pub fn tier(kind: &str, confidence: f64) -> Tier {
    match kind {
        "event" if confidence >= 0.5 => Tier::AutoLow,
        "event" => Tier::GuardedMedium,
        "fact" if confidence >= 0.85 => Tier::AutoLow,
        "fact" if confidence >= 0.5 => Tier::GuardedMedium,
        "preference" if confidence >= 0.85 => Tier::GuardedMedium,
        _ => Tier::GuardedHigh,
    }
}

const PROPOSAL: &[Field] = &[
    Field::text("proposal_id"),
    Field::text("type"),
    Field::number("confidence"),
    Field::text("content"),
    Field::word("tier", &["auto_low", "guarded_medium", "guarded_high"]),
    Field::flag("approval_required"),
    Field::word("state", &["pending", "written", "rejected"]),
    Field::text("memory_id").or_null(),
    Field::text("created_at"),
];

/// The routes.
pub(super) fn routes() -> Vec<Row> {
    let path = "/v1/proposals";
    let mutation =
        |line, action, resource, run| Row::mutation(MEMORY, line, "v4.5", (action, resource), run);
    vec![
        mutation(
            ("POST", path),
            "proposal.create",
            "proposal",
            handler(create),
        )
        .about("Proposes a memory; what is of little risk is written at once.")
        .takes(&[
            Field::id("type"),
            Field::number("confidence"),
            CONTENT,
            Field::free("metadata").optional(),
        ])
        .gives(201, PROPOSAL),
        Row::get(MEMORY, path, "v4.5", handler(list))
            .about("Proposals that nobody has decided, oldest first.")
            .gives(200, &[Field::list("proposals", PROPOSAL)]),
        mutation(
            ("POST", "/v1/proposals/{id}/approve"),
            "proposal.approve",
            "proposal/{id}",
            handler(approve),
        )
        .about("Writes the memory that was proposed.")
        .gives(200, PROPOSAL),
        mutation(
            ("POST", "/v1/proposals/{id}/reject"),
            "proposal.reject",
            "proposal/{id}",
            handler(reject),
        )
        .about("Writes nothing, for good.")
        .gives(200, PROPOSAL),
    ]
}

async fn create(svc: Arc<Service>, call: Call) -> Reply {
    let (id, memory_id) = (ids::make("prp_"), ids::make("mem_"));
    let auto = proposed_tier(&svc, &call) == Some(Tier::AutoLow);
    let text = call.body["content"].as_str().filter(|_| auto);
    let vector = ledger::embed(&svc, &call, text).await;
    let (service, request, made) = (svc.clone(), call.clone(), memory_id.clone());
    let reply = commit(&svc, &call, move |tx| {
        let limits = &service.config().limits;
        let fields = request.fields()?;
        let kind = fields.text("type", limits.id_chars)?;
        let content = fields.text("content", limits.body_bytes)?;
        let empty = json!({});
        let metadata = fields.optional_object("metadata")?.unwrap_or(&empty);
        let confidence = fields.number("confidence", 0.0..=1.0)?;
        let tier = (service.parts.tier_of)(kind, confidence);
        let written = tier == Tier::AutoLow;
        if written {
            let new = New {
                id: &made,
                kind,
                content,
                metadata,
                priority: "normal",
            };
            ledger::insert(tx, &new, vector.as_ref())?;
        }
        tx.sql()
            .prepare_cached(
                "INSERT INTO proposals (id, type, confidence, content, metadata, tier, state,
                 memory_id, created_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                id,
                kind,
                confidence,
                content,
                metadata.to_string(),
                tier.word(),
                if written { "written" } else { "pending" },
                written.then_some(&made),
                tx.now().us(),
            ])?;
        let proposal = find(tx.sql(), &id)?.ok_or_else(|| unknown(&id))?;
        Ok::<_, Refused>(Done::new(201, proposal).on(format!("proposal/{id}")))
    });
    let reply = reply.await;
    if auto {
        ledger::refresh(&svc, &memory_id).await;
    }
    reply
}

/// The tier of what a request proposes, if it proposes anything.
fn proposed_tier(svc: &Service, call: &Call) -> Option<Tier> {
    let (kind, confidence) = (&call.body["type"], &call.body["confidence"]);
    Some((svc.parts.tier_of)(kind.as_str()?, confidence.as_f64()?))
}

async fn approve(svc: Arc<Service>, call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let content = svc.store.read(move |sql| {
        sql.prepare_cached("SELECT content FROM proposals WHERE id = ?1 AND state = 'pending'")?
            .query_row([&id], |row| row.get::<_, String>(0))
            .optional()
    });
    let content = content.await.unwrap_or_default();
    let vector = ledger::embed(&svc, &call, content.as_deref()).await;
    let (request, memory_id) = (call.clone(), ids::make("mem_"));
    let made = memory_id.clone();
    let reply = commit(&svc, &call, move |tx| {
        let id = request.param("id");
        decide(tx, id, "written", Some(&made))?;
        write(tx, id, &made, vector.as_ref())?;
        let proposal = find(tx.sql(), id)?.ok_or_else(|| unknown(id))?;
        Ok::<_, Refused>(Done::new(200, proposal))
    });
    let reply = reply.await;
    ledger::refresh(&svc, &memory_id).await;
    reply
}

async fn reject(svc: Arc<Service>, call: Call) -> Reply {
    let request = call.clone();
    commit(&svc, &call, move |tx| {
        let id = request.param("id");
        decide(tx, id, "rejected", None)?;
        let proposal = find(tx.sql(), id)?.ok_or_else(|| unknown(id))?;
        Ok::<_, Refused>(Done::new(200, proposal))
    })
    .await
}

/// One decision wins: the row that it changed tells.
fn decide(tx: &mut Tx<'_>, id: &str, to: &str, memory_id: Option<&str>) -> Result<(), Refused> {
    let changed = tx
        .sql()
        .prepare_cached(
            "UPDATE proposals SET state = ?2, memory_id = ?3 WHERE id = ?1 AND state = 'pending'",
        )?
        .execute(params![id, to, memory_id])?;
    if changed == 1 {
        return Ok(());
    }
    let state: Option<String> = tx
        .sql()
        .prepare_cached("SELECT state FROM proposals WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let state = state.ok_or_else(|| unknown(id))?;
    let refusal = Refusal::conflict("ALREADY_DECIDED", format!("proposal {id} is {state}"));
    Err(refusal
        .details(json!({"proposal_id": id, "state": state}))
        .into())
}

fn write(
    tx: &mut Tx<'_>,
    id: &str,
    memory_id: &str,
    vector: Option<&Vector>,
) -> Result<(), Refused> {
    let (kind, content, metadata): (String, String, String) = tx
        .sql()
        .prepare_cached("SELECT type, content, metadata FROM proposals WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let metadata = serde_json::from_str(&metadata).unwrap_or_else(|_| json!({}));
    let new = New {
        id: memory_id,
        kind: &kind,
        content: &content,
        metadata: &metadata,
        priority: "normal",
    };
    Ok(ledger::insert(tx, &new, vector)?)
}

async fn list(svc: Arc<Service>, call: Call) -> Reply {
    let page = i64::try_from(svc.config().limits.page_size).unwrap_or(i64::MAX);
    let read = svc.store.read(move |sql| {
        sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM proposals WHERE state = 'pending' ORDER BY seq LIMIT ?1"
        ))?
        .query_map([page], shown)?
        .collect::<rusqlite::Result<Vec<Value>>>()
    });
    match read.await {
        Ok(proposals) => Reply::ok(&call.correlation_id, json!({"proposals": proposals})),
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

const COLUMNS: &str = "id, type, confidence, content, tier, state, memory_id, created_at_us";

fn find(sql: &Connection, id: &str) -> rusqlite::Result<Option<Value>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM proposals WHERE id = ?1"))?
        .query_row([id], shown)
        .optional()
}

fn shown(row: &SqlRow<'_>) -> rusqlite::Result<Value> {
    let tier: String = row.get(4)?;
    Ok(json!({
        "proposal_id": row.get::<_, String>(0)?,
        "type": row.get::<_, String>(1)?,
        "confidence": row.get::<_, f64>(2)?,
        "content": row.get::<_, String>(3)?,
        "approval_required": tier != Tier::AutoLow.word(),
        "tier": tier,
        "state": row.get::<_, String>(5)?,
        "memory_id": row.get::<_, Option<String>>(6)?,
        "created_at": Timestamp(row.get(7)?).to_string(),
    }))
}

fn unknown(id: &str) -> Refusal {
    Refusal::not_found("PROPOSAL_NOT_FOUND", format!("no proposal {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_those_of_the_contract_on_both_sides_of_each_bound() {
        let text = include_str!("../../../fixtures/contract/memory.json");
        let contract: Value = serde_json::from_str(text).unwrap();
        let rows = contract["tiers"].as_array().unwrap();
        let told = |kind: &str, confidence: f64| {
            let of_kind = |name: &str| {
                rows.iter().find(|row| {
                    row["type"] == name && row["confidence"].as_f64().unwrap() <= confidence
                })
            };
            let row = of_kind(kind).or_else(|| of_kind("instruction")).unwrap();
            row["tier"].clone()
        };
        for kind in ["event", "fact", "preference", "instruction", "anything"] {
            for confidence in [0.0, 0.49, 0.5, 0.84, 0.85, 1.0] {
                let got = tier(kind, confidence).word();
                assert_eq!(told(kind, confidence), got, "{kind} {confidence}");
            }
        }
    }
}
