//! The listener of one service.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::header::{CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;
use tower_http::cors::CorsLayer;

use super::cors::is_preflight;
use super::socket::Opening;
use super::tls::{Tls, TlsListener};
use super::{Body, Limiter, Reply, Row, headers, pipeline};
use crate::reference::ids;
use crate::reference::service::Service;

/// What stands between a listener and a service that may still be starting.
pub(in crate::reference) struct Front {
    pub(super) rows: Vec<Row>,
    pub(super) limiter: Limiter,
    service: OnceLock<Arc<Service>>,
}

impl Front {
    /// A front of the given routes.
    pub(in crate::reference) fn new(rows: Vec<Row>) -> Arc<Self> {
        Arc::new(Self {
            rows,
            limiter: Limiter::default(),
            service: OnceLock::new(),
        })
    }

    /// From now on requests reach the service.
    pub(in crate::reference) fn open(&self, service: Arc<Service>) {
        if self.service.set(service).is_err() {
            panic!("a front is opened once");
        }
    }

    pub(super) fn service(&self) -> Option<Arc<Service>> {
        self.service.get().cloned()
    }
}

/// What a listener speaks beyond plain HTTP.
#[derive(Clone)]
pub(in crate::reference) struct Speaks {
    /// Origins that browsers may call from.
    pub(in crate::reference) cors: CorsLayer,
    /// TLS, and nothing else then.
    pub(in crate::reference) tls: Option<Tls>,
}

/// Serves until `stop` turns true and the requests in flight are answered.
pub(in crate::reference) async fn listen(
    listener: TcpListener,
    front: Arc<Front>,
    speaks: Speaks,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    match speaks.tls {
        Some(tls) => {
            let listener = TlsListener::new(listener, tls.server)?;
            run(listener, front, speaks.cors, stop).await
        }
        None => run(PlainListener(listener), front, speaks.cors, stop).await,
    }
}

/// Plain HTTP.
struct PlainListener(TcpListener);

impl Listener for PlainListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Answers are small; waiting to fill a packet would cost 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        (stream, peer)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, PlainListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PlainListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

async fn run<L>(
    listener: L,
    front: Arc<Front>,
    cors: CorsLayer,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let marked = Router::new().fallback(serve).with_state(front.clone());
    let marked = marked.layer(cors);
    // What looks like a preflight and is none is a request like any other.
    let app = Router::new().fallback(serve).with_state(front);
    let app = app.layer(from_fn(move |request: Request, next: Next| {
        let marked = marked.clone();
        async move {
            if request.method() == Method::OPTIONS && !is_preflight(&request) {
                return next.run(request).await;
            }
            marked.oneshot(request).await.into_response()
        }
    }));
    axum::serve(listener, app.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move {
            // A sender that is gone stops us as well.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}

async fn serve(
    State(front): State<Arc<Front>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let correlation_id =
        headers::correlation_id(request.headers()).unwrap_or_else(|| ids::make("req_"));
    let (mut head, body) = request.into_parts();
    let upgrade = match head.headers.contains_key(UPGRADE) {
        true => WebSocketUpgrade::from_request_parts(&mut head, &())
            .await
            .ok(),
        false => None,
    };
    let upgrades = (correlation_id.as_str(), upgrade.is_some());
    let (reply, opening) = pipeline::answer(&front, peer, (head, body), upgrades).await;
    match (opening, upgrade) {
        (Some(opening), Some(upgrade)) => {
            let response = open(opening, upgrade);
            with_headers(response, reply.headers, &correlation_id)
        }
        _ => response(reply, &correlation_id),
    }
}

/// Past its limit a frame closes the socket.
fn open(opening: Opening, upgrade: WebSocketUpgrade) -> Response {
    let Opening {
        handler,
        service,
        call,
    } = opening;
    let longest = service.config().limits.frame_bytes;
    let upgrade = upgrade.max_message_size(longest).max_frame_size(longest);
    upgrade.on_upgrade(move |socket| handler(service, call, socket))
}

fn response(reply: Reply, correlation_id: &str) -> Response {
    let text = match reply.body {
        Body::Json(value) => value.to_string(),
        Body::Stored(text) => text,
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, text).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    with_headers(response, reply.headers, correlation_id)
}

fn with_headers(
    mut response: Response,
    more: Vec<(&'static str, String)>,
    correlation_id: &str,
) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(correlation_id) {
        headers.insert("x-correlation-id", value);
    }
    for (name, value) in more {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
