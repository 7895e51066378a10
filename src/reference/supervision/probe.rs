//! How a service is asked how it is.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::table::Row;

/// Asks.
pub trait Probe: Send + Sync {
    /// Asks the service of this row, at this address, for at most that long.
    fn ask(
        &self,
        client: &reqwest::Client,
        row: &Row,
        url: &str,
        bound: Duration,
    ) -> BoxFuture<'static, Result<(), String>>;
}

/// Over HTTP, a connection each: one that is kept says little of who would be reached now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl Probe for Http {
    fn ask(
        &self,
        client: &reqwest::Client,
        row: &Row,
        url: &str,
        bound: Duration,
    ) -> BoxFuture<'static, Result<(), String>> {
        let request = client.get(format!("{url}{}", row.health_path));
        let request = request.header("connection", "close").timeout(bound);
        let service = row.service;
        Box::pin(async move {
            let answer = match request.send().await {
                Err(error) if error.is_timeout() => return Err("no answer in time".to_owned()),
                Err(_) => return Err("no answer".to_owned()),
                Ok(answer) => answer,
            };
            let status = answer.status();
            if status != 200 {
                return Err(format!("answer {}", status.as_u16()));
            }
            let body: Value = answer.json().await.unwrap_or_default();
            match body["service"].as_str() {
                Some(name) if name == service => Ok(()),
                other => Err(format!("answered by {}", other.unwrap_or("nobody"))),
            }
        })
    }
}
