//! The route table, for matrices that are made of it. The table is the contract's fixture.

use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

/// Under which a route answers a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Twin {
    /// `/v1` in place of `/v3`, with `X-Deprecated` and `X-Migrate-To`.
    Deprecated,
    /// `/v1` in place of `/v3`, without them.
    Plain,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// The canonical path, with `{id}` where a resource is named.
    pub path: String,
    /// The release that brought it.
    pub since: String,
    /// Whether it changes anything.
    pub mutating: bool,
    /// `none`, `observer` or `operator`.
    pub min_role: String,
    /// Its twin, if it has one.
    #[serde(default)]
    pub twin: Option<Twin>,
    /// Whether it is a GET that becomes a WebSocket.
    #[serde(default)]
    pub websocket: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(dead_code, reason = "the text for readers of the fixture")]
    about: String,
    routes: Vec<Route>,
}

static TABLE: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let text = include_str!("../../fixtures/contract/routes.json");
    let table: Table = serde_json::from_str(text).expect("the fixture is tested to be readable");
    table.routes
});

/// Every row.
#[must_use]
pub fn routes() -> &'static [Route] {
    &TABLE
}

/// The services of the table, in its order: the ten of the contract.
#[must_use]
pub fn services() -> Vec<&'static str> {
    let mut services = Vec::new();
    for route in routes() {
        if !services.contains(&route.service.as_str()) {
            services.push(route.service.as_str());
        }
    }
    services
}

/// The rows that v4.6 knows and that are answered: what a floor gate may use and probe.
pub fn floor() -> impl Iterator<Item = &'static Route> {
    known_to_v46().filter(|route| !route.websocket)
}

/// The WebSockets that v4.6 knows.
pub fn sockets() -> impl Iterator<Item = &'static Route> {
    known_to_v46().filter(|route| route.websocket)
}

fn known_to_v46() -> impl Iterator<Item = &'static Route> {
    let old = |route: &&Route| route.since.as_str() <= "v4.6";
    routes().iter().filter(old)
}

/// The rows that change something.
pub fn mutating() -> impl Iterator<Item = &'static Route> {
    routes().iter().filter(|route| route.mutating)
}

impl Route {
    /// The paths that it answers under: its own, and its twin's.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let twin = self.twin.and_then(|_| twin_of(&self.path));
        std::iter::once(self.path.clone()).chain(twin)
    }

    /// Whether a part of its path names a resource.
    #[must_use]
    pub fn names_resource(&self) -> bool {
        self.path.contains('{')
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.method, self.path, self.service)
    }
}

/// The twin of a concrete canonical path.
#[must_use]
pub fn twin_of(path: &str) -> Option<String> {
    Some(format!("/v1{}", path.strip_prefix("/v3")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_only_versioned_paths_have_twins() {
        assert!(routes().len() > 40 && mutating().count() > 15);
        for route in routes() {
            let twin = twin_of(&route.path);
            assert!(route.twin.is_none() || twin.is_some(), "{route}");
        }
        assert_eq!(services().len(), 10);
        assert!(sockets().count() >= 2 && !floor().any(|route| route.websocket));
        assert_eq!(twin_of("/v3/turn").unwrap(), "/v1/turn");
        let delete = mutating().find(|route| route.method == "DELETE").unwrap();
        assert_eq!(
            delete.to_string(),
            "DELETE /v3/sessions/{id} of api-gateway"
        );
        assert!(delete.names_resource());
        assert_eq!(delete.twin, Some(Twin::Deprecated));
        let paths: Vec<String> = delete.paths().collect();
        assert_eq!(paths, ["/v3/sessions/{id}", "/v1/sessions/{id}"]);
    }
}
