//! A target for one drive: windows by count, a model of its own, so that several drives of one
//! gate can run side by side.

use serde_json::{Value, json};

use crate::base::json::merge;
use crate::chaos::degrade::lane::slo_by_count;
use crate::chaos::degrade::{Injection, Lane};
use crate::checks::{Cx, Undecided};
use crate::doubles::{Double, Kind};

/// How often a pattern is driven when load spoils it.
pub(super) const TRIES: usize = 4;

/// What starts a target whose `slo` key is the one by count, merged with this.
pub(super) async fn lane(
    cx: &mut Cx,
    slo: &Value,
    injection: Injection,
) -> Result<Lane, Undecided> {
    let mut config = slo_by_count();
    merge(&mut config, slo);
    Ok(Lane {
        launcher: cx.launcher.clone(),
        setup: cx.setup(json!({"slo": config})),
        models: Double::start(Kind::Models, cx.clock).await?,
        injection,
    })
}
