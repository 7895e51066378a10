//! Gate confirmation-restore: pending confirmations survive a KILL with the time they have left;
//! decided and expired ones stay what they are.
//!
//! One confirmation runs out under a short time to live. Under a long one, four more are minted
//! by a turn; one is approved, one denied. The pending list is read before and after the KILL, and
//! every confirmation is asked for again: the tool runs once for what was approved, before or
//! after, and never else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::standing::{Fate, Standing, over_kill, past};
use crate::chaos::approvals::{Route, guarded_calls, markers, mint, session};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};

/// The time to live under which one confirmation runs out.
const SHORT_TTL_MS: u64 = 200;
/// The time to live under which confirmations last.
const LONG_TTL_MS: u64 = 120_000;
/// How much of it has to be over at the KILL: a time to live that starts anew is seen by this.
const USED_UP_MS: u64 = 700;
/// How far two readings of one deadline may differ: two clocks, and a system that is busy.
const CLOCK_TOLERANCE_US: f64 = 250_000.0;
/// A stop for waiting on our own clock.
const WAIT_BOUND: Duration = Duration::from_secs(10);
/// What becomes of those that last.
const FATES: [Fate; 4] = [Fate::Open, Fate::OpenToDeny, Fate::Approved, Fate::Denied];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every confirmation.
    pub standing: Vec<Standing>,
    /// The pending list before the KILL.
    pub before: Option<Sent>,
    /// The pending list after it.
    pub after: Option<Sent>,
    /// `/status` of the gateway after it.
    pub status: Option<Sent>,
    /// KILLs between the two lists.
    pub kills: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let lists = (listed(seen.before.as_ref()), listed(seen.after.as_ref()));
    if let (Some(before), Some(after)) = &lists {
        compare(seen, before, after, &mut judgement);
    } else {
        judgement.undecided("the pending list could not be read before and after the KILL");
    }
    for counter in ["pending", "decided", "expired"] {
        judgement.exercised(counter, 0);
    }
    for standing in &seen.standing {
        let counter = match standing.fate {
            Fate::Open | Fate::OpenToDeny => "pending",
            Fate::Approved | Fate::Denied => "decided",
            Fate::Expired => "expired",
        };
        let followed = standing.judge(&mut judgement);
        judgement.exercised(counter, u64::from(followed));
    }
    judgement.exercised("kills", seen.kills);
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    let runs: u64 = seen
        .standing
        .iter()
        .filter_map(|standing| standing.runs)
        .sum();
    judgement.detail = format!(
        "{} pending confirmations came back with what was left of their time, {} decided and {} \
         expired stayed so over {} KILL; {runs} tools ran, expected 2",
        count("pending"),
        count("decided"),
        count("expired"),
        seen.kills
    );
    judgement
}

/// A pending list: the rows by id, and around when it was read.
struct List<'a> {
    rows: BTreeMap<&'a str, &'a Value>,
    read_us: (f64, f64),
}

fn listed(sent: Option<&Sent>) -> Option<List<'_>> {
    let sent = sent.filter(|sent| sent.ok())?;
    let rows = sent.answer["confirmations"].as_array()?;
    let mut by_id = BTreeMap::new();
    for row in rows {
        by_id.insert(row["confirmation_id"].as_str()?, row);
    }
    Some(List {
        rows: by_id,
        read_us: (sent.invoked_us as f64, sent.returned_us? as f64),
    })
}

impl List<'_> {
    /// Between which two moments of our clock the row's time is over.
    fn deadline_us(&self, row: &Value) -> Option<(f64, f64)> {
        let left_us = row["remaining_seconds"].as_f64()? * 1e6;
        Some((self.read_us.0 + left_us, self.read_us.1 + left_us))
    }
}

