//! Users made over the routes, and requests under their keys. A key is in memory only.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::tried::Tried;
use crate::checks::Undecided;
use crate::target::{Ask, Client, Credential, Exchange, Instance};

/// The service that hosts the routes that write identities.
const HOST: &str = "memory-engine";

/// Somebody with a key.
pub struct Person {
    /// Whose id is in the path and in audit entries.
    pub actor_id: String,
    /// Under the key.
    pub client: Client,
}

/// Makes an operator, whose key may end after `expires_in_ms`.
///
/// # Errors
/// When there is no key in the answer.
pub async fn operator(
    client: &Client,
    expires_in_ms: Option<u64>,
) -> Result<(Person, Tried), Undecided> {
    let body = json!({
        "display_name": "Somebody",
        "role": "operator",
        "expires_in_ms": expires_in_ms,
    });
    let exchange = client.send(Ask::post(HOST, "/v1/users", body)).await;
    let actor_id = text(&exchange, "actor_id")?.to_owned();
    let client = holder(client, &exchange)?;
    Ok((Person { actor_id, client }, Tried::new(&exchange)))
}

/// Gives a person another key: a client under the new one.
///
/// # Errors
/// When there is no key in the answer.
pub async fn rotate(client: &Client, person: &Person) -> Result<(Client, Tried), Undecided> {
    let path = format!("/v1/users/{}/rotate-key", person.actor_id);
    let exchange = client.send(Ask::post(HOST, &path, json!({}))).await;
    Ok((holder(client, &exchange)?, Tried::new(&exchange)))
}

/// Revokes a person.
pub async fn revoke(client: &Client, person: &Person) -> Tried {
    let path = format!("/v1/users/{}", person.actor_id);
    Tried::new(&client.send(Ask::delete(HOST, &path)).await)
}

fn holder(client: &Client, told: &Exchange) -> Result<Client, Undecided> {
    let key = text(told, "api_key")?.to_owned();
    Ok(client.under(Credential::Raw(key)))
}

fn text<'a>(exchange: &'a Exchange, field: &str) -> Result<&'a str, Undecided> {
    let text = exchange.answered()[field].as_str();
    text.filter(|_| exchange.ok())
        .ok_or_else(|| Undecided(format!("no {field} in the answer to {}", exchange.line())))
}

/// The services of a target, by name.
#[must_use]
pub fn services(instance: &Instance) -> Vec<String> {
    instance.listening().services.keys().cloned().collect()
}

/// A read that every service has, of each of these services, side by side.
pub async fn look(
    client: &Client,
    services: &[String],
    header: Option<(&str, &str)>,
) -> Vec<Tried> {
    let asks = services.iter().map(|service| Ask::get(service, "/status"));
    send_all(client, asks, header).await
}

/// A write that any operator may make.
#[must_use]
pub fn note() -> Ask {
    Ask::post(
        HOST,
        "/store",
        json!({"type": "fact", "content": "tea at four"}),
    )
}

/// Sends requests side by side, each with this header.
pub async fn send_all(
    client: &Client,
    asks: impl Iterator<Item = Ask>,
    header: Option<(&str, &str)>,
) -> Vec<Tried> {
    let sends = asks.map(|ask| {
        let ask = match header {
            Some((name, value)) => ask.header(name, value),
            None => ask,
        };
        async move { Tried::new(&client.send(ask).await) }
    });
    join_all(sends).await
}

/// The bearer key behind a credential of the harness.
///
/// # Errors
/// When it has none.
pub fn key(instance: &Instance, credential: &Credential) -> Result<String, Undecided> {
    let header = instance.setup().keys.header(credential);
    let key = header.and_then(|(_, value)| Some(value.strip_prefix("Bearer ")?.to_owned()));
    key.ok_or_else(|| Undecided(format!("no key behind {}", credential.label())))
}

/// The config's name of the file with identities.
#[must_use]
pub fn auth(patch: Value) -> Value {
    json!({ "auth": patch })
}
