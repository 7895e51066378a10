//! WebSockets of a target: opened under a credential, frames sent and awaited with a bound.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Why a WebSocket is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpen {
    /// It was answered with this status.
    Refused(u16),
    /// It was not answered.
    Failed(String),
}

/// What comes over a socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A text frame; null when it is not JSON.
    Frame(Value),
    /// A binary frame.
    Bytes(Vec<u8>),
    /// It is closed, with this code if one was given.
    Closed(Option<u16>),
    /// Nothing within the bound.
    Nothing,
}

impl Socket {
    pub(super) async fn open(
        url: &str,
        headers: impl Iterator<Item = (String, String)>,
        bound: Duration,
    ) -> Result<Self, NotOpen> {
        let failed = |why: String| NotOpen::Failed(why);
        let request = request(url, headers).map_err(failed)?;
        match tokio::time::timeout(bound, connect_async(request)).await {
            Err(_) => Err(failed(format!("no answer within {} ms", bound.as_millis()))),
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(Error::Http(answer))) => Err(NotOpen::Refused(answer.status().as_u16())),
            Ok(Err(error)) => Err(failed(error.to_string())),
        }
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// When the socket is gone.
    pub async fn say(&mut self, text: &str) -> Result<(), String> {
        let sent = self.stream.send(Message::text(text)).await;
        sent.map_err(|error| error.to_string())
    }

    /// Sends a binary frame.
    ///
    /// # Errors
    /// When the socket is gone.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        let sent = self.stream.send(Message::binary(bytes)).await;
        sent.map_err(|error| error.to_string())
    }

    /// What comes next, beside pings and pongs, within this bound.
    pub async fn hear(&mut self, bound: Duration) -> Heard {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Heard::Frame(serde_json::from_str(&text).unwrap_or(Value::Null));
                    }
                    Some(Ok(Message::Binary(bytes))) => return Heard::Bytes(bytes.to_vec()),
                    Some(Ok(Message::Close(frame))) => {
                        return Heard::Closed(frame.map(|frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Heard::Closed(None),
                }
            }
        };
        let heard = tokio::time::timeout(bound, next).await;
        heard.unwrap_or(Heard::Nothing)
    }
}

fn request(url: &str, headers: impl Iterator<Item = (String, String)>) -> Result<Request, String> {
    let mut request = url.into_client_request().map_err(|e| e.to_string())?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|e| e.to_string())?;
        let value = HeaderValue::try_from(value).map_err(|e| e.to_string())?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}
