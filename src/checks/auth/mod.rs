//! Gates about who may come in, and what they share: small records of requests, and users made
//! over the routes, whose keys never get into evidence.

pub mod auth_coverage;
pub mod auth_required_mutating;
pub mod deny_invalid_token;
pub mod fail_closed_auth;
pub mod key_rotation;
pub mod people;
pub mod role_enforcement;
pub mod service_token;
pub mod tables;
pub mod tried;
