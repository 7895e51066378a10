//! Which providers hear and speak. The config file goes before the environment, and where neither
//! names one it is found by looking whether a backend is there. Looking never holds anything up: it
//! is done beside everything else, again and again, each time within a bound.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use serde_json::{Value, json};

use super::Unavailable;
use crate::reference::config::Config;
use crate::reference::http::Fault;
use crate::reference::service::Service;

/// What a provider is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Hears.
    Asr,
    /// Speaks.
    Tts,
}

impl Kind {
    /// Where its backend is asked.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Asr => "/transcribe",
            Self::Tts => "/synthesize",
        }
    }

    /// The providers that there are. What hears can be keyed.
    fn known(self) -> &'static [&'static str] {
        match self {
            Self::Asr => &["http", "keyed", "builtin", "none"],
            Self::Tts => &["http", "builtin", "none"],
        }
    }

    fn url(self, config: &Config) -> &str {
        match self {
            Self::Asr => &config.backends.asr.url,
            Self::Tts => &config.backends.tts.url,
        }
    }

    /// What the file says, and what the environment says.
    fn named(self, config: &Config) -> (Option<&str>, Option<&str>) {
        let (asr, tts) = (&config.voice.asr, &config.voice.tts);
        match self {
            Self::Asr => (asr.provider.as_deref(), asr.environment.as_deref()),
            Self::Tts => (tts.provider.as_deref(), tts.environment.as_deref()),
        }
    }
}

/// Who chose a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// The config file.
    Config,
    /// The environment.
    Environment,
    /// Nobody: its backend was there.
    Discovery,
}

impl ChosenBy {
    fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Environment => "environment",
            Self::Discovery => "discovery",
        }
    }
}

/// The provider in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name, known or not; none when nobody chose and nothing was found.
    pub provider: Option<String>,
    /// Who chose it.
    pub chosen_by: ChosenBy,
    /// Why it cannot be used, if it cannot at all.
    pub unusable: Option<String>,
    /// Whether its backend was there when it was looked at last; always, of one without a backend.
    pub there: Probed,
}

impl Choice {
    /// Its name.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn usable(&self) -> Result<&str, Unavailable> {
        match (&self.provider, &self.unusable) {
            (Some(provider), None) => Ok(provider),
            (_, Some(why)) => Err(Unavailable(why.clone())),
            (None, None) => Err(Unavailable("no provider was found".to_owned())),
        }
    }

    fn value(&self) -> Value {
        let reason = self.unusable.as_ref().or(self.there.as_ref().err());
        json!({
            "provider": self.provider,
            "available": reason.is_none(),
            "chosen_by": self.chosen_by.word(),
            "reason": reason,
        })
    }
}

/// Whether a backend is there; why not.
pub type Probed = Result<(), String>;

/// What the last look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What hears.
    pub asr: Probed,
    /// What speaks.
    pub tts: Probed,
}

impl Default for Found {
    fn default() -> Self {
        let yet = || Err("not looked at yet".to_owned());
        Self {
            asr: yet(),
            tts: yet(),
        }
    }
}

/// What is known of the backends of this process.
#[derive(Debug, Default)]
pub struct Providers(Mutex<Found>);

impl Providers {
    fn found(&self) -> Found {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    fn look(&self, found: Found) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

/// Which provider is in force.
pub type Choose = fn(Kind, &Service, &Found) -> Choice;

/// By config, else by environment, else what is there.
pub fn choose(kind: Kind, svc: &Service, found: &Found) -> Choice {
    let config = svc.config();
    let there = match kind {
        Kind::Asr => found.asr.clone(),
        Kind::Tts => found.tts.clone(),
    };
    let (name, chosen_by) = match kind.named(&config) {
        (Some(name), _) => (name, ChosenBy::Config),
        (None, Some(name)) => (name, ChosenBy::Environment),
        (None, None) => {
            return Choice {
                provider: there.is_ok().then(|| "http".to_owned()),
                chosen_by: ChosenBy::Discovery,
                unusable: there.clone().err(),
                there,
            };
        }
    };
    let unusable = match name {
        "none" => Some("none is wanted".to_owned()),
        "keyed" if kind == Kind::Asr => key(svc).err().map(|Unavailable(why)| why),
        name if !kind.known().contains(&name) => {
            let known = kind.known().join(", ");
            Some(format!(
                "unknown provider {name:?}, expected one of {known}"
            ))
        }
        _ => None,
    };
    Choice {
        provider: Some(name.to_owned()),
        chosen_by,
        unusable,
        there: if name == "builtin" { Ok(()) } else { there },
    }
}

/// The provider in force just now.
pub(super) fn in_force(kind: Kind, svc: &Service) -> Choice {
    (svc.parts.voice.choose)(kind, svc, &svc.shared.voice.found())
}

/// What `/voice/backends` says.
pub(super) fn shown(svc: &Service) -> Value {
    let vad = &svc.config().voice.vad;
    json!({
        "asr": in_force(Kind::Asr, svc).value(),
        "tts": in_force(Kind::Tts, svc).value(),
        "vad": {
            "provider": "energy",
            "available": true,
            "threshold": vad.threshold,
            "silence_ms": vad.silence_ms,
        },
    })
}

/// The key of what hears: of the environment, else of the file.
pub(super) fn key(svc: &Service) -> Result<String, Unavailable> {
    let asr = &svc.config().voice.asr;
    if let Some(key) = asr.key.as_ref().filter(|key| !key.0.is_empty()) {
        return Ok(key.0.clone());
    }
    let none = || Unavailable("no key for the provider".to_owned());
    let file = asr.key_file.as_ref().ok_or_else(none)?;
    let file = beside_config(svc, file);
    let key = std::fs::read_to_string(&file).map_err(|error| {
        tracing::warn!(%error, path = %file.display(), "the key of the speech provider");
        none()
    })?;
    match key.trim() {
        "" => Err(none()),
        key => Ok(key.to_owned()),
    }
}

/// Relative to the config file's folder.
fn beside_config(svc: &Service, path: &str) -> PathBuf {
    let folder = svc.shared.config.file().parent();
    folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}

/// Looks whether the backends are there, as long as the process runs.
pub async fn discover(svc: Arc<Service>) {
    loop {
        let (asr, tts) = join(probe(&svc, Kind::Asr), probe(&svc, Kind::Tts)).await;
        svc.shared.voice.look(Found { asr, tts });
        let pause = svc.config().voice.probe_interval_ms;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Whether a backend is there just now.
pub async fn probe(svc: &Service, kind: Kind) -> Probed {
    let config = svc.config();
    let url = kind.url(&config).trim_end_matches('/');
    let request = svc.http.get(format!("{url}/healthz"));
    let timeout = Duration::from_millis(config.voice.probe_ms);
    match svc.http.send(request, timeout).await {
        Ok((200..300, _)) => Ok(()),
        Ok((status, _)) => Err(format!("status {status}")),
        Err(Fault::NotSent(why) | Fault::InDoubt(why)) => Err(why),
    }
}
