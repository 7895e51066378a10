//! Gate supervisor-budget-persist: a spent restart budget stays spent over a KILL of the supervisor,
//! and a budget store that cannot be read refuses restarts.
//!
//! The process of the memory-engine is killed whenever one is seen, until the target says that the
//! budget is spent. Then everything is killed and started again, which starts the service anew; that
//! process is killed too, and the next one may only come when the window of the first restart is
//! over. At last the table of budgets is made unreadable while the target is stopped: it has to
//! start and say that it is degraded, and a service that is killed now stays down.

use std::path::{Path, PathBuf};

use rand::RngExt;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::kills::{End, SLACK_MS, Start, between_ms, crash, rearmed};
use super::stack::{BOUND, EVA, Stack, Standing, config};
use crate::base::Seed;
use crate::checks::{Cx, Judgement, Undecided};
use crate::violation;

/// The service that is killed.
const SERVICE: &str = "memory-engine";
/// Scaled; the last one keeps the first restart after a window well away from its end.
const BACKOFF_MS: [u64; 3] = [30, 60, 240];
/// The window: long enough for a crash loop, a KILL and a start.
const WINDOW_MS: u64 = 5000;
/// The table, as the contract names it.
const TABLE: &str = "restart_budgets";

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every process before the KILL, the first start's first, and how the loop ended.
    pub before: Vec<Start>,
    /// How it ended.
    pub spent: Option<End>,
    /// KILLs of the supervisor.
    pub kills: u64,
    /// Every process after the KILL: the one of the start, and the ones that came then.
    pub after: Vec<Start>,
    /// What was said when the first of them was killed.
    pub still: Option<End>,
    /// Whether the next one was waited for after that, to the end.
    pub waited: bool,
    /// The start on a store that cannot be read.
    pub corrupted: Option<Corrupted>,
}

/// A start on a store that cannot be read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Corrupted {
    /// Pages of the database that were overwritten.
    pub pages: u64,
    /// `overall` and `budget_store` after the start.
    pub said: Option<(String, String)>,
    /// Every process: the one of the start, and the ones that came after its KILL.
    pub starts: Vec<Start>,
    /// What was said when it was killed.
    pub end: Option<End>,
    /// The last look.
    pub last: Option<Standing>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["exhausted", "kills", "corrupted"] {
        judgement.exercised(counter, 0);
    }
    let restarts = seen.before.len().saturating_sub(1);
    if seen.spent == Some(End::Exhausted) {
        judgement.exercised("exhausted", 1);
        judgement.expect(restarts == BACKOFF_MS.len(), || {
            format!("restarts when the budget was spent: got {restarts}, expected 3")
        });
        over_the_kill(seen, &mut judgement);
    } else if seen.spent.is_some() {
        let end = seen.spent;
        violation!(
            judgement,
            "after {restarts} restarts: got {end:?}, expected the budget to be spent after 3"
        );
    }
    if let Some(corrupted) = &seen.corrupted {
        corrupted.judge(&mut judgement);
    }
    judgement.detail = format!(
        "{restarts} restarts spent the budget; after {} KILL of the supervisor the next one came when the window had ended; {} start on a store that cannot be read restarted nothing",
        judgement.exercised["kills"], judgement.exercised["corrupted"]
    );
    judgement
}

/// What is spent is spent until the window of the first restart ends, and no longer.
fn over_the_kill(seen: &Evidence, judgement: &mut Judgement) {
    let Some(first) = seen.before.get(1) else {
        return;
    };
    let killed = seen.after.first().and_then(|start| start.killed_ticks);
    let Some(killed) = killed else { return };
    let elapsed = |ticks: u64| between_ms(first.started_ticks, ticks) + SLACK_MS;
    for start in &seen.after[1..] {
        let got = elapsed(start.started_ticks);
        judgement.expect(got >= WINDOW_MS, || {
            let pid = start.pid;
            format!("after a KILL of the supervisor process {pid} came {got} ms after the first restart, expected {WINDOW_MS} or more")
        });
    }
    let none = seen.waited && seen.after.len() < 2;
    judgement.expect(!none, || {
        format!("{BOUND:?} after the window of {WINDOW_MS} ms: got no restart, expected one")
    });
    // Only a service that went down while the window was open shows what is remembered.
    let open = elapsed(killed) < WINDOW_MS && seen.still.is_some();
    judgement.exercised("kills", if open { seen.kills } else { 0 });
}

