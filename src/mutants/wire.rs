//! The wire lever: a proxy before each service that understands HTTP and rewrites what passes.
//!
//! It works on any target, because it only needs addresses. It buffers whole bodies: a mutant is
//! small, and so is what it says. A path passes as it was sent, untidied, and so does what is said
//! on a WebSocket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::reference::parts::Bind;

/// The largest body that is passed on, in bytes; a larger one is answered 413.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// A request on its way to the service.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The service it is for.
    pub service: String,
    /// The method.
    pub method: Method,
    /// Path and query as they were sent.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An answer on its way back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// An answer with a JSON body.
    #[must_use]
    pub fn json(status: StatusCode, body: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            axum::http::HeaderValue::from_static("application/json"),
        );
        Self {
            status,
            headers,
            body: Bytes::from(body.to_string()),
        }
    }

    /// The body as JSON, `null` when it is none.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The same answer with another JSON body.
    #[must_use]
    pub fn with(mut self, body: &Value) -> Self {
        self.body = Bytes::from(body.to_string());
        self
    }
}

/// What a wire mutant does to the traffic.
pub trait Rewrite: Send + Sync + 'static {
    /// Answers in the service's place, or lets the request through.
    fn before(&self, _ask: &Ask) -> Option<Reply> {
        None
    }

    /// Whether a WebSocket says what it said first over and over.
    fn repeats(&self) -> bool {
        false
    }

    /// Rewrites the service's answer.
    fn after(&self, _ask: &Ask, reply: Reply) -> Reply {
        reply
    }
}

#[derive(Clone)]
struct Front {
    service: Arc<str>,
    upstream: Arc<str>,
    client: Client<HttpConnector, Body>,
    rewrite: Arc<dyn Rewrite>,
}

/// The configured ports, which are the proxies': each by the address of the service behind it.
#[derive(Default)]
pub struct Taken(Mutex<BTreeMap<SocketAddr, TcpListener>>);

impl Taken {
    fn all(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a configured port for the proxy, and another one of the same host for the service. Of two
/// ports that the kernel may choose, neither is configured: the service is given the first.
#[must_use]
pub fn behind(bind: Bind, taken: Arc<Taken>) -> Bind {
    Arc::new(move |address| {
        let is_configured = !address.ends_with(":0");
        let (bound, taken) = (bind(address), Arc::clone(&taken));
        Box::pin(async move {
            let bound = bound.await?;
            if !is_configured {
                return Ok(bound);
            }
            let service = TcpListener::bind((bound.local_addr()?.ip(), 0)).await?;
            taken.all().insert(service.local_addr()?, bound);
            Ok(service)
        })
    })
}

/// Puts a proxy before every service of a listening line and gives back the line with the
/// proxies' addresses in it.
///
/// # Errors
/// When the line names no services or a port cannot be bound.
pub async fn front(
    mut listening: Value,
    rewrite: Arc<dyn Rewrite>,
    taken: &Taken,
) -> Result<Value> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    for (name, url) in services(&mut listening)? {
        let (upstream, address) = address(url)?;
        let front = Front {
            service: name.as_str().into(),
            upstream: upstream.into(),
            client: client.clone(),
            rewrite: Arc::clone(&rewrite),
        };
        let configured = taken.all().remove(&address);
        let listener = match configured {
            Some(listener) => listener,
            None => TcpListener::bind((address.ip(), 0))
                .await
                .context("bind a wire proxy")?,
        };
        let at = listener.local_addr()?;
        listen(front, listener);
        *url = Value::String(format!("http://{at}"));
    }
    Ok(listening)
}

/// Has what is encrypted, and cannot be rewritten, pass through the configured ports as it is.
///
/// # Errors
/// When the line names no services.
pub fn carried(mut listening: Value, taken: &Taken) -> Result<Value> {
    for (_, url) in services(&mut listening)? {
        let (_, address) = address(url)?;
        if let Some(listener) = taken.all().remove(&address) {
            let at = listener.local_addr()?;
            carry(listener, address);
            *url = Value::String(format!("https://{at}"));
        }
    }
    Ok(listening)
}

/// Whether these services are out of reach for a proxy, because they speak TLS.
#[must_use]
pub fn is_secure(listening: &Value) -> bool {
    let services = listening["services"].as_object().into_iter().flatten();
    let mut urls = services.filter_map(|(_, url)| url.as_str());
    urls.any(|url| url.starts_with("https://"))
}

fn services(listening: &mut Value) -> Result<&mut Map<String, Value>> {
    let services = listening.get_mut("services").and_then(Value::as_object_mut);
    services.context("the listening line names no services")
}

/// A service's URL without a slash at its end, and where that is.
fn address(url: &Value) -> Result<(String, SocketAddr)> {
    let url = url
        .as_str()
        .context("a service's address is not a string")?;
    let url = url.trim_end_matches('/').to_owned();
    let address = url.split_once("://").and_then(|(_, at)| at.parse().ok());
    let address = address.context("a service's address has no host and port")?;
    Ok((url, address))
}

/// Passes every connection on as it is.
fn carry(listener: TcpListener, to: SocketAddr) {
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut service) = TcpStream::connect(to).await {
                    // Either end may hang up at any time.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
                }
            });
        }
    });
}

fn listen(front: Front, listener: TcpListener) {
    let app = axum::Router::new().fallback(pass).with_state(front);
    tokio::spawn(async move { axum::serve(listener, app).await });
}

