//! Gate chaos-flap: a dependency that flaps crashes nothing, doubles no execution and leaves its
//! breaker closed, with one event a transition.
//!
//! The model, the tools and the memory engine flap one after the other, each over a link of its own:
//! turns that call a tool are under way as it goes down, others are taken while it is, and it goes
//! down again as soon as it has been of use. In the end every breaker is looked at, and the events
//! are read.

pub use crate::chaos::outages::flap::{Evidence, judge};

use crate::chaos::outages::flap::{self, How};
use crate::checks::{Cx, Undecided};

/// Drives it.
///
/// # Errors
/// When there is no target, or it takes no session.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let flaps = cx.minimum.get("flaps").copied().unwrap_or_default();
    Ok(flap::drive(cx, (flaps, How::Refuses), seen).await?)
}
