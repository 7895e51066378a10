//! The route table as data.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Call, Field, Gives, Reply, Says, SocketHandler};
use crate::reference::service::Service;

/// What a route does.
pub type Handler = Arc<dyn Fn(Arc<Service>, Call) -> BoxFuture<'static, Reply> + Send + Sync>;

/// Makes a [`Handler`] of an async function.
pub fn handler<F, R>(run: F) -> Handler
where
    F: Fn(Arc<Service>, Call) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    Arc::new(move |service, call| Box::pin(run(service, call)))
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinRole {
    /// Anybody, without credentials.
    None,
    /// Observers and operators.
    Observer,
    /// Operators.
    Operator,
    /// Services of the stack, by their token, for nobody else or for an operator.
    Service,
}

impl MinRole {
    /// The word of the route table.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Observer => "observer",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }
}

/// Whether a `/v3` route answers under `/v1` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// No.
    None,
    /// Yes, with `X-Deprecated` and `X-Migrate-To`.
    Deprecated,
    /// Yes, as a route of its own right.
    Plain,
}

/// One route of one service.
#[derive(Clone)]
pub struct Row {
    /// The service.
    pub service: &'static str,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The canonical template, `/v3/sessions/{id}`.
    pub path: &'static str,
    /// The release that brought it.
    pub since: &'static str,
    /// Whether it changes anything.
    pub mutating: bool,
    /// Who may use it.
    pub min_role: MinRole,
    /// Its `/v1` twin.
    pub twin: Twin,
    /// What an audit entry about it calls it, `session.create`.
    pub action: &'static str,
    /// What an audit entry says it was done to when nothing closer is known, `session/{id}`.
    pub resource: &'static str,
    /// What it does; of a WebSocket, whether it may be opened.
    pub handler: Handler,
    /// What is spoken on it, of a WebSocket.
    pub socket: Option<SocketHandler>,
    /// What the document says of it.
    pub says: Says,
}

impl Row {
    /// A route for observers that changes nothing.
    pub fn get(
        service: &'static str,
        path: &'static str,
        since: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            service,
            method: "GET",
            path,
            since,
            mutating: false,
            min_role: MinRole::Observer,
            twin: Twin::None,
            action: "read",
            resource: path,
            handler,
            socket: None,
            says: Says::default(),
        }
    }

    /// A mutation, for operators. `(action, resource)` are the audit log's.
    pub fn mutation(
        service: &'static str,
        (method, path): (&'static str, &'static str),
        since: &'static str,
        (action, resource): (&'static str, &'static str),
        handler: Handler,
    ) -> Self {
        let row = Self::get(service, path, since, handler);
        let min_role = MinRole::Operator;
        Self {
            method,
            mutating: true,
            min_role,
            action,
            resource,
            ..row
        }
    }

    /// A question that has a body and changes nothing, for observers.
    pub fn question(
        service: &'static str,
        path: &'static str,
        since: &'static str,
        handler: Handler,
    ) -> Self {
        let method = "POST";
        Self {
            method,
            ..Self::get(service, path, since, handler)
        }
    }

    /// A WebSocket, for operators: `opens` answers 101 or refuses.
    pub fn socket(
        service: &'static str,
        path: &'static str,
        since: &'static str,
        opens: Handler,
        socket: SocketHandler,
    ) -> Self {
        Self {
            min_role: MinRole::Operator,
            socket: Some(socket),
            ..Self::get(service, path, since, opens)
        }
    }

    /// The template of its twin.
    pub fn twin_path(&self) -> Option<String> {
        let rest = self.path.strip_prefix("/v3/")?;
        (self.twin != Twin::None).then(|| format!("/v1/{rest}"))
    }

    /// The names in the braces of its template, in order.
    pub fn braces(&self) -> impl Iterator<Item = &'static str> + use<> {
        let parts = self.path.split('/');
        parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The same row with a twin under `/v1`.
    #[must_use]
    pub fn twin(self, twin: Twin) -> Self {
        Self { twin, ..self }
    }

    /// The same row, open to anybody.
    #[must_use]
    pub fn open(self) -> Self {
        Self {
            min_role: MinRole::None,
            ..self
        }
    }

    /// The same row, which the document describes by this sentence.
    #[must_use]
    pub fn about(mut self, sentence: &'static str) -> Self {
        self.says.about = sentence;
        self
    }

    /// The same row, whose handler reads these fields of the body.
    #[must_use]
    pub fn takes(mut self, fields: &[Field]) -> Self {
        self.says.takes = fields.to_vec();
        self
    }

    /// The same row, whose handler reads these parameters of the query.
    #[must_use]
    pub fn asks(mut self, fields: &[Field]) -> Self {
        self.says.asks = fields.to_vec();
        self
    }

    /// The same row, which also answers so.
    #[must_use]
    pub fn gives(mut self, status: u16, fields: &[Field]) -> Self {
        let fields = fields.to_vec();
        self.says.gives.push(Gives { status, fields });
        self
    }

    /// The same row, which also refuses with these statuses.
    #[must_use]
    pub fn refuses(mut self, statuses: &[u16]) -> Self {
        self.says.refuses.extend(statuses);
        self
    }
}
