//! `GET /v3/breakers`: how the gateway's process stands to what it depends on.

use serde_json::json;

use super::Breaker;
use crate::reference::web::{Call, Field, Reply, Row, Twin, handler};

const BREAKER: &[Field] = &[
    Field::text("dependency"),
    Field::word("state", &["closed", "open", "half_open"]),
    Field::count("failures"),
    Field::count("successes"),
    Field::count("transitions"),
    Field::count("retry_after_ms"),
    Field::text("reason").or_null(),
];

/// The route.
pub fn routes() -> Vec<Row> {
    let read = handler(|svc, call: Call| async move {
        let all = svc.shared.breakers.all();
        let breakers: Vec<_> = all.iter().map(Breaker::view).collect();
        Reply::ok(&call.correlation_id, json!({"breakers": breakers}))
    });
    vec![
        Row::get("api-gateway", "/v3/breakers", "v4.3", read)
            .twin(Twin::Deprecated)
            .about("Whether calls of each dependency are made, and if not, for how long.")
            .gives(200, &[Field::list("breakers", BREAKER)]),
    ]
}
