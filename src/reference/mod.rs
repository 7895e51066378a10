//! The system under test: small real services that serve the SONIA contract, one file or folder
//! a service or concern. Nothing here knows that it is being tested.
//!
//! Reading order: `wiring` (what there is), `host` (how a process starts and stops), `web` (what
//! a request passes), `mutation` (what makes a mutation idempotent, audited and atomic), `store`
//! and `audit` (what that stands on), then the services.

pub mod actions;
pub mod addresses;
pub mod audit;
pub mod backpressure;
pub mod breaker;
pub mod bundle;
pub mod config;
pub mod confirmations;
pub mod dead_letters;
pub mod decisions;
pub mod digest;
pub mod environment;
pub mod eva_os;
pub mod events;
pub mod execution;
pub mod frames;
pub mod host;
pub mod http;
pub mod identity;
pub mod ids;
pub mod latency;
pub mod log;
pub mod memory;
pub mod model_router;
pub mod mutation;
pub mod openapi;
pub mod openclaw;
pub mod operations;
pub mod orchestrator;
pub mod outbound;
pub mod outbox;
pub mod parts;
pub mod perception;
pub mod privacy;
pub mod prune;
pub mod redact;
pub mod restore;
pub mod service;
pub mod sessions;
pub mod slo;
pub mod status;
pub mod store;
pub mod stream;
pub mod supervision;
pub mod tasks;
pub mod time;
pub mod tool_service;
pub mod tools;
pub mod trace;
pub mod turns;
pub mod verify;
pub mod vision;
pub mod voice;
pub mod web;
pub mod wiring;

pub use host::{Options, Running, ServeError, migrate_to_v46, serve, start};
pub use parts::Parts;
pub use store::OpenError;
pub use supervision::Wanted;
