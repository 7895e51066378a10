//! Reads of a chain, and what they came to.

use futures_util::future::join_all;
use serde_json::Value;

use super::{Answer, Look, Outcome, What};
use crate::checks::audit::stored;
use crate::contract::checkpoint::question;
use crate::contract::merkle::Head;
use crate::contract::{self, Consistency, Export, Signed};
use crate::target::{Ask, Client, Exchange};

/// Reads a chain.
pub(super) struct Reader<'a> {
    pub(super) client: &'a Client,
    pub(super) chain: &'a str,
    /// What the witness has seen of it.
    pub(super) witness: Option<Head>,
    /// The acknowledged entries.
    pub(super) entries: &'a [Value],
}

impl Reader<'_> {
    /// All these reads at once: none of them changes anything.
    pub(super) async fn look(&self, what: &[What]) -> Vec<Look> {
        join_all(what.iter().map(|what| self.one(*what))).await
    }

    async fn one(&self, what: What) -> Look {
        let exchange = self.client.send(self.ask(what)).await;
        let answer = answer(what, &exchange);
        Look { what, answer }
    }

    fn ask(&self, what: What) -> Ask {
        let chain = self.chain;
        let path = match what {
            What::Whole => format!("/v1/audit/export?chain={chain}"),
            What::Segment(from, to) => {
                format!("/v3/audit/export?chain={chain}&from_seq={from}&to_seq={to}")
            }
            What::Checkpoint => format!("/v3/audit/checkpoint?chain={chain}"),
            What::Consistency => {
                let old = self.witness.as_ref().map(question).unwrap_or_default();
                format!("/v3/audit/consistency?chain={chain}&{old}")
            }
            What::Trace(seq) => {
                let entry = usize::try_from(seq)
                    .ok()
                    .and_then(|seq| self.entries.get(seq));
                let id = entry.and_then(|entry| entry["correlation_id"].as_str());
                format!("/v3/audit/trace/{}", id.unwrap_or("none"))
            }
        };
        Ask::get("api-gateway", &path)
    }
}

/// A status and its code.
pub(super) fn outcome(exchange: &Exchange) -> Outcome {
    let code = match &exchange.error {
        Some(error) => error.clone(),
        None => exchange.code().to_owned(),
    };
    Outcome {
        status: exchange.status(),
        code,
    }
}

fn answer(what: What, exchange: &Exchange) -> Answer {
    let body = exchange.answered();
    if exchange.status() == 409 && exchange.code() == "CHAIN_BROKEN" {
        let details = &body["error"]["details"];
        let text = |field: &str| details[field].as_str().unwrap_or_default().to_owned();
        return Answer::Broken {
            chain: text("chain"),
            seq: details["seq"].as_i64(),
            reason: text("reason"),
        };
    }
    let read = match what {
        _ if exchange.status() != 200 => None,
        What::Whole | What::Segment(..) => contract::read::<Export>(body).ok().map(entries),
        What::Trace(_) => body["entries"].as_array().map(|entries| Answer::Entries {
            digests: entries.iter().map(stored::digest).collect(),
            checkpoint: None,
        }),
        What::Checkpoint => without_envelope::<Signed>(body).map(Answer::Signed),
        What::Consistency => without_envelope::<Consistency>(body).map(Answer::Proof),
    };
    read.unwrap_or_else(|| Answer::Other(outcome(exchange)))
}

fn entries(export: Export) -> Answer {
    Answer::Entries {
        digests: export.entries.iter().map(stored::digest).collect(),
        checkpoint: export.proof.and_then(|proof| proof.checkpoint),
    }
}

fn without_envelope<T: serde::de::DeserializeOwned>(body: &Value) -> Option<T> {
    let read: contract::Body<T> = contract::read(body).ok()?;
    Some(read.data)
}
