//! Where the services of a process listen, what is spoken there, and where the others are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Options, ServeError, beside_config};
use crate::reference::config::Config;
use crate::reference::parts::Parts;
use crate::reference::web::cors::origin;
use crate::reference::web::{Front, Speaks, listen};
use crate::reference::wiring::SERVICES;

/// What the listeners speak, by a configuration that is whole.
pub(super) fn speaks(
    options: &Options,
    config: &Config,
    parts: &Parts,
) -> Result<Speaks, ServeError> {
    let file = |path: &Option<String>| path.as_deref().map(|path| beside_config(options, path));
    let (certificate, key) = (file(&config.tls.cert), file(&config.tls.key));
    let tls = (parts.load_tls)(certificate.as_deref(), key.as_deref())?;
    let origins = config.cors.origins.iter().map(|text| origin(text));
    let origins: Vec<_> = origins
        .collect::<Result<_, _>>()
        .map_err(ServeError::Origin)?;
    let cors = (parts.cors)(&origins);
    Ok(Speaks { cors, tls })
}

pub(super) fn scheme(speaks: &Speaks) -> &'static str {
    match speaks.tls {
        Some(_) => "https",
        None => "http",
    }
}

pub(super) type Bound = (&'static str, SocketAddr, TcpListener);

pub(super) async fn bind(
    config: &Config,
    hosted: &[&'static str],
    parts: &Parts,
) -> Result<Vec<Bound>, ServeError> {
    let mut bound = Vec::new();
    for &service in hosted {
        let at = &config.services[service];
        let address = format!("{}:{}", at.host, at.port);
        let wrong = |source| ServeError::Bind {
            service,
            address: address.clone(),
            source,
        };
        let listener = (parts.bind)(address.clone()).await.map_err(wrong)?;
        bound.push((service, listener.local_addr()?, listener));
    }
    Ok(bound)
}

/// Base URL of each service that is hosted here.
pub(super) type Urls = BTreeMap<&'static str, String>;

pub(super) fn urls(scheme: &str, bound: &[Bound]) -> Urls {
    let url = |(name, address, _): &Bound| (*name, format!("{scheme}://{address}"));
    bound.iter().map(url).collect()
}

/// A configured URL goes before the address that was bound, and that before the configured one. A
/// service of another process on any port that is free has none: it says where it is.
pub(super) fn peers(config: &Config, scheme: &str, urls: &Urls) -> BTreeMap<String, String> {
    let url = |name: &&'static str| {
        let at = &config.services[*name];
        let here = urls.get(name).cloned();
        let there = || (at.port != 0).then(|| format!("{scheme}://{}:{}", at.host, at.port));
        let url = at.url.clone().or(here).or_else(there)?;
        Some(((*name).to_owned(), url))
    };
    SERVICES.iter().filter_map(url).collect()
}

/// Before the databases are open the services listen, and answer that they are starting.
pub(super) fn open_fronts(
    bound: Vec<Bound>,
    parts: &Parts,
    speaks: &Speaks,
    stopped: &watch::Receiver<bool>,
) -> (Vec<Arc<Front>>, Vec<JoinHandle<std::io::Result<()>>>) {
    let open = |(name, _, listener): Bound| {
        let rows = parts.routes.iter().filter(|row| row.service == name);
        let front = Front::new(rows.cloned().collect());
        let server = listen(listener, front.clone(), speaks.clone(), stopped.clone());
        let server = tokio::spawn(server);
        (front, server)
    };
    bound.into_iter().map(open).unzip()
}
