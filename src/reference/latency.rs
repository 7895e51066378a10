//! `GET /v3/latency`: what the stages of turns took since the start. Turns that are resumed leave
//! no sample: nobody waits for them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::slo::window::{histogram, microseconds, percentile_ms};
use super::web::{Call, Field, Reply, Row, Twin, handler};

/// Every stage that a turn can have, in its order.
pub const STAGES: [&str; 7] = [
    "asr",
    "memory_read",
    "model",
    "tool",
    "memory_write",
    "tts",
    "total",
];

/// The percentiles of one stage, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// The smallest value with at least half of the samples at or below it.
    pub p50: f64,
    /// The same with 95 %.
    pub p95: f64,
    /// The same with 99 %.
    pub p99: f64,
}

/// From the samples of a stage, in microseconds, to what is told of them. Not asked without samples.
pub type Summary = fn(&Histogram<u32>) -> Percentiles;

/// What is told by default.
pub fn percentiles(samples: &Histogram<u32>) -> Percentiles {
    let [p50, p95, p99] = [50, 95, 99].map(|percent| percentile_ms(samples, percent));
    Percentiles { p50, p95, p99 }
}

/// What the stages took since the start.
#[derive(Default)]
pub struct Latencies(Mutex<BTreeMap<&'static str, Histogram<u32>>>);

impl Latencies {
    /// A stage was passed and took this long.
    pub fn note(&self, stage: &'static str, took: Duration) {
        let mut stages = self.stages();
        let samples = stages.entry(stage).or_insert_with(histogram);
        samples.saturating_record(microseconds(took));
    }

    /// Every stage, passed or not.
    pub fn shown(&self, summary: Summary) -> Value {
        let stages = self.stages();
        let shown = |stage: &&'static str| {
            let samples = stages.get(stage);
            let count = samples.map_or(0, Histogram::len);
            let told = samples.map(summary);
            let shown = json!({
                "count": count, "p50": told.map(|told| told.p50),
                "p95": told.map(|told| told.p95), "p99": told.map(|told| told.p99),
            });
            ((*stage).to_owned(), shown)
        };
        Value::Object(STAGES.iter().map(shown).collect())
    }

    fn stages(&self) -> MutexGuard<'_, BTreeMap<&'static str, Histogram<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const STAGE: &[Field] = &[
    Field::count("count"),
    Field::number("p50").or_null(),
    Field::number("p95").or_null(),
    Field::number("p99").or_null(),
];

const SHOWN: &[Field] = &[
    Field::object("asr", STAGE),
    Field::object("memory_read", STAGE),
    Field::object("model", STAGE),
    Field::object("tool", STAGE),
    Field::object("memory_write", STAGE),
    Field::object("tts", STAGE),
    Field::object("total", STAGE),
];

/// The route.
pub fn routes() -> Vec<Row> {
    let read = handler(|svc, call: Call| async move {
        let stages = svc.shared.latencies.shown(svc.parts.latency_summary);
        Reply::ok(&call.correlation_id, json!({"stages": stages}))
    });
    vec![
        Row::get("api-gateway", "/v3/latency", "v4.3", read)
            .twin(Twin::Deprecated)
            .about("How long the stages of turns took since the start, in milliseconds.")
            .gives(200, &[Field::object("stages", SHOWN)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_and_a_stage_without_one_has_none() {
        let all = Latencies::default();
        for ms in 1..=100 {
            all.note("model", Duration::from_millis(ms));
        }
        let shown = all.shown(percentiles);
        assert_eq!(shown["model"]["count"], 100);
        for (name, expected) in [("p50", 50.0), ("p95", 95.0), ("p99", 99.0)] {
            let got = shown["model"][name].as_f64().unwrap();
            assert!((got - expected).abs() <= expected / 1e3, "{name}: {got}");
        }
        let none = json!({"count": 0, "p50": null, "p95": null, "p99": null});
        for stage in STAGES.into_iter().filter(|stage| *stage != "model") {
            assert_eq!(shown[stage], none, "{stage}");
        }
        assert_eq!(SHOWN.len(), STAGES.len());
    }
}
