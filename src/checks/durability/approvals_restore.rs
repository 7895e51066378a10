//! Gate approvals-restore: an approval that is pending at a KILL can be approved once afterwards;
//! one whose time runs out while the target is down is expired.
//!
//! On the routes of actions and of eva-os. The first approvals are minted under a short time to
//! live, and the target is killed before it is over and started after; the second ones under a
//! long one. Confirmations are what v4.3 asks about.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::standing::{Fate, Standing, over_kill, past};
use crate::chaos::approvals::{Route, markers, mint, session};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::{Client, Credential};

/// The routes of approvals.
const ROUTES: [Route; 2] = [Route::Actions, Route::EvaOs];
/// The time to live that runs out while the target is down: long enough to be killed within it.
const SHORT_TTL_MS: u64 = 800;
/// The time to live under which approvals last.
const LONG_TTL_MS: u64 = 120_000;
/// A stop for waiting on our own clock.
const WAIT_BOUND: Duration = Duration::from_secs(10);

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The time to live of the approvals that expire.
    pub short_ttl_ms: u64,
    /// Every approval.
    pub standing: Vec<Standing>,
    /// When the target was gone, for each KILL.
    pub killed_us: Vec<u64>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["approved_after_kill", "expired_while_down"] {
        judgement.exercised(counter, 0);
    }
    for standing in &seen.standing {
        let followed = standing.judge(&mut judgement);
        match standing.fate {
            Fate::Expired => {
                // It was alive when the target was killed: it expired while that was down.
                let over_us = standing.minted.minted_us + seen.short_ttl_ms * 1_000;
                let within = seen
                    .killed_us
                    .first()
                    .is_some_and(|killed| *killed < over_us);
                judgement.exercised("expired_while_down", u64::from(followed && within));
            }
            _ => judgement.exercised("approved_after_kill", u64::from(followed)),
        }
    }
    judgement.exercised("kills", seen.killed_us.len() as u64);
    let runs: u64 = seen
        .standing
        .iter()
        .filter_map(|standing| standing.runs)
        .sum();
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    let approved = count("approved_after_kill");
    judgement.detail = format!(
        "{approved} approvals were approved once after a KILL, {} expired while the target was \
         down; over {} KILLs {runs} tools ran, expected {}",
        count("expired_while_down"),
        seen.killed_us.len(),
        ROUTES.len()
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or mints nothing.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let ttl = |ms: u64| json!({"confirmations": {"ttl_ms": ms}});
    seen.short_ttl_ms = SHORT_TTL_MS;
    let mut instance = cx.start(ttl(SHORT_TTL_MS)).await?;
    let client = instance.client(Credential::Operator(1));
    let session_id = session(&client).await?;
    mint_all(cx, &client, &session_id, Fate::Expired, seen).await?;
    instance.kill().await?;
    seen.killed_us.push(cx.clock.now_us());
    past(cx, SHORT_TTL_MS, WAIT_BOUND).await?;
    over_kill(&mut instance, &ttl(LONG_TTL_MS)).await?;
    mint_all(cx, &client, &session_id, Fate::Open, seen).await?;
    over_kill(&mut instance, &json!({})).await?;
    seen.killed_us.push(cx.clock.now_us());
    for standing in &mut seen.standing {
        standing.ask_again(&client).await;
    }
    for standing in &mut seen.standing {
        standing.count_runs(cx);
    }
    Ok(())
}

async fn mint_all(
    cx: &Cx,
    client: &Client,
    session_id: &str,
    fate: Fate,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    for route in ROUTES {
        let names = markers(cx.seed, &format!("{route}-{fate:?}"), 1);
        let minted = mint(client, session_id, route, &names).await?;
        seen.standing
            .extend(minted.into_iter().map(|minted| Standing::new(minted, fate)));
    }
    Ok(())
}

#[cfg(test)]
#[path = "approvals_restore_tests.rs"]
mod tests;
