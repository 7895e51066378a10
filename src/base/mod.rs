//! Small things without policy: seeds, ids, a monotonic clock, canonical JSON, digests, atomic files.
//! Nothing here knows of gates, targets or HTTP.

pub mod clock;
pub mod files;
pub mod ids;
pub mod json;
pub mod seed;
pub mod source;
pub mod tree;

pub use clock::Clock;
pub use ids::random_id;
pub use seed::Seed;
