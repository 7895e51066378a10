//! Defects of what the stages of turns are said to take.

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::{May, Mutant};
use crate::reference::latency::{Percentiles, percentiles};
use crate::reference::web::{Body, Handler};

const LATENCY: (&str, &str, &str) = ("api-gateway", "GET", "/v3/latency");

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "latency-p95-from-mean",
        must: &["latency-budget"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.latency_summary = mean_for_p95),
    },
    Mutant {
        name: "latency-stages-swapped",
        must: &["latency-budget"],
        may: &[May {
            gate: "stream-backpressure",
            reason: "the samples of a stage are told under another one",
        }],
        apply: |levers| levers.route(LATENCY, swap_model_and_tool),
    },
];

/// The mean is told as the 95th percentile.
fn mean_for_p95(samples: &Histogram<u32>) -> Percentiles {
    Percentiles {
        p95: samples.mean() / 1e3,
        ..percentiles(samples)
    }
}

/// What the model took is told of the tool, and the other way round.
fn swap_model_and_tool(original: Handler) -> Handler {
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let mut reply = original(service, call).await;
            if let Body::Json(body) = &mut reply.body {
                let model = body["stages"]["model"].take();
                let tool = std::mem::replace(&mut body["stages"]["tool"], model);
                body["stages"]["model"] = tool;
            }
            reply
        })
    })
}
