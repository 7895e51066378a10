//! The request body: its size, its type, its syntax.

use axum::body::Body;
use axum::http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};

use super::Refusal;

/// Numbers beyond 2^53 lose digits in the RFC 8785 form: two different bodies would look alike.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Reads and parses a body; `{}` when there is none.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Value, Refusal> {
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes");
        Refusal::new(413, "BODY_TOO_LARGE", message)
    };
    let announced = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok());
    if announced
        .and_then(|text| text.parse::<usize>().ok())
        .is_some_and(|size| size > limit)
    {
        return Err(too_large());
    }
    let bytes = match Limited::new(body, limit).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(error) => {
            return Err(Refusal::malformed(format!(
                "the body did not arrive: {error}"
            )));
        }
    };
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    if !is_json(headers) {
        return Err(Refusal::new(
            415,
            "NOT_JSON",
            "expected content-type application/json",
        ));
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refusal::malformed(format!(
            "the body is not JSON: line {line}, column {column}"
        ))
    })?;
    match exact(&value) {
        true => Ok(value),
        false => Err(Refusal::malformed(
            "a whole number in the body is beyond 2^53",
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn exact(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => true,
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() < LARGEST),
        Value::Array(items) => items.iter().all(exact),
        Value::Object(fields) => fields.values().all(exact),
        _ => true,
    }
}
