//! WebSocket routes: rows whose handler says whether the connection may be upgraded (101), and what
//! is spoken on it then.

use std::sync::Arc;

use axum::extract::ws::WebSocket;
use futures_util::future::BoxFuture;

use super::{Call, Reply};
use crate::reference::service::Service;

/// What is done with an open socket, until it is closed.
pub type SocketHandler =
    Arc<dyn Fn(Arc<Service>, Call, WebSocket) -> BoxFuture<'static, ()> + Send + Sync>;

/// Makes a [`SocketHandler`] of an async function.
pub fn socket<F, R>(run: F) -> SocketHandler
where
    F: Fn(Arc<Service>, Call, WebSocket) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |service, call, socket| Box::pin(run(service, call, socket)))
}

/// The answer of a handler that lets a connection be upgraded.
pub fn may_open() -> Reply {
    Reply::stored(101, String::new())
}

/// A connection that is to be upgraded.
pub(super) struct Opening {
    pub(super) handler: SocketHandler,
    pub(super) service: Arc<Service>,
    pub(super) call: Call,
}