impl Corrupted {
    fn judge(&self, judgement: &mut Judgement) {
        if self.pages == 0 {
            return;
        }
        if let Some((overall, store)) = &self.said {
            judgement.expect(overall != "healthy" && store != "ok", || {
                format!("with a budget store that cannot be read: got {overall}, store {store}, expected degraded and not ok")
            });
        }
        let killed = self
            .starts
            .first()
            .is_some_and(|start| start.killed_ticks.is_some());
        let restarts = self.starts.len().saturating_sub(1);
        judgement.expect(restarts == 0, || {
            format!("with a budget store that cannot be read: got {restarts} restarts, expected 0")
        });
        let last = self
            .last
            .as_ref()
            .map_or("nothing", |last| last.state.as_str());
        judgement.expect(!killed || restarts > 0 || last == "unreachable", || {
            format!("{SERVICE} killed and not restarted: got state {last}, expected unreachable")
        });
        let followed = killed && self.said.is_some() && self.end.is_some();
        judgement.exercised("corrupted", u64::from(followed));
    }
}

/// Drives it.
///
/// # Errors
/// When the target does not start, or its database cannot be changed.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = json!({"supervisor": {"backoff_ms": BACKOFF_MS, "window_ms": WINDOW_MS}});
    let mut stack = Stack::start(cx, config(&[SERVICE], patch), &[]).await?;
    // The first start, what is allowed, and one more than that.
    let most = 2 + BACKOFF_MS.len();
    seen.spent = Some(crash(cx, &stack, SERVICE, &mut seen.before, most).await);
    if seen.spent != Some(End::Exhausted) {
        return Ok(());
    }
    stack.instance.kill().await?;
    stack.instance.start_again().await?;
    seen.kills += 1;
    // The process of the start, and one that should not come.
    seen.still = Some(crash(cx, &stack, SERVICE, &mut seen.after, 2).await);
    if seen.still == Some(End::Exhausted) {
        let window = [seen.before[..2].to_vec(), seen.after[..1].to_vec()].concat();
        let mut all = window;
        rearmed(cx, &stack, SERVICE, &mut all, WINDOW_MS).await;
        seen.after.extend(all.into_iter().skip(3));
        seen.waited = true;
    }
    corrupted(cx, &mut stack, seen).await
}

async fn corrupted(cx: &Cx, stack: &mut Stack, seen: &mut Evidence) -> Result<(), Undecided> {
    let database = stack.instance.listening().databases.get(EVA).cloned();
    let database =
        database.ok_or_else(|| Undecided(format!("the target names no database of {EVA}")))?;
    stack.instance.kill().await?;
    let seed = cx.seed.child("corrupted pages");
    let spoilt = tokio::task::spawn_blocking(move || spoil(&database, seed)).await??;
    let mut corrupted = Corrupted {
        pages: spoilt,
        ..Corrupted::default()
    };
    stack.instance.start_again().await?;
    let health = stack.health().await;
    corrupted.said = health.map(|health| (health.overall, health.budget_store));
    corrupted.end = Some(crash(cx, stack, SERVICE, &mut corrupted.starts, 2).await);
    corrupted.last = stack.standing(SERVICE).await;
    seen.corrupted = Some(corrupted);
    Ok(())
}

/// Overwrites the pages that the table and its indexes begin with; how many those were.
fn spoil(database: &PathBuf, seed: Seed) -> anyhow::Result<u64> {
    let (size, pages) = roots(database)?;
    let mut rng = seed.rng();
    let mut bytes = std::fs::read(database)?;
    for page in &pages {
        let from = (page - 1) * size;
        let page = bytes.get_mut(from..from + size);
        let page = page
            .ok_or_else(|| anyhow::anyhow!("{} is shorter than its pages", database.display()))?;
        rng.fill(page);
        // No kind of page begins with this one.
        page[0] = 0xff;
    }
    std::fs::write(database, bytes)?;
    Ok(pages.len() as u64)
}

/// The size of a page, and the pages; what the log holds is in the file afterwards.
fn roots(database: &Path) -> anyhow::Result<(usize, Vec<usize>)> {
    let number = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
    let db = Connection::open(database)?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let size = db.query_row("PRAGMA page_size", [], number)?;
    let mut statement =
        db.prepare("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?1 AND rootpage > 1")?;
    let pages: Vec<u32> = statement
        .query_map([TABLE], number)?
        .collect::<rusqlite::Result<_>>()?;
    let index = |number: u32| usize::try_from(number);
    let pages = pages.into_iter().map(index).collect::<Result<_, _>>()?;
    Ok((index(size)?, pages))
}

#[cfg(test)]
#[path = "supervisor_budget_persist_tests.rs"]
mod tests;
