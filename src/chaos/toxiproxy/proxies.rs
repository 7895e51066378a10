//! The proxies by their names. Whoever changes one holds them all meanwhile, so that two requests
//! cannot both find a name free.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::sync::Mutex;

use super::answer::Refusal;
use super::metrics;
use super::proxy::{Proxy, Said};
use super::told::{self, ProxyTold};
use crate::base::Seed;
use crate::chaos::link::Toxic;

/// Named proxies, and the seed that decides every draw of theirs.
pub struct Proxies {
    seed: Seed,
    named: Mutex<BTreeMap<String, Proxy>>,
}

impl Proxies {
    /// No proxies yet. Each gets a seed of its own from this one and its name.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            named: Mutex::default(),
        }
    }

    /// What every draw comes from.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Makes the proxies of a config file: an array of what creates one.
    ///
    /// # Errors
    /// When it is no such array, or one of them cannot be made; those before it are there then.
    pub async fn populate(&self, config: &[u8]) -> Result<usize, Refusal> {
        let (made, refused) = self.populated(config).await;
        refused.map_or(Ok(made.len()), Err)
    }

    fn proxy(&self, told: &ProxyTold, toxics: Vec<Toxic>) -> Result<Proxy, Refusal> {
        Proxy::new(told, toxics, self.seed.child(&told.name))
    }

    pub(super) async fn all(&self) -> BTreeMap<String, Said> {
        let named = self.named.lock().await;
        let all = named.iter();
        all.map(|(name, proxy)| (name.clone(), proxy.said()))
            .collect()
    }

    pub(super) async fn metrics(&self) -> String {
        metrics::text(self.named.lock().await.values())
    }

    pub(super) async fn create(&self, body: &[u8]) -> Result<Said, Refusal> {
        let told: ProxyTold = told::read(told::value(body)?)?;
        told.check("")?;
        let toxics = told.toxics()?.unwrap_or_default();
        let mut named = self.named.lock().await;
        if named.contains_key(&told.name) {
            return Err(Refusal::ProxyExists);
        }
        let mut proxy = self.proxy(&told, toxics)?;
        if told.enabled {
            proxy.start().await?;
        }
        let said = proxy.said();
        named.insert(told.name, proxy);
        Ok(said)
    }

    /// What was made before something was refused, and why it was. Nothing is made when the whole
    /// cannot be meant.
    pub(super) async fn populated(&self, body: &[u8]) -> (Vec<Said>, Option<Refusal>) {
        let mut made = Vec::new();
        let told = match told_all(body) {
            Ok(told) => told,
            Err(refusal) => return (made, Some(refusal)),
        };
        let mut named = self.named.lock().await;
        for (told, toxics) in told {
            match self.put(&mut named, &told, toxics).await {
                Ok(said) => made.push(said),
                Err(refusal) => return (made, Some(refusal)),
            }
        }
        (made, None)
    }

    /// One that is there already and leads from and to the same places stays, with its connections.
    /// Toxics that are told are then the ones it has.
    async fn put(
        &self,
        named: &mut BTreeMap<String, Proxy>,
        told: &ProxyTold,
        toxics: Option<Vec<Toxic>>,
    ) -> Result<Said, Refusal> {
        if let Some(there) = named.get_mut(&told.name) {
            if !there.differs(&told.listen, &told.upstream).await {
                if let Some(toxics) = toxics {
                    there.conduit.clear();
                    for toxic in toxics {
                        there.conduit.add(toxic)?;
                    }
                }
                return Ok(there.said());
            }
            there.stop().await;
        }
        let mut proxy = self.proxy(told, toxics.unwrap_or_default())?;
        if told.enabled {
            proxy.start().await?;
        }
        let said = proxy.said();
        named.insert(told.name.clone(), proxy);
        Ok(said)
    }

    pub(super) async fn show(&self, name: &str) -> Result<Said, Refusal> {
        self.with(name, |proxy| Ok(proxy.said())).await
    }

    pub(super) async fn change(&self, name: &str, body: &[u8]) -> Result<Said, Refusal> {
        let mut named = self.named.lock().await;
        let proxy = named.get_mut(name).ok_or(Refusal::NoProxy)?;
        proxy.change(told::read(told::value(body)?)?).await?;
        Ok(proxy.said())
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let mut named = self.named.lock().await;
        let mut proxy = named.remove(name).ok_or(Refusal::NoProxy)?;
        proxy.stop().await;
        Ok(())
    }

    /// Every proxy up, and without toxics.
    pub(super) async fn reset(&self) -> Result<(), Refusal> {
        for proxy in self.named.lock().await.values_mut() {
            proxy.start().await?;
            proxy.conduit.clear();
        }
        Ok(())
    }

    pub(super) async fn toxics(&self, name: &str) -> Result<Vec<Toxic>, Refusal> {
        self.with(name, |proxy| Ok(proxy.toxics())).await
    }

    pub(super) async fn toxic(&self, name: &str, toxic: &str) -> Result<Toxic, Refusal> {
        self.with(name, |proxy| find(proxy, toxic)).await
    }

    pub(super) async fn add_toxic(&self, name: &str, body: &[u8]) -> Result<Toxic, Refusal> {
        self.with(name, |proxy| {
            let toxic = told::toxic(told::value(body)?)?;
            proxy.conduit.add(toxic.clone())?;
            Ok(toxic)
        })
        .await
    }

    pub(super) async fn change_toxic(
        &self,
        name: &str,
        toxic: &str,
        body: &[u8],
    ) -> Result<Toxic, Refusal> {
        self.with(name, |proxy| {
            let toxic = told::changed(find(proxy, toxic)?, told::value(body)?)?;
            proxy.conduit.update(toxic.clone())?;
            Ok(toxic)
        })
        .await
    }

    pub(super) async fn delete_toxic(&self, name: &str, toxic: &str) -> Result<(), Refusal> {
        self.with(name, |proxy| Ok(proxy.conduit.remove(toxic)?))
            .await
    }

    async fn with<T>(
        &self,
        name: &str,
        ask: impl FnOnce(&Proxy) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let named = self.named.lock().await;
        ask(named.get(name).ok_or(Refusal::NoProxy)?)
    }
}

fn find(proxy: &Proxy, name: &str) -> Result<Toxic, Refusal> {
    let toxics = proxy.conduit.toxics().into_iter();
    let mut found = toxics.filter(|toxic| toxic.name == name);
    found.next().ok_or(Refusal::NoToxic)
}

/// A proxy that is to be there, and its toxics if they are told.
type Wanted = (ProxyTold, Option<Vec<Toxic>>);

/// Everything that is to be there, read before anything is made.
fn told_all(body: &[u8]) -> Result<Vec<Wanted>, Refusal> {
    let values: Vec<Value> = told::read(told::value(body)?)?;
    let (mut all, mut names) = (Vec::new(), BTreeSet::new());
    for (at, value) in values.into_iter().enumerate() {
        let told: ProxyTold = told::read(value)?;
        told.check(&format!(" at proxy {}", at + 1))?;
        if !names.insert(told.name.clone()) {
            return Err(Refusal::Duplicate(told.name));
        }
        let toxics = told.toxics()?;
        all.push((told, toxics));
    }
    Ok(all)
}
