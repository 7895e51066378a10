//! One HTTP request on one connection, its target sent as it stands: what a library would have made
//! tidy is exactly what some checks are about.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::ask::Answer;

/// Sends the request over this connection and waits for the whole answer.
///
/// # Errors
/// What went wrong instead of an answer.
pub async fn exchange<S>(
    stream: S,
    (method, target): (&str, &str),
    headers: &BTreeMap<String, String>,
    body: Option<&Value>,
) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let mut request = Request::builder().method(method).uri(target);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(bytes)).map_err(|e| e.to_string())?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
    };
    let answered = answered.await;
    connection.abort();
    let (head, bytes) = answered.map_err(|e| e.to_string())?;
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    Ok(Answer::read(
        head.status.as_u16(),
        headers.collect(),
        &bytes,
    ))
}
