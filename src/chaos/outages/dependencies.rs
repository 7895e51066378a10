//! A link in front of each dependency of a target: the backends that the configuration knows, and
//! services of its own stack. It judges nothing.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::{Value, json};

use crate::base::json::merge;
use crate::chaos::{Link, Site};
use crate::contract::defaults::defaults;
use crate::doubles::Double;
use crate::target::Instance;

/// A dependency, reached over a link.
pub(super) struct Dependency {
    /// `models`, `tools`, ... or the name of a service.
    pub(super) name: String,
    /// Whether it is a backend, with a time limit of its own.
    pub(super) backend: bool,
    link: Link,
}

impl Dependency {
    /// Refuses connections from now on; those that exist are gone.
    pub(super) async fn refuse(&mut self) {
        self.link.refuse().await;
    }

    /// Takes everything and answers nothing from now on.
    pub(super) fn silence(&self) {
        self.link.silence();
    }

    /// Whether it is a backend with a time limit beside its address.
    pub(super) fn has_limit(&self) -> bool {
        self.backend && defaults()["backends"][self.name.as_str()]["timeout_ms"].is_u64()
    }

    /// Is as it was.
    pub(super) async fn restore(&mut self) {
        self.link.restore().await;
    }
}

/// The backends that the configuration knows, by name; `tools` and `models` lead to the doubles.
/// One that nobody here knows leads to the model double: it is there, and knows no such route.
///
/// # Errors
/// When there is no port for a link.
pub(super) async fn backends(site: &Site) -> anyhow::Result<Vec<Dependency>> {
    let mut all = Vec::new();
    let known = defaults()["backends"].as_object();
    for (name, keys) in known.into_iter().flatten() {
        if !keys["url"].is_string() {
            continue;
        }
        let double = if name == "tools" {
            &site.tools
        } else {
            &site.models
        };
        all.push(linked(site, name, true, address(&double.url())?).await?);
    }
    Ok(all)
}

/// A service that a double stands in for.
///
/// # Errors
/// When there is no port for a link.
pub(super) async fn stand_in(
    site: &Site,
    name: &str,
    double: &Double,
) -> anyhow::Result<Dependency> {
    linked(site, name, false, address(&double.url())?).await
}

/// A service of the target itself; it leads nowhere until [`lead_home`].
///
/// # Errors
/// When there is no port for a link.
pub(super) async fn own(site: &Site, name: &str) -> anyhow::Result<Dependency> {
    linked(site, name, false, SocketAddr::from(([127, 0, 0, 1], 0))).await
}

async fn linked(
    site: &Site,
    name: &str,
    backend: bool,
    upstream: SocketAddr,
) -> anyhow::Result<Dependency> {
    let link = Link::open(upstream, site.seed.child(name)).await?;
    Ok(Dependency {
        name: name.to_owned(),
        backend,
        link,
    })
}

/// The config by which a target finds them.
pub(super) fn config(all: &[Dependency]) -> Value {
    let mut config = json!({});
    for one in all {
        let place = if one.backend { "backends" } else { "services" };
        merge(
            &mut config,
            &json!({place: {one.name.as_str(): {"url": one.link.url()}}}),
        );
    }
    config
}

/// Leads the links of these services to where the target has them.
///
/// # Errors
/// When it names no address of one.
pub(super) fn lead_home(own: &[Dependency], instance: &Instance) -> anyhow::Result<()> {
    let listening = instance.listening();
    for one in own.iter().filter(|one| !one.backend) {
        let url = listening.services.get(&one.name).map(String::as_str);
        one.link.lead_to(address(url.unwrap_or_default())?);
    }
    Ok(())
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let address = url.strip_prefix("http://").and_then(|at| at.parse().ok());
    address.with_context(|| format!("{url:?} is no address"))
}
