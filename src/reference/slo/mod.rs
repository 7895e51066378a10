//! Runtime SLO automation: traffic is sampled in windows, N breached windows in a row degrade the
//! service, M healthy ones end it.
//!
//! `window` and `machine` are pure. `feed` connects them to running operations and to a ledger.
//! Nothing outside can force the mode: there is no reset.
//!
//! A turn uses it like this; the sample is in its window before the answer leaves:
//!
//! ```ignore
//! let operation = slo.begin();
//! let (answer, took) = operation.measure("model", call_the_model()).await;
//! operation.stage("tool", tools_took);
//! operation.end().await;
//! ```

mod connect;
mod elsewhere;
pub mod feed;
pub mod machine;
mod operation;
pub mod persistence;
pub mod probe;
pub mod shedding;
pub mod status;
mod ticker;
pub mod window;

pub use connect::{restore, routes};
pub use elsewhere::refused_elsewhere;
pub use feed::Slo;
pub use operation::Operation;

/// The defaults with some keys replaced.
#[cfg(test)]
fn settings(patch: serde_json::Value) -> super::config::Slo {
    let mut slo = serde_json::to_value(super::config::Slo::default()).unwrap();
    for (key, value) in patch.as_object().unwrap() {
        slo[key] = value.clone();
    }
    serde_json::from_value(slo).unwrap()
}
