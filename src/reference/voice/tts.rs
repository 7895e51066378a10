//! How speech is made: by the provider in force, as a stream of PCM however it is cut.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;

use super::Unavailable;
use super::providers::{Choice, Kind};
use crate::reference::http::Fault;
use crate::reference::service::Service;

/// Bytes that a letter takes, spoken without a network: 20 ms.
const LETTER_BYTES: usize = 640;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// Exactly this.
    pub text: String,
    /// Of the socket.
    pub correlation_id: String,
}

/// PCM as it comes.
pub type Pcm = BoxStream<'static, Result<Bytes, Unavailable>>;

/// How speech is made.
pub trait Mouth: Send + Sync {
    /// Begins to speak; the caller bounds how long it waits for more.
    fn speak<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        saying: &'a Saying,
    ) -> BoxFuture<'a, Result<Pcm, Unavailable>>;
}

/// The provider in force speaks.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByProvider;

impl Mouth for ByProvider {
    fn speak<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        saying: &'a Saying,
    ) -> BoxFuture<'a, Result<Pcm, Unavailable>> {
        Box::pin(async move {
            match choice.usable()? {
                "builtin" => Ok(hum(&saying.text)),
                _ => ask(svc, saying).await,
            }
        })
    }
}

/// The same for the same text, and without a network: a square wave for each byte.
fn hum(text: &str) -> Pcm {
    let letter = |byte: u8| {
        let half = usize::from(byte % 16) + 8;
        let samples = (0..LETTER_BYTES / 2).map(move |at| match (at / half) % 2 {
            0 => 4000_i16,
            _ => -4000,
        });
        Ok(samples.flat_map(i16::to_le_bytes).collect::<Bytes>())
    };
    let letters: Vec<_> = text.bytes().map(letter).collect();
    stream::iter(letters).boxed()
}

async fn ask(svc: &Service, saying: &Saying) -> Result<Pcm, Unavailable> {
    let config = svc.config();
    let url = config.backends.tts.url.trim_end_matches('/');
    let http = svc.toward("tts");
    let request = http
        .post(format!("{url}{}", Kind::Tts.path()))
        .header("x-correlation-id", &saying.correlation_id)
        .json(&json!({"text": saying.text}));
    let within = Duration::from_millis(config.voice.tts.timeout_ms);
    match http.begin(request, within).await {
        Ok((200, body)) => Ok(body.map_err(Unavailable).boxed()),
        Ok((status, _)) => Err(Unavailable(format!("status {status}"))),
        Err(Fault::NotSent(why) | Fault::InDoubt(why)) => Err(Unavailable(why)),
    }
}
