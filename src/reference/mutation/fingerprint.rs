//! What makes two requests under one key the same request.

use serde_json::{Value, json};

use crate::reference::digest::canonical_sha256;
use crate::reference::web::Call;

/// SHA-256 over the RFC 8785 form of method, concrete canonical path, sorted query, actor, fence
/// and body.
pub fn fingerprint(call: &Call) -> String {
    let mut query = call.query.clone();
    query.sort();
    // A fence as text: RFC 8785 rounds numbers beyond 2^53.
    let header = call.fence_header.map(|fence| fence.to_string());
    let fence = header.or_else(|| call.body.get("fence_token").map(Value::to_string));
    canonical_sha256(&json!({
        "method": call.method,
        "path": call.path,
        "query": query,
        "actor_id": call.actor.id,
        "fence_token": fence,
        "body": call.body,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        let mut call = Call::anonymous("c-1");
        call.method = "POST";
        call.path = "/v3/confirmations/cnf_1/approve".to_owned();
        call.body = json!({"b": 1, "a": {"y": 2, "x": [1, 2]}});
        call
    }

    #[test]
    fn the_same_request_has_the_same_fingerprint_in_any_order() {
        let mut other = call();
        other.correlation_id = "c-2".to_owned();
        other.request_id = "r-2".to_owned();
        other.body = serde_json::from_str(r#"{"a":{"x":[1,2],"y":2},"b":1.0}"#).unwrap();
        assert_eq!(fingerprint(&call()), fingerprint(&other));
    }

    #[test]
    fn any_difference_is_another_request() {
        let changes: &[fn(&mut Call)] = &[
            |call| call.method = "DELETE",
            |call| call.path = "/v3/confirmations/cnf_2/approve".to_owned(),
            |call| call.query.push(("dry_run".to_owned(), "true".to_owned())),
            |call| call.actor.id = "op-2".to_owned(),
            |call| call.fence_header = Some(41),
            |call| call.body["fence_token"] = json!(41),
            |call| call.body["a"]["x"] = json!([2, 1]),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut other = call();
            change(&mut other);
            assert_ne!(fingerprint(&call()), fingerprint(&other), "change {at}");
        }
    }
}
