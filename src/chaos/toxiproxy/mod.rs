//! Toxiproxy's HTTP API (2.12) over the links' toxics, so that its clients work unmodified: named
//! proxies, each listening at one place and leading to another, and toxics on them.
//!
//! Routes, JSON, status codes and error texts are the original's; what it answers in passing (the
//! words after `bad request body: `) is our own. Ours are besides: a proxy that is created together
//! with its toxics (`toxics` in what creates or populates it), a toxicity that counts for each request
//! (`toxicity_per`), a seed that decides every draw (`GET /seed` tells it), and that a toxicity beyond
//! 1 or a negative attribute is refused. It is no HTTP proxy: what passes through it is bytes.

mod answer;
mod metrics;
mod proxies;
#[cfg(test)]
mod proxies_tests;
mod proxy;
mod routes;
#[cfg(test)]
mod tests;
mod told;

pub use answer::Refusal;
pub use proxies::Proxies;
pub use routes::serve;

/// Whose API it is.
pub const VERSION: &str = "2.12.0";
