//! What the supervisor keeps beside the budgets: whether it is in maintenance, and which restarts
//! were asked for and are not done yet.

use rusqlite::{Connection, params};

use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::web::Actor;

/// Every service starts anew: what was asked for until now is met.
///
/// # Errors
/// What the store says.
pub async fn met(svc: &Service) -> Result<(), StoreError> {
    let any = |sql: &Connection| {
        sql.query_row(
            "SELECT EXISTS (SELECT 1 FROM restart_requests)",
            [],
            |row| row.get::<_, bool>(0),
        )
    };
    if !svc.store.read(any).await? {
        return Ok(());
    }
    let forget = |tx: &mut Tx<'_>| {
        tx.sql().execute("DELETE FROM restart_requests", [])?;
        Ok(())
    };
    svc.store.write(forget).await
}

/// Writes down that a restart is asked for.
pub(super) fn request(tx: &Tx<'_>, service: &str, actor: &Actor) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached(
            "INSERT INTO restart_requests (service, requested_by, requested_at_us)
             VALUES (?1, ?2, ?3)
             ON CONFLICT (service) DO UPDATE SET requested_by = excluded.requested_by,
                 requested_at_us = excluded.requested_at_us",
        )?
        .execute(params![service, actor.id, tx.now().us()])?;
    Ok(())
}

/// Whether a restart of it was asked for and is not done yet.
pub(super) async fn is_requested(svc: &Service, service: &str) -> bool {
    let service = service.to_owned();
    let read = svc.store.read(move |sql| {
        let any = "SELECT EXISTS (SELECT 1 FROM restart_requests WHERE service = ?1)";
        sql.query_row(any, [service], |row| row.get(0))
    });
    read.await.unwrap_or(false)
}

/// A restart that was asked for is under way.
pub(super) async fn forget(svc: &Service, service: &'static str) -> Result<(), StoreError> {
    if !is_requested(svc, service).await {
        return Ok(());
    }
    let forget = svc.store.write(move |tx| {
        tx.sql()
            .prepare_cached("DELETE FROM restart_requests WHERE service = ?1")?
            .execute([service])?;
        Ok(())
    });
    forget.await
}

/// Whether maintenance is on.
pub(super) async fn maintenance(svc: &Service) -> Result<bool, StoreError> {
    svc.store.read(is_maintained).await
}

/// The same, on a connection.
pub(super) fn is_maintained(sql: &Connection) -> rusqlite::Result<bool> {
    sql.query_row(
        "SELECT coalesce((SELECT enabled FROM maintenance ORDER BY seq DESC LIMIT 1), 0)",
        [],
        |row| row.get(0),
    )
}

/// Writes down whether maintenance is on; whether that is a change.
pub(super) fn maintain(
    tx: &Tx<'_>,
    enabled: bool,
    actor: &Actor,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    let changed = is_maintained(tx.sql())? != enabled;
    tx.sql()
        .prepare_cached(
            "INSERT INTO maintenance (enabled, requested_by, reason, requested_at_us)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![enabled, actor.id, reason, tx.now().us()])?;
    Ok(changed)
}

/// Whether the budgets can be read.
pub(super) async fn readable(svc: &Service) -> bool {
    let budgets = svc.parts.supervision.budgets.clone();
    let read = svc.store.read(move |sql| budgets.spent(sql, "", 0));
    read.await.is_ok()
}
