//! The config file: every key optional, every key with a default, an unknown key or a wrong type
//! refused with its path. `harness` belongs to somebody else and is not looked at.

pub mod follow;
mod keys;
mod live;
mod parse;
mod settling;
mod voice;

pub use keys::{
    Address, Audit, Auth, Backends, ClockKeys, Config, Confirmations, Idempotency, Limits, Models,
    Ms, Operations, RateLimit, Sessions, Slo, StoreKeys, Supervisor, Threshold, ToolBackend, Tools,
    Turns, Vision,
};
pub use live::LiveConfig;
pub use parse::{ConfigError, parse};