async fn pass(State(front): State<Front>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let switches = head.extensions.remove::<OnUpgrade>();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let service = front.service.to_string();
    let ask = Ask {
        service,
        method: head.method,
        path,
        headers: head.headers,
        body,
    };
    let reply = match front.rewrite.before(&ask) {
        Some(reply) => reply,
        None => match send(&front, &ask).await {
            Ok(sent) => match (sent.status(), switches) {
                (StatusCode::SWITCHING_PROTOCOLS, Some(switches)) => {
                    return tunnel(sent, switches, front.rewrite.repeats());
                }
                _ => match whole(sent).await {
                    Ok(reply) => front.rewrite.after(&ask, reply),
                    Err(_) => Reply::json(StatusCode::BAD_GATEWAY, &Value::Null),
                },
            },
            Err(_) => Reply::json(StatusCode::BAD_GATEWAY, &Value::Null),
        },
    };
    answer(reply)
}

/// A connection that has become a WebSocket: what is said on it passes as it is, or up to the first
/// thing that the service says, which is said again from then on.
fn tunnel(sent: hyper::Response<Incoming>, switches: OnUpgrade, repeats: bool) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.headers_mut().clone_from(sent.headers());
    tokio::spawn(async move {
        let (client, service) = (switches.await, hyper::upgrade::on(sent).await);
        if let (Ok(client), Ok(service)) = (client, service) {
            let (mut client, mut service) = (TokioIo::new(client), TokioIo::new(service));
            // Either end may hang up at any time.
            if repeats {
                let _ = repeat(client, service).await;
            } else {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
            }
        }
    });
    response
}

/// What the service says first answers whatever the client says afterwards.
async fn repeat<C, S>(mut client: C, mut service: S) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut asked, mut said) = ([0; 16 * 1024], [0; 16 * 1024]);
    let said = loop {
        tokio::select! {
            bytes = client.read(&mut asked) => match bytes? {
                0 => return Ok(()),
                bytes => service.write_all(&asked[..bytes]).await?,
            },
            bytes = service.read(&mut said) => match bytes? {
                0 => return Ok(()),
                bytes => break &said[..bytes],
            },
        }
    };
    client.write_all(said).await?;
    while client.read(&mut asked).await? > 0 {
        client.write_all(said).await?;
    }
    Ok(())
}

async fn send(front: &Front, ask: &Ask) -> Result<hyper::Response<Incoming>> {
    let mut headers = ask.headers.clone();
    let switches = headers.contains_key(UPGRADE);
    for hop in ["host", "connection", "content-length", "transfer-encoding"] {
        headers.remove(hop);
    }
    if switches {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let mut request = Request::new(Body::from(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = format!("{}{}", front.upstream, ask.path).parse()?;
    *request.headers_mut() = headers;
    Ok(front.client.request(request).await?)
}

async fn whole(sent: hyper::Response<Incoming>) -> Result<Reply> {
    let (head, body) = sent.into_parts();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: axum::body::to_bytes(Body::new(body), BODY_LIMIT).await?,
    })
}

fn answer(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    for (name, value) in &reply.headers {
        if !matches!(
            name.as_str(),
            "content-length" | "transfer-encoding" | "connection"
        ) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    /// Rewrites nothing.
    struct Nothing;

    impl Rewrite for Nothing {}

    /// The first line of an HTTP message that comes in.
    async fn first_line(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(bytes).unwrap().trim_end().to_owned()
    }

    #[tokio::test]
    async fn a_path_passes_as_it_was_sent() {
        let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", service.local_addr().unwrap());
        let listening = json!({"services": {"api-gateway": url}});
        let fronted = front(listening, Arc::new(Nothing), &Taken::default())
            .await
            .unwrap();
        let address = fronted["services"]["api-gateway"].as_str().unwrap();
        let mut client = TcpStream::connect(address.strip_prefix("http://").unwrap())
            .await
            .unwrap();
        let asked = "GET /./healthz/..//x%2fy?a=/../b HTTP/1.1";
        let request = format!("{asked}\r\nhost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut stream, _) = service.accept().await.unwrap();
        assert_eq!(first_line(&mut stream).await, asked);
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(first_line(&mut client).await, "HTTP/1.1 204 No Content");
    }

    #[tokio::test]
    async fn what_was_said_first_is_said_again() {
        let (mut client, proxy) = tokio::io::duplex(64);
        let (behind, mut service) = tokio::io::duplex(64);
        let passing = tokio::spawn(repeat(proxy, behind));
        let mut bytes = [0; 3];
        client.write_all(b"one").await.unwrap();
        service.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"one");
        service.write_all(b"uno").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        for asked in [b"two", b"six"] {
            client.write_all(asked).await.unwrap();
            client.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"uno");
        }
        drop(client);
        passing.await.unwrap().unwrap();
        assert_eq!(service.read(&mut bytes).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_configured_port_is_the_proxy_s_whatever_is_spoken() {
        for scheme in ["http", "https"] {
            let taken = Arc::new(Taken::default());
            let bind: Bind = Arc::new(|address| Box::pin(TcpListener::bind(address)));
            let bind = behind(bind, Arc::clone(&taken));
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let configured = free.local_addr().unwrap();
            drop(free);
            let service = bind(configured.to_string()).await.unwrap();
            let url = format!("{scheme}://{}", service.local_addr().unwrap());
            let listening = json!({"services": {"api-gateway": url}});
            let fronted = match scheme {
                "http" => front(listening, Arc::new(Nothing), &taken).await,
                _ => carried(listening, &taken),
            };
            let fronted = fronted.unwrap();
            let expected = format!("{scheme}://{configured}");
            assert_eq!(fronted["services"]["api-gateway"], expected);
            let mut client = TcpStream::connect(configured).await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            let (mut stream, _) = service.accept().await.unwrap();
            assert_eq!(first_line(&mut stream).await, "GET / HTTP/1.1");
        }
    }
}
