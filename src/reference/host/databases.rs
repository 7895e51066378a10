//! The databases of a data directory: looked at before the ports are opened, opened after, and
//! taken back to the release before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rustls::ClientConfig;

use super::ServeError;
use crate::reference::audit::{Checked, Ledger, Range};
use crate::reference::http::Http;
use crate::reference::parts::Parts;
use crate::reference::service::{Counters, Service, Shared};
use crate::reference::store::{
    OpenError, Opened, Opening, Verify, inspect, migrate_down, open, schema,
};
use crate::reference::wiring::SERVICES;

pub(super) fn data_dir(path: &Path) -> Result<PathBuf, ServeError> {
    let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
    made.map_err(|source| ServeError::DataDir {
        path: path.to_owned(),
        source,
    })
}

/// The database of every service, hosted here or elsewhere.
pub(super) fn databases(data_dir: &Path) -> BTreeMap<String, PathBuf> {
    let own = |name: &&str| ((*name).to_owned(), data_dir.join(format!("{name}.db")));
    SERVICES.iter().map(own).collect()
}

/// Looks at every database of these services before any is changed. Those of other processes are
/// theirs to look at.
pub(super) fn inspect_all(data_dir: &Path, services: &[&str]) -> Result<(), OpenError> {
    services
        .iter()
        .try_for_each(|name| inspect(&data_dir.join(format!("{name}.db")), schema::newest(name)))
}

/// Takes every database of a data directory from v4.7 back to v4.6.
///
/// # Errors
/// See [`OpenError`].
pub fn migrate_to_v46(data_dir: &Path) -> Result<(), OpenError> {
    inspect_all(data_dir, SERVICES)?;
    for name in SERVICES {
        let path = data_dir.join(format!("{name}.db"));
        if path.exists() {
            migrate_down(&path, name)?;
        }
    }
    Ok(())
}

pub(super) async fn open_all(
    shared: &Arc<Shared>,
    parts: &Arc<Parts>,
    secure: Option<Arc<ClientConfig>>,
    hosted: &[&'static str],
) -> Result<Vec<Arc<Service>>, ServeError> {
    let config = shared.config.current();
    let opening = |name: &&'static str| {
        let own = parts
            .after_migration
            .iter()
            .filter(|(service, _)| service == *name);
        open(Opening {
            path: shared.databases[*name].clone(),
            service: (*name).to_owned(),
            migrate: parts.migrate,
            after_migration: own.map(|(_, sql)| sql.clone()).collect(),
            busy_timeout: Duration::from_millis(config.store.busy_timeout_ms),
            start_deadline: Duration::from_millis(config.store.start_deadline_ms),
            chain: parts.chain.clone(),
            verify: verify(shared, parts, name),
            clock: parts.clock.clone(),
            group_end: parts.group_end.clone(),
        })
    };
    let opened = try_join_all(hosted.iter().map(opening)).await?;
    // Peers are on loopback or configured by name: no proxy of the environment is to step between.
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|error| std::io::Error::other(error.to_string()))?;
    let http = Http::new(client, secure);
    let service = |(&name, Opened { store, broken }): (&&'static str, Opened)| {
        if let Some(broken) = &broken {
            shared.mark_broken(broken);
        }
        Arc::new(Service {
            name,
            store,
            parts: parts.clone(),
            http: http.clone(),
            counters: Arc::new(Counters::default()),
            shared: shared.clone(),
        })
    };
    Ok(hosted.iter().zip(opened).map(service).collect())
}

/// What has to hold of a chain before anything is appended to it.
fn verify(shared: &Arc<Shared>, parts: &Parts, chain: &str) -> Verify {
    let ledger = Ledger::new(chain, &shared.databases[chain], parts);
    let shared = shared.clone();
    Box::new(move |conn| {
        let key = shared.audit_key.as_ref();
        let checked = ledger.verify(conn, key, Range::NONE)?;
        Ok(match checked {
            Checked::Clean(_) => None,
            Checked::Broken(broken) => Some(broken),
        })
    })
}
