//! The target under attack: how its chains grow before it, what is kept of them, and how it is
//! read, stopped and started again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::files::{Databases, Files};
use super::looks::Reader;
use super::{Answer, Control, Evidence, What};
use crate::base::json::hex;
use crate::checks::audit::traffic::{Desk, effect};
use crate::checks::{Cx, Sent, Undecided};
use crate::contract::merkle::Head;
use crate::contract::{Checkpoint, routes};
use crate::target::{Ask, Client, Credential, Instance};

/// Effects in each chain before the older copy is made, and after.
const EFFECTS: [usize; 2] = [4, 2];
/// The chain whose bytes are changed while the target runs: the one that every target has.
pub(super) const MAIN: &str = "api-gateway";
/// Which of the effects in it is made by a service for somebody, so that no field is null.
pub(super) const ON_BEHALF: usize = 3;
/// The target under attack, and what is known of it.
pub(super) struct Prey {
    pub(super) instance: Instance,
    client: Client,
    desk: Desk,
    session_id: String,
    pub(super) databases: Databases,
    witness: BTreeMap<String, Head>,
    pub(super) older: BTreeMap<String, Files>,
    pub(super) base: BTreeMap<String, Files>,
    pub(super) effects: usize,
    /// Whether the target serves traces.
    traced: bool,
}

impl Prey {
    /// Starts a target, lets every chain grow, and keeps what it says of them.
    pub(super) async fn start(cx: &mut Cx, seen: &mut Evidence) -> Result<Self, Undecided> {
        let instance = cx.start(json!({})).await?;
        let listening = instance.listening();
        // An attack on one chain must not be told by another: a chain that only grows with another is
        // left out.
        let alone = |chain: &&String| effect(chain, cx.seed, "").is_some();
        seen.chains = listening.chains.keys().filter(alone).cloned().collect();
        seen.pinned = hex(instance.setup().keys.audit_public().as_bytes());
        let database = |chain: &String| {
            let path = listening.databases.get(chain)?.clone();
            Some((chain.clone(), path))
        };
        let mut prey = Self {
            client: instance.client(Credential::Operator(1)),
            desk: Desk::new(&instance),
            session_id: "ses_none".to_owned(),
            databases: seen.chains.iter().filter_map(database).collect(),
            witness: BTreeMap::new(),
            older: BTreeMap::new(),
            base: BTreeMap::new(),
            effects: 0,
            traced: false,
            instance,
        };
        prey.grow(cx, seen).await?;
        Ok(prey)
    }

    async fn grow(&mut self, cx: &Cx, seen: &mut Evidence) -> Result<(), Undecided> {
        let _span = cx.span("grow");
        self.write(cx, EFFECTS[0], seen).await;
        let chains = seen.chains.clone();
        for chain in &chains {
            seen.early.extend(self.note(chain).await);
            if let Some(path) = self.databases.get(chain) {
                self.older
                    .insert(chain.clone(), Files::copy(path, &cx.dir)?);
            }
        }
        self.write(cx, EFFECTS[1], seen).await;
        self.traced = self.is_traced(seen).await;
        for chain in &chains {
            let path = format!("/v1/audit/export?chain={chain}");
            let export = self.client.send(Ask::get("api-gateway", &path)).await;
            if let Some(entries) = export.answered()["entries"].as_array() {
                seen.acknowledged.insert(chain.clone(), entries.clone());
            }
            seen.witnessed.extend(self.note(chain).await);
            let key = self.instance.setup().keys.audit_public();
            let early = |notes: &BTreeMap<String, String>| {
                let opened = Checkpoint::open(notes.get(chain)?, chain, &key).ok()?;
                Some(opened.head)
            };
            // The first consistency leads from half-way to now, all later ones from now.
            self.witness
                .extend(early(&seen.early).map(|head| (chain.clone(), head)));
            self.control(chain, "before", seen).await;
            self.witness
                .extend(early(&seen.witnessed).map(|head| (chain.clone(), head)));
        }
        Ok(())
    }

    /// Effects in every chain, one after the other in each.
    async fn write(&mut self, cx: &Cx, effects: usize, seen: &mut Evidence) {
        for _ in 0..effects {
            let number = self.effects;
            self.effects += 1;
            for chain in &seen.chains {
                let sent = self.mutate(cx, chain, number).await;
                if let Some(sent) = sent {
                    if let Some(id) = sent.answer["session_id"].as_str()
                        && chain == MAIN
                    {
                        self.session_id = id.to_owned();
                    }
                    seen.sent.push(sent);
                }
            }
        }
    }

