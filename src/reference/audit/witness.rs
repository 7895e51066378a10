//! `GET /v3/audit/checkpoint` and `GET /v3/audit/consistency`: for those who keep the checkpoints
//! that they have seen, and ask whether the chain still goes on from them.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use super::merkle::Hash;
use super::{Break, Range, Reason, Sealed, Source};
use crate::reference::service::Service;
use crate::reference::web::{Call, Field, Refusal, Reply, Row, Shape, Twin, handler};

/// Both alphabets are taken, with padding and without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The routes.
pub(super) fn routes() -> Vec<Row> {
    let checkpoint =
        handler(|svc, call| async move { reply(&call, checkpoint(&svc, &call).await) });
    let consistency =
        handler(|svc, call| async move { reply(&call, consistency(&svc, &call).await) });
    let row = |path, handler| Row::get("api-gateway", path, "v4.7", handler).twin(Twin::Deprecated);
    vec![
        row("/v3/audit/checkpoint", checkpoint)
            .about("The signed checkpoint of a chain as it is now.")
            .asks(&[Field::text("chain").optional()])
            .gives(200, &[Field::text("chain"), Field::text("checkpoint")])
            .refuses(&[404, 409]),
        row("/v3/audit/consistency", consistency)
            .about("The proof that a chain goes on from an earlier checkpoint (RFC 6962).")
            .asks(&[
                Field::text("chain").optional(),
                Field::count("from"),
                Field::text("root"),
            ])
            .gives(
                200,
                &[
                    Field::text("chain"),
                    Field::count("from"),
                    Field::new("proof", Shape::Texts),
                    Field::text("checkpoint"),
                ],
            )
            .refuses(&[404, 409]),
    ]
}

fn reply(call: &Call, answer: Result<Value, Refusal>) -> Reply {
    match answer {
        Ok(body) => Reply::ok(&call.correlation_id, body),
        Err(refusal) => refusal.reply(&call.correlation_id),
    }
}

async fn checkpoint(svc: &Arc<Service>, call: &Call) -> Result<Value, Refusal> {
    let chain = call.query("chain").unwrap_or(svc.name);
    let sealed = Source::named(svc, chain)?.seal(Range::NONE).await?;
    Ok(json!({"chain": chain, "checkpoint": sealed.note}))
}

/// Whoever asks has a checkpoint of his own: that the chain does not go on from it may be his
/// mistake, so it stops no mutation.
async fn consistency(svc: &Arc<Service>, call: &Call) -> Result<Value, Refusal> {
    let chain = call.query("chain").unwrap_or(svc.name);
    let source = Source::named(svc, chain)?;
    let (from, root) = asked(call)?;
    let Sealed { tree, note, .. } = source.seal(Range::NONE).await?;
    let seq = match (tree.root_at(from), tree.consistency(from)) {
        (Some(had), Some(proof)) if had == root => {
            let proof: Vec<String> = proof.iter().map(|hash| STANDARD.encode(hash)).collect();
            return Ok(json!({"chain": chain, "from": from, "proof": proof, "checkpoint": note}));
        }
        (Some(_), _) => from.saturating_sub(1),
        (None, _) => tree.size(),
    };
    Err(Refusal::chain_broken(&Break {
        chain: chain.to_owned(),
        seq: i64::try_from(seq).unwrap_or(i64::MAX),
        reason: Reason::Checkpoint,
    }))
}

fn asked(call: &Call) -> Result<(u64, Hash), Refusal> {
    let wrong = |message: &str| Refusal::new(400, "OUT_OF_RANGE", message);
    let from = call.query_number("from", 0..=i64::MAX)?;
    let from = from.and_then(|from| u64::try_from(from).ok());
    let from = from.ok_or_else(|| wrong("from: expected the size of a checkpoint"))?;
    // A plus that was not escaped arrives as a space.
    let root = call.query("root").unwrap_or_default();
    let root = root.replace([' ', '-'], "+").replace('_', "/");
    let root = LENIENT
        .decode(root)
        .ok()
        .and_then(|root| root.try_into().ok());
    let root = root.ok_or_else(|| wrong("root: expected the base64 of 32 bytes"))?;
    Ok((from, root))
}
