//! Faults of the links between a target and what it needs: to its backends, and between services of
//! its own. In Toxiproxy's words, with what Toxiproxy's users do by hand: down, up, cut.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::Seed;
use crate::base::json::merge;
use crate::chaos::link::Toxic;
use crate::chaos::{Judgement, Link, Site};
use crate::target::Listening;

/// The link to the model, which every drill has.
pub(in crate::chaos::drill) const MODELS: &str = "models";
/// The link to the tools.
pub(in crate::chaos::drill) const TOOLS: &str = "tools";
/// How long a cut is waited for.
const CUT_BOUND: Duration = Duration::from_secs(1);
const CUT_POLL: Duration = Duration::from_millis(5);

/// What is done to a link.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// A toxic from now on.
    Add(Toxic),
    /// The toxic of this name no more.
    Remove(String),
    /// Refuses connections, and resets those that exist.
    Down,
    /// Accepts them again.
    Up,
    /// Resets those that exist.
    Cut,
}

/// A fault of a link, and how much it met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The link, by what it leads to.
    pub link: String,
    /// The toxic's name, `down` or `cut`.
    pub what: String,
    /// What had gone through when it began.
    from: u64,
    /// Bytes, connections and resets since then.
    pub met: u64,
    /// Whether it is over.
    pub over: bool,
}

/// The links of a target beside that to its model.
#[derive(Default)]
pub(in crate::chaos::drill) struct Links(BTreeMap<String, Link>);

impl Links {
    /// Opens those that are named, and gives the settings by which a target finds them.
    pub(in crate::chaos::drill) async fn open<'a>(
        site: &Site,
        names: impl Iterator<Item = &'a str>,
        seed: Seed,
    ) -> anyhow::Result<(Self, Value)> {
        let (mut links, mut config) = (BTreeMap::new(), json!({}));
        for name in names {
            let (place, upstream) = match name {
                MODELS => continue,
                TOOLS => ("backends", address(&site.tools.url())?),
                _ => ("services", SocketAddr::from(([127, 0, 0, 1], 0))),
            };
            let link = Link::open(upstream, seed.child(name)).await?;
            merge(&mut config, &json!({place: {name: {"url": link.url()}}}));
            links.insert(name.to_owned(), link);
        }
        Ok((Self(links), config))
    }

    /// Leads them to where the services are now.
    pub(in crate::chaos::drill) fn lead_home(&self, listening: &Listening) -> anyhow::Result<()> {
        for (name, link) in self.0.iter().filter(|(name, _)| *name != TOOLS) {
            let url = listening.services.get(name).map(String::as_str);
            link.lead_to(address(url.unwrap_or_default())?);
        }
        Ok(())
    }

    /// No toxic on any of them.
    pub(in crate::chaos::drill) fn heal(&self) {
        self.0.values().for_each(Link::heal);
    }

    /// Notes how much each fault has met so far.
    pub(in crate::chaos::drill) fn look(&self, faults: &mut [Fault]) {
        for (name, link) in &self.0 {
            look(name, link, faults);
        }
    }

    /// The link of this name, the model's among them.
    pub(in crate::chaos::drill) fn get<'a>(
        &'a mut self,
        name: &str,
        models: Option<&'a mut Link>,
    ) -> anyhow::Result<&'a mut Link> {
        let link = match name {
            MODELS => models,
            _ => self.0.get_mut(name),
        };
        link.with_context(|| format!("there is no link to {name}"))
    }
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let address = url.strip_prefix("http://").and_then(|at| at.parse().ok());
    address.with_context(|| format!("{url:?} is no address"))
}

fn passed(link: &Link) -> u64 {
    let traffic = link.traffic();
    traffic.connections + traffic.cut + traffic.taken_bytes
}

/// Does it.
pub(in crate::chaos::drill) async fn drive(
    name: &str,
    link: &mut Link,
    deed: &Deed,
    faults: &mut Vec<Fault>,
) -> anyhow::Result<Value> {
    let begun = |what: &str, link: &Link| Fault {
        link: name.to_owned(),
        what: what.to_owned(),
        from: passed(link),
        ..Fault::default()
    };
    match deed {
        Deed::Add(toxic) => {
            faults.push(begun(&toxic.name, link));
            link.add(toxic.clone())?;
        }
        Deed::Remove(toxic) => {
            link.remove(toxic)?;
            end(faults, name, toxic, link);
        }
        Deed::Down => {
            faults.push(begun("down", link));
            link.refuse().await;
        }
        Deed::Up => {
            link.up().await;
            end(faults, name, "down", link);
        }
        Deed::Cut => {
            let (fault, before) = (begun("cut", link), link.traffic().cut);
            faults.push(fault);
            link.cut();
            let end_at = tokio::time::Instant::now() + CUT_BOUND;
            while link.traffic().cut == before && tokio::time::Instant::now() < end_at {
                tokio::time::sleep(CUT_POLL).await;
            }
            let cut = link.traffic().cut - before;
            let last = faults.last_mut().expect("a fault was added");
            (last.met, last.over) = (cut, true);
            return Ok(json!({"reset": cut}));
        }
    }
    Ok(Value::Null)
}

/// Notes how much a fault has met so far.
pub(in crate::chaos::drill) fn look(name: &str, link: &Link, faults: &mut [Fault]) {
    for fault in faults
        .iter_mut()
        .filter(|fault| fault.link == name && !fault.over)
    {
        fault.met = passed(link) - fault.from;
    }
}

fn end(faults: &mut [Fault], name: &str, what: &str, link: &Link) {
    look(name, link, faults);
    let own = |fault: &&mut Fault| fault.link == name && fault.what == what && !fault.over;
    if let Some(fault) = faults.iter_mut().find(own) {
        fault.over = true;
    }
}

/// Judges all: a fault that met nobody was none.
pub(super) fn judge(faults: &[Fault], judgement: &mut Judgement) -> Option<String> {
    for fault in faults.iter().filter(|fault| fault.met == 0) {
        let Fault { link, what, .. } = fault;
        judgement.undecided(format!(
            "`{what}` on the link to {link} met no byte and no connection"
        ));
    }
    let met = faults.iter().filter(|fault| fault.met > 0).count();
    (!faults.is_empty()).then(|| format!("{met} of {} faults of links met something", faults.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_a_link_that_met_nobody_was_none() {
        let fault = |met| Fault {
            link: MODELS.to_owned(),
            what: "slow".to_owned(),
            met,
            ..Fault::default()
        };
        let mut judgement = Judgement::default();
        let line = judge(&[fault(9), fault(0)], &mut judgement);
        assert_eq!(line.unwrap(), "1 of 2 faults of links met something");
        assert_eq!(judgement.undecided.len(), 1, "{judgement:?}");
        assert_eq!(judge(&[], &mut judgement), None);
    }
}
