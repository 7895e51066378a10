//! The mode of a gateway that another process hosts, read from its database at each question.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::reference::service::Service;

/// How long a question waits for a lock.
const BUSY: Duration = Duration::from_millis(250);

/// Whether work of that kind is to be refused. What cannot be read sheds nothing: shedding saves
/// load, and is no matter of safety. Such refusals are not in the gateway's count.
pub fn refused_elsewhere(svc: &Service, kind: &str) -> bool {
    let named = svc.config().slo.shed.iter().any(|shed| shed == kind);
    let database = svc.shared.databases.get("api-gateway");
    let Some(database) = database.filter(|path| named && path.exists()) else {
        return false;
    };
    match mode(database) {
        Ok(mode) => mode.is_some_and(|mode| mode != "normal"),
        Err(error) => {
            tracing::warn!(%error, "the gateway's mode cannot be read");
            false
        }
    }
}

fn mode(database: &Path) -> rusqlite::Result<Option<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags(database, flags)?;
    sql.busy_timeout(BUSY)?;
    sql.query_row("SELECT mode FROM slo_state", [], |row| row.get(0))
        .optional()
}