fn compare(seen: &Evidence, before: &List<'_>, after: &List<'_>, judgement: &mut Judgement) {
    let is_open = |fate| matches!(fate, Fate::Open | Fate::OpenToDeny);
    let open = seen
        .standing
        .iter()
        .filter(|standing| is_open(standing.fate));
    let open: BTreeMap<&str, &Standing> = open.map(|one| (one.minted.id.as_str(), one)).collect();
    for (list, when) in [(before, "before"), (after, "after")] {
        let (got, expected): (Vec<_>, Vec<_>) = (list.rows.keys().collect(), open.keys().collect());
        judgement.expect(got == expected, || {
            format!("pending {when} the KILL: got {got:?}, expected {expected:?}")
        });
        for (id, row) in &list.rows {
            let Some(standing) = open.get(id) else {
                continue;
            };
            let minted = &standing.minted;
            for (field, expected) in [
                ("tool_name", json!(crate::chaos::approvals::GUARDED_TOOL)),
                ("args", minted.args.clone()),
                ("fence_token", json!(minted.fence)),
            ] {
                let got = &row[field];
                judgement.expect(*got == expected, || {
                    format!("pending {when} the KILL, {id}: got {field} {got}, expected {expected}")
                });
            }
        }
    }
    for (id, row) in &after.rows {
        let Some(was) = before.rows.get(id).and_then(|row| before.deadline_us(row)) else {
            continue;
        };
        let is = after.deadline_us(row);
        // Each reading gives an interval; the deadline is in both, as far as clocks agree.
        let same = is.is_some_and(|is| {
            is.0 <= was.1 + CLOCK_TOLERANCE_US && was.0 <= is.1 + CLOCK_TOLERANCE_US
        });
        judgement.expect(same, || {
            let [from, to] = [was.0, was.1].map(|us| us / 1e6);
            let got = is.map_or("none".to_owned(), |is| format!("{:.3} to {:.3} s", is.0 / 1e6, is.1 / 1e6));
            format!("the deadline of {id} after the KILL: got {got}, expected {from:.3} to {to:.3} s of the run")
        });
    }
    let stages = seen.status.as_ref().map(|sent| &sent.answer["restore"]);
    let rows = stages.and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<_> = rows
        .filter(|stage| stage["stage"] == "confirmations")
        .map(|stage| &stage["rows"])
        .collect();
    judgement.expect(rows == [&json!(open.len())], || {
        format!(
            "the restore of confirmations: got rows {rows:?}, expected [{}]",
            open.len()
        )
    });
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or mints nothing.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let ttl = |ms: u64| json!({"confirmations": {"ttl_ms": ms}});
    cx.models.script(guarded_calls);
    let mut instance = cx.start(ttl(SHORT_TTL_MS)).await?;
    let client = instance.client(Credential::Operator(1));
    let session_id = session(&client).await?;
    let early = mint(
        &client,
        &session_id,
        Route::Confirmations,
        &markers(cx.seed, "early", 1),
    )
    .await?;
    seen.standing.extend(
        early
            .into_iter()
            .map(|minted| Standing::new(minted, Fate::Expired)),
    );
    past(cx, SHORT_TTL_MS, WAIT_BOUND).await?;
    over_kill(&mut instance, &ttl(LONG_TTL_MS)).await?;
    let names = markers(cx.seed, "late", FATES.len());
    let late = mint(&client, &session_id, Route::Confirmations, &names).await?;
    seen.standing.extend(
        late.into_iter()
            .zip(FATES)
            .map(|(minted, fate)| Standing::new(minted, fate)),
    );
    for standing in &mut seen.standing {
        standing.decide(&client).await;
    }
    past(cx, USED_UP_MS, WAIT_BOUND).await?;
    seen.before = Some(pending(&client).await);
    over_kill(&mut instance, &json!({})).await?;
    seen.kills += 1;
    seen.after = Some(pending(&client).await);
    seen.status = Some(send(&client, Ask::get("api-gateway", "/status")).await);
    for standing in &mut seen.standing {
        standing.ask_again(&client).await;
    }
    for standing in &mut seen.standing {
        standing.count_runs(cx);
    }
    Ok(())
}

async fn pending(client: &Client) -> Sent {
    send(client, Ask::get("api-gateway", "/v3/confirmations/pending")).await
}

async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
#[path = "confirmation_restore_tests.rs"]
mod tests;
