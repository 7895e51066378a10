//! How deny-invalid-token is driven.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::{Evidence, SLACK_US, Show, Shown};
use crate::base::json::sha256_hex;
use crate::checks::auth::people::{self, Person};
use crate::checks::auth::tried::Tried;
use crate::checks::{Cx, Undecided};
use crate::target::{Client, Credential, Instance};

/// How long a key that ends lives. It has to be seen to work before.
const TTL_MS: u64 = 600;
/// Keys that end are made until one was seen on both sides.
const ENDING_TRIES: usize = 6;
/// How long the target waits for a lock on the identity file.
const BUSY_TIMEOUT_MS: u64 = 100;
/// How long the harness waits for the target to let go of the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// What is written over the beginning of the file.
const DAMAGE: &[u8] = b"this is no database any more, whatever it may have been before.......";

/// Drives it.
///
/// # Errors
/// When there are no users to make, or no identity file to lock.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    seen.ttl_ms = TTL_MS;
    let patch = json!({"busy_timeout_ms": BUSY_TIMEOUT_MS});
    let target = cx.start(people::auth(patch)).await?;
    let desk = Desk {
        client: target.client(Credential::Operator(1)),
        services: people::services(&target),
    };
    desk.show(seen, Shown::Good, &desk.client, None).await;
    malformed(&target, &desk, seen).await?;
    revoked(&desk, seen).await?;
    for _ in 0..ENDING_TRIES {
        if ending(cx, &desk, seen).await? {
            break;
        }
    }
    unreadable(&target, &desk, seen).await?;
    desk.show(seen, Shown::Good, &desk.client, None).await;
    Ok(())
}

/// Under the first operator's key, and where it knocks.
struct Desk {
    client: Client,
    services: Vec<String>,
}

impl Desk {
    /// Reads at every service, and writes at one.
    async fn show(
        &self,
        seen: &mut Evidence,
        shown: Shown,
        client: &Client,
        header: Option<(&str, &str)>,
    ) {
        let (reads, writes) = tokio::join!(
            people::look(client, &self.services, header),
            people::send_all(client, std::iter::once(people::note()), header),
        );
        let all = reads.into_iter().chain(writes);
        seen.shows.extend(all.map(|tried| Show {
            shown,
            made: None,
            tried,
        }));
    }
}

/// Everything that nobody made a key of.
async fn malformed(target: &Instance, desk: &Desk, seen: &mut Evidence) -> Result<(), Undecided> {
    let key = people::key(target, &Credential::Operator(1))?;
    let bearer = |text: &str| format!("Bearer {text}");
    let shows = [
        (Shown::Garbage, "authorization", bearer("key_of_nobody")),
        (Shown::OtherScheme, "authorization", format!("Basic {key}")),
        (Shown::NoKey, "authorization", "Bearer".to_owned()),
        (
            Shown::Truncated,
            "authorization",
            bearer(&key[..key.len() - 1]),
        ),
        (Shown::Extended, "authorization", bearer(&format!("{key}0"))),
        (
            Shown::Hash,
            "authorization",
            bearer(&sha256_hex(key.as_bytes())),
        ),
        (Shown::AsServiceToken, "x-service-token", key.clone()),
    ];
    let nobody = desk.client.under(Credential::None);
    desk.show(seen, Shown::Nothing, &nobody, None).await;
    for (shown, name, value) in &shows {
        desk.show(seen, *shown, &nobody, Some((name, value))).await;
    }
    Ok(())
}

/// Somebody who comes in everywhere, until the moment of the revocation.
async fn revoked(desk: &Desk, seen: &mut Evidence) -> Result<(), Undecided> {
    let (person, _) = people::operator(&desk.client, None).await?;
    desk.show(seen, Shown::BeforeRevocation, &person.client, None)
        .await;
    let revoked = people::revoke(&desk.client, &person).await;
    if !revoked.ok() {
        return Err(Undecided(format!("nobody was revoked: {revoked}")));
    }
    desk.show(seen, Shown::Revoked, &person.client, None).await;
    Ok(())
}

/// A key that ends; whether it was certainly seen before its end.
async fn ending(cx: &Cx, desk: &Desk, seen: &mut Evidence) -> Result<bool, Undecided> {
    let (person, made) = people::operator(&desk.client, Some(TTL_MS)).await?;
    let earliest_us = (made.invoked_us + TTL_MS * 1000).saturating_sub(SLACK_US);
    let latest_us = made.returned_us.unwrap_or_default() + TTL_MS * 1000 + SLACK_US;
    let inside = end_of(desk, &person, &made, seen).await;
    let past = || std::future::ready((cx.clock.now_us() > latest_us).then_some(()));
    let bound = Duration::from_millis(TTL_MS) * 10;
    cx.until("end of a key", bound, past).await?;
    end_of(desk, &person, &made, seen).await;
    Ok(inside.iter().all(|tried| tried.before(earliest_us)))
}

async fn end_of(desk: &Desk, person: &Person, made: &Tried, seen: &mut Evidence) -> Vec<Tried> {
    let tries = people::look(&person.client, &desk.services, None).await;
    seen.shows.extend(tries.iter().map(|tried| Show {
        shown: Shown::Ending,
        made: Some(made.clone()),
        tried: tried.clone(),
    }));
    tries
}

/// The identity file in somebody else's hands, and then no database.
async fn unreadable(target: &Instance, desk: &Desk, seen: &mut Evidence) -> Result<(), Undecided> {
    let listening = target.listening();
    let path = listening
        .databases
        .get("identity")
        .ok_or_else(|| Undecided("the target names no identity database".to_owned()))?;
    let lock = locked(path)?;
    desk.show(seen, Shown::WhileLocked, &desk.client, None)
        .await;
    drop(lock);
    let whole = std::fs::read(path)?;
    let mut damaged = whole.clone();
    let least = damaged.len().min(DAMAGE.len());
    damaged[..least].copy_from_slice(&DAMAGE[..least]);
    // In place: a target that holds the file open sees it too.
    std::fs::write(path, damaged)?;
    desk.show(seen, Shown::WhileDamaged, &desk.client, None)
        .await;
    std::fs::write(path, whole)?;
    Ok(())
}

/// Nobody else reads or writes the file while this lives.
fn locked(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(LOCK_PATIENCE)?;
    conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")?;
    Ok(conn)
}