    /// One mutation in this chain.
    pub(super) async fn mutate(&self, cx: &Cx, chain: &str, number: usize) -> Option<Sent> {
        let seed = cx.seed.child(&format!("effect {number}"));
        let mut ask = effect(chain, seed, &self.session_id)?;
        let mut who = Credential::Operator(1 + u8::from(number % 2 == 1));
        if chain == MAIN && number == ON_BEHALF {
            who = Credential::Service;
            let parent = self.cause().await;
            ask = ask
                .header("x-on-behalf-of", "op-1;operator")
                .header("x-causal-parent", parent);
        }
        Some(self.desk.send(who, ask).await)
    }

    /// The first entry of another chain, as a causal parent names it.
    async fn cause(&self) -> String {
        let path = "/v3/audit/export?chain=eva-os&from_seq=0&to_seq=0";
        let export = self.client.send(Ask::get("api-gateway", path)).await;
        let hash = export.answered()["proof"]["first_hash"].as_str();
        format!(
            "eva-os/0/{}",
            hash.unwrap_or(crate::contract::audit::GENESIS)
        )
    }

    async fn note(&self, chain: &str) -> Option<(String, String)> {
        let looks = self.reader(chain, &[]).look(&[What::Checkpoint]).await;
        match looks.into_iter().next()?.answer {
            Answer::Signed(signed) => Some((chain.to_owned(), signed.checkpoint)),
            _ => None,
        }
    }

    pub(super) fn reader<'a>(&'a self, chain: &'a str, entries: &'a [Value]) -> Reader<'a> {
        let witness = self.witness.get(chain).copied();
        Reader {
            client: &self.client,
            chain,
            witness,
            entries,
        }
    }

    /// Whether the contract's table has a trace and the target serves it. Whether it has to is
    /// another gate's matter.
    async fn is_traced(&self, seen: &Evidence) -> bool {
        let path = "/v3/audit/trace/{correlation_id}";
        let Some(sent) = seen.sent.iter().find(|sent| sent.ok()) else {
            return false;
        };
        let ask = Ask::get("api-gateway", &path.replace("{correlation_id}", &sent.id));
        routes().iter().any(|route| route.path == path) && self.client.send(ask).await.ok()
    }

    /// The reads of a chain whose entry at this place is looked at.
    pub(super) fn around(&self, at: usize) -> Vec<What> {
        let mut all = of_one(at);
        if self.traced {
            all.push(What::Trace(i64::try_from(at).unwrap_or(0)));
        }
        all
    }

    /// The reads of a chain of which nobody knows whether an entry was hit, and which.
    pub(super) fn across(at: usize) -> Vec<What> {
        let at = i64::try_from(at).unwrap_or(0);
        vec![
            What::Whole,
            What::Segment(at, at),
            What::Checkpoint,
            What::Consistency,
        ]
    }

    pub(super) async fn control(&self, chain: &str, when: &str, seen: &mut Evidence) {
        let entries = seen.acknowledged.get(chain).map_or(&[][..], Vec::as_slice);
        let looks = self
            .reader(chain, entries)
            .look(&of_one(entries.len() / 2))
            .await;
        seen.controls.push(Control {
            chain: chain.to_owned(),
            when: when.to_owned(),
            looks,
            mutation: None,
        });
    }

    /// Kills the target, and copies the files that it leaves.
    pub(super) async fn stop_and_copy(&mut self, cx: &Cx) -> Result<(), Undecided> {
        let _span = cx.span("stop and copy");
        self.instance.kill().await?;
        for (chain, path) in &self.databases {
            self.base.insert(chain.clone(), Files::read(path)?);
        }
        Ok(())
    }

    /// Puts every chain back as it was before the attacks.
    pub(super) fn restore(&self) -> Result<(), Undecided> {
        for (chain, files) in &self.base {
            files.restore(&self.databases[chain])?;
        }
        Ok(())
    }

    /// Starts the target on what is there; why it does not.
    pub(super) async fn begin(&mut self, cx: &Cx) -> Result<Option<String>, Undecided> {
        let _span = cx.span("start on attacked files");
        match self.instance.start_or_refuse().await {
            Ok(()) => Ok(None),
            Err(error) if error.by_target() => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

/// The reads of one chain whose entry at this place is looked at.
fn of_one(at: usize) -> Vec<What> {
    let at = i64::try_from(at).unwrap_or(0);
    vec![
        What::Whole,
        What::Segment(at, at),
        What::Segment(at + 1, at + 1),
        What::Checkpoint,
        What::Consistency,
    ]
}
