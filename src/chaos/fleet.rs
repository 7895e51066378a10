//! A target in several processes whose services find each other: before each service stands a link
//! with an address that is known before its process is, and that stays when the process does not.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context;
use serde_json::{Value, json};

use super::link::Link;
use super::site::Site;
use crate::base::Seed;
use crate::base::json::merge;
use crate::target::{Fleet, Incident, Setup};

/// One process of a fleet.
pub struct Member<'a> {
    /// The services that it hosts.
    pub services: &'a [&'a str],
    /// What its config has beyond the base.
    pub patch: Value,
}

/// A fleet, and the links that it stands behind.
pub struct Linked {
    /// The processes.
    pub fleet: Fleet,
    links: BTreeMap<String, Link>,
}

impl Linked {
    /// Starts one process a member, all on one data directory, each told the links' addresses as
    /// those of the services. One that does not start is an incident.
    ///
    /// # Errors
    /// When there is no target to drive.
    pub async fn start(site: &mut Site, members: &[Member<'_>]) -> anyhow::Result<Self> {
        let _span = site.span("start");
        let names: Vec<&str> = members
            .iter()
            .flat_map(|member| member.services.iter().copied())
            .collect();
        let mut links = closed(&names, site.seed.child("links")).await?;
        let urls: BTreeMap<_, _> = links
            .iter()
            .map(|(name, link)| (name, json!({"url": link.url()})))
            .collect();
        let addresses = json!({ "services": urls });
        let first = site.setup(json!({}));
        let setups = members.iter().enumerate().map(|(number, member)| {
            let mut patch = addresses.clone();
            merge(&mut patch, &member.patch);
            setup(site, &first, number, member.services, &patch)
        });
        let setups: Vec<Setup> = setups.collect();
        let fleet = match site.launcher.start_fleet(setups).await {
            Ok(fleet) => fleet,
            Err(error) => {
                if error.by_target() {
                    let (at_us, why) = (site.clock.now_us(), error.to_string());
                    first.incidents.push(Incident::DidNotStart { at_us, why });
                }
                return Err(error.into());
            }
        };
        for (name, link) in &mut links {
            link.lead_to(address(&fleet, name)?);
            link.up().await;
        }
        Ok(Self { fleet, links })
    }

    /// The link before a service.
    #[must_use]
    pub fn link(&self, service: &str) -> Option<&Link> {
        self.links.get(service)
    }
}

/// A link a service, down until its process is there: a call that comes too early is refused.
async fn closed(services: &[&str], seed: Seed) -> anyhow::Result<BTreeMap<String, Link>> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut links = BTreeMap::new();
    for service in services {
        let mut link = Link::open(nowhere, seed.child(service)).await?;
        link.down().await;
        links.insert((*service).to_owned(), link);
    }
    Ok(links)
}

/// The setup of one process: the folder is its own, keys and data are everybody's.
fn setup(site: &Site, first: &Setup, number: usize, services: &[&str], patch: &Value) -> Setup {
    let dir = first.dir.join(format!("process-{number}"));
    let mut config = site.base_config(&dir);
    let identities = json!({"auth": {"identity_db": first.data.join("identity.db")}});
    merge(&mut config, &identities);
    merge(&mut config, patch);
    let hosts = services.iter().flat_map(|name| ["--service", *name]);
    Setup {
        dir,
        config,
        args: hosts.map(str::to_owned).collect(),
        ..first.clone()
    }
}

fn address(fleet: &Fleet, service: &str) -> anyhow::Result<SocketAddr> {
    let listening = fleet.listening();
    let url = listening.services.get(service);
    let address = url.and_then(|url| url.strip_prefix("http://")?.parse().ok());
    address.with_context(|| format!("the target names no address of {service}"))
}
