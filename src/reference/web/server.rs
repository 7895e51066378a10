//! The listener of one service.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

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

/// Serves until `stop` turns true and the requests in flight are answered.
pub(in crate::reference) async fn listen(
    listener: TcpListener,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let app = Router::new().fallback(serve).with_state(front);
    let listener = listener.tap_io(|stream| {
        // Answers are small; waiting to fill a packet would cost 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async move {
        // A sender that is gone stops us as well.
        let _ = stop.wait_for(|stop| *stop).await;
    })
    .await
}

async fn serve(
    State(front): State<Arc<Front>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let correlation_id =
        headers::correlation_id(request.headers()).unwrap_or_else(|| ids::make("req_"));
    let reply = pipeline::answer(&front, peer, request, &correlation_id).await;
    response(reply, &correlation_id)
}

fn response(reply: Reply, correlation_id: &str) -> Response {
    let text = match reply.body {
        Body::Json(value) => value.to_string(),
        Body::Stored(text) => text,
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(correlation_id) {
        headers.insert("x-correlation-id", value);
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
