//! The door: from what a request shows to who it is. One is in `Parts`; the pipeline asks it, for
//! requests that lead to no route too.

use axum::http::HeaderMap;
use futures_util::future::BoxFuture;

use super::{Denied, Identity, Known};
use crate::reference::time::Timestamp;

/// What a request shows before its body is read.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    /// The service that is asked.
    pub service: &'static str,
    /// The method.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// When.
    pub now: Timestamp,
}

/// Says who knocks.
pub trait Door: Send + Sync {
    /// Who it is.
    ///
    /// # Errors
    /// See [`Denied`].
    fn answer<'a>(
        &'a self,
        identity: &'a Identity,
        knock: Knock<'a>,
    ) -> BoxFuture<'a, Result<Known, Denied>>;
}

/// Credentials, for every path alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guarded;

impl Door for Guarded {
    fn answer<'a>(
        &'a self,
        identity: &'a Identity,
        knock: Knock<'a>,
    ) -> BoxFuture<'a, Result<Known, Denied>> {
        Box::pin(identity.authenticate(knock.headers, knock.now))
    }
}
