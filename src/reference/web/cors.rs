//! Which origins a browser may call from. A preflight carries no credentials, so it is answered
//! before anybody is asked for some.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Methods that may be used from another origin.
const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// Headers that may be sent from another origin.
const HEADERS: [&str; 6] = [
    "authorization",
    "content-type",
    "x-correlation-id",
    "x-idempotency-key",
    "idempotency-key",
    "x-fence-token",
];
/// Headers that another origin may read.
const EXPOSED: [&str; 5] = [
    "x-correlation-id",
    "retry-after",
    "idempotency-replayed",
    "x-deprecated",
    "x-migrate-to",
];
/// How long a browser may remember a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// From the configured origins to what answers preflights and marks answers.
pub type CorsRule = fn(&[HeaderValue]) -> CorsLayer;

/// These origins and no others.
pub fn listed(origins: &[HeaderValue]) -> CorsLayer {
    layer(AllowOrigin::list(origins.iter().cloned()))
}

/// The layer that lets these origins in.
pub fn layer(origins: AllowOrigin) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(METHODS)
        .allow_headers(HEADERS.map(HeaderName::from_static))
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(MAX_AGE)
}

/// An origin as a browser sends it: scheme, host and perhaps a port.
///
/// # Errors
/// What it is instead.
pub fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("{text:?} is no origin, such as https://ops.example:8443");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong());
    };
    // Anything more, or letters that a browser would have made small, would match nothing.
    if text != format!("{scheme}://{authority}").to_ascii_lowercase() || text.contains('@') {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

/// Whether this is a preflight, and not a request with a method that nobody serves.
pub(super) fn is_preflight(request: &Request) -> bool {
    let has = |name| request.headers().contains_key(name);
    request.method() == Method::OPTIONS && has("origin") && has("access-control-request-method")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_lists_are_those_of_the_contract() {
        let text = include_str!("../../../fixtures/contract/process.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let mut table = file["cors"].clone();
        table["about"] = Value::Null;
        let methods: Vec<_> = METHODS.iter().map(Method::as_str).collect();
        let ours = json!({
            "about": null, "methods": methods, "headers": HEADERS, "exposed": EXPOSED,
            "max_age_s": MAX_AGE.as_secs(),
        });
        assert_eq!(ours, table);
    }

    #[test]
    fn only_an_origin_is_one() {
        for good in [
            "http://localhost:3000",
            "https://ops.example",
            "http://[::1]:80",
        ] {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in [
            "*",
            "null",
            "",
            "ops.example",
            "https://ops.example/",
            "https://OPS.example",
            "https://a@ops.example",
            "https://ops.example/x",
            "https://a b",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
