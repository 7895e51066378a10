//! How key-rotation is driven.

use std::time::Duration;

use serde_json::json;

use super::{Evidence, Key, Lane, SLACK_US, Use};
use crate::checks::auth::people;
use crate::checks::{Cx, Undecided};
use crate::target::{Client, Credential, Instance};

/// A window that ends while the gate waits.
const SHORT_MS: u64 = 700;
/// A window that outlives every restart.
const LONG_MS: u64 = 600_000;

/// Drives it.
///
/// # Errors
/// When there are no users to make, or a target does not start.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut targets = Vec::new();
    for (window_ms, _) in LANES {
        let patch = json!({"rotation_window_ms": window_ms});
        targets.push(cx.start(people::auth(patch)).await?);
    }
    seen.lanes = LANES
        .map(|(window_ms, _)| Lane {
            window_ms,
            ..Lane::default()
        })
        .into();
    let cx = &*cx;
    let lanes = targets
        .iter_mut()
        .zip(&mut seen.lanes)
        .zip(LANES)
        .map(|((target, lane), (_, kill))| drive_lane(cx, target, lane, kill));
    for done in futures_util::future::join_all(lanes).await {
        done?;
    }
    Ok(())
}

/// Window, and whether the target is killed.
const LANES: [(u64, bool); 3] = [(SHORT_MS, false), (SHORT_MS, true), (LONG_MS, true)];

async fn drive_lane(
    cx: &Cx,
    target: &mut Instance,
    lane: &mut Lane,
    kill: bool,
) -> Result<(), Undecided> {
    let operator = target.client(Credential::Operator(1));
    let services = people::services(target);
    let (person, _) = people::operator(&operator, None).await?;
    let (new, rotated) = people::rotate(&operator, &person).await?;
    let keys = [(Key::New, new), (Key::Old, person.client)];
    let end_us = rotated.returned_us.unwrap_or_default() + lane.window_ms * 1000 + SLACK_US;
    lane.rotated = Some(rotated);
    use_all(&keys, &services, lane).await;
    if kill {
        let at_us = cx.clock.now_us();
        target.kill().await?;
        target.start_again().await?;
        lane.killed_us = Some((at_us, cx.clock.now_us()));
        use_all(&keys, &services, lane).await;
    }
    if lane.window_ms == LONG_MS {
        return Ok(());
    }
    let past = || std::future::ready((cx.clock.now_us() > end_us).then_some(()));
    let bound = Duration::from_millis(lane.window_ms) * 10;
    cx.until("end of the window", bound, past).await?;
    use_all(&keys, &services, lane).await;
    Ok(())
}

/// Shows both keys to every service.
async fn use_all(keys: &[(Key, Client); 2], services: &[String], lane: &mut Lane) {
    for (key, client) in keys {
        let tries = people::look(client, services, None).await;
        let uses = tries.into_iter().map(|tried| Use { key: *key, tried });
        lane.uses.extend(uses);
    }
}
