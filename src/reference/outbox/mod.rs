//! What turns leave in the memory engine. A write is tried once as its turn ends; one that was not
//! taken is kept in the transaction that ends the turn, and delivered later without anybody asking,
//! under the same id. While one waits, those after it wait too: the engine is down, and turns are not.

mod table;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::ids;
use super::outbound::{OnBehalfOf, Outbound, Sent};
use super::service::Service;
use super::store::{StoreError, Tx};

pub use table::Write;

/// Writes that are read at once.
const BATCH: i64 = 64;

/// What a try comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine has it.
    Delivered,
    /// The engine will never take it.
    Refused,
    /// It may have it or not: the same is sent again.
    Later,
}

impl Verdict {
    /// What an answer of the engine, or none, says.
    pub fn of(sent: &Sent) -> Self {
        match sent {
            Sent::Answered(200..300, _) => Self::Delivered,
            Sent::Answered(400 | 403 | 404 | 413 | 415 | 422, _) => Self::Refused,
            Sent::Answered(..) | Sent::NotSent(_) | Sent::InDoubt(_) => Self::Later,
        }
    }
}

/// How the outbox is delivered.
pub trait Courier: Send + Sync {
    /// The key of the next try of the write with this id.
    fn key(&self, id: &str) -> String {
        id.to_owned()
    }

    /// What became of a write that was kept.
    fn verdict(&self, sent: &Sent) -> Verdict {
        Verdict::of(sent)
    }
}

/// The same id every time, until the engine has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Insists;

impl Courier for Insists {}

/// The write of a turn: its id is made of the turn's, so that a turn that is resumed has the same.
pub fn id_of(turn_id: &str) -> String {
    match turn_id.strip_prefix("trn_") {
        Some(rest) => format!("out_{rest}"),
        None => ids::make("out_"),
    }
}

/// Tries a write as its turn ends; not at all while others wait.
pub async fn try_now(svc: &Service, write: &Write) -> Verdict {
    match svc.store.read(table::waits).await {
        Ok(false) => Verdict::of(&send(svc, write).await),
        // A store that cannot be read says that something may wait.
        Ok(true) | Err(_) => Verdict::Later,
    }
}

/// Keeps a write that was not delivered, in the transaction that ends its turn.
///
/// # Errors
/// The store's.
pub fn keep(tx: &mut Tx<'_>, write: &Write, verdict: Verdict) -> Result<(), StoreError> {
    match verdict {
        Verdict::Delivered => Ok(()),
        Verdict::Refused | Verdict::Later => table::keep(tx, write, verdict),
    }
}

async fn send(svc: &Service, write: &Write) -> Sent {
    let timeout = Duration::from_millis(svc.config().outbox.timeout_ms);
    let outbound = Outbound {
        url: format!("{}/store", svc.peer("memory-engine").trim_end_matches('/')),
        operation_id: svc.parts.courier.key(&write.id),
        correlation_id: write.correlation_id.clone(),
        causal_parent: write.causal_parent.clone(),
        replay_generation: 0,
        on_behalf_of: Some(OnBehalfOf {
            service_token: svc.shared.identity.service_token().to_owned(),
            actor: write.actor.clone(),
        }),
        body: write.body.clone(),
        timeout,
    };
    outbound.send(&svc.toward("memory-engine"), timeout).await
}

/// Delivers what waits, as long as the process runs.
pub async fn run(svc: Arc<Service>) {
    loop {
        if let Err(error) = flush(&svc).await {
            tracing::warn!(%error, "the outbox cannot be read or written just now");
        }
        let pace = svc.config().outbox.flush_interval_ms;
        tokio::time::sleep(Duration::from_millis(pace)).await;
    }
}

/// Delivers oldest first, until nothing waits or the engine does not take one.
async fn flush(svc: &Arc<Service>) -> Result<(), StoreError> {
    loop {
        let waiting = svc.store.read(|conn| table::pending(conn, BATCH)).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        for write in waiting {
            let verdict = svc.parts.courier.verdict(&send(svc, &write).await);
            if verdict == Verdict::Later {
                return Ok(());
            }
            if verdict == Verdict::Refused {
                tracing::warn!(outbox_id = write.id, "the memory engine never takes this");
            }
            let keep = svc.config().outbox.keep_delivered;
            let settled = svc
                .store
                .write(move |tx| table::settle(tx, &write, verdict, keep));
            settled.await?;
        }
    }
}

/// What of a turn is remembered.
pub fn remembered(input: &str, answer: &str, turn_id: &str, session_id: &str) -> Value {
    serde_json::json!({
        "type": "turn",
        "content": format!("user: {input}\nassistant: {answer}"),
        "metadata": {"turn_id": turn_id, "session_id": session_id},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_settles_a_write_and_none_does_not() {
        let answered = |status| Sent::Answered(status, Value::Null);
        for status in [200, 201, 204] {
            assert_eq!(Verdict::of(&answered(status)), Verdict::Delivered);
        }
        for status in [400, 413, 422] {
            assert_eq!(Verdict::of(&answered(status)), Verdict::Refused);
        }
        for status in [401, 409, 429, 500, 503] {
            assert_eq!(Verdict::of(&answered(status)), Verdict::Later, "{status}");
        }
        assert_eq!(Verdict::of(&Sent::NotSent(String::new())), Verdict::Later);
        assert_eq!(Verdict::of(&Sent::InDoubt(String::new())), Verdict::Later);
    }

    #[test]
    fn a_turn_has_one_id_for_its_write() {
        assert_eq!(id_of("trn_81c2d3e4f506"), "out_81c2d3e4f506");
    }

    #[test]
    fn what_is_sent_is_as_the_contract_shows() {
        let doubles = include_str!("../../../fixtures/contract/doubles.json");
        let doubles: Value = serde_json::from_str(doubles).unwrap();
        let body = remembered(
            "write hello",
            "I will.",
            "trn_81c2d3e4f506",
            "ses_6b1f0c7e21aa",
        );
        assert_eq!(body, doubles["memory"]["request"]);
    }
}
