//! HTTP: the route table as data, and the checks that every request passes in one order: size and
//! syntax of the request line, authentication, role, rate limit, body; what follows (idempotency,
//! schema, state) is the mutation's own transaction.

mod body;
mod call;
pub mod cors;
mod fields;
mod headers;
mod limiter;
mod matching;
mod pipeline;
mod refusal;
mod route;
mod says;
mod server;
mod socket;
pub mod tls;

pub use call::{Actor, Call, Fence, IdempotencyKey, Role};
pub use fields::Fields;
pub use headers::{CORRELATION_ID_CHARS, IDEMPOTENCY_KEY_CHARS};
pub use limiter::Limiter;
pub use pipeline::TARGET_BYTES;
pub(in crate::reference) use refusal::with_ok;
pub use refusal::{Body, Refusal, Reply};
pub use route::{Handler, MinRole, Row, Twin, handler};
pub use says::{Field, Gives, Longest, Most, Says, Shape};
pub(in crate::reference) use server::{Front, Speaks, listen};
pub use socket::{SocketHandler, may_open, socket};
