//! Gate default-backend-auto: where nobody names a provider it is found by looking: up means selected,
//! down means unavailable in time, and the environment wins.
//!
//! Pipecat alone, with both providers behind links. One start finds them refusing connections, then
//! there, then gone again; one finds them silent, which must not keep it from being ready, and then
//! there; and two with names in the environment find them there and do not take them.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pipecat::{self, backends_until, started, tells};
use super::stage::{self, Stage};
use super::talk::BOUND;
use crate::base::json::merge;
use crate::chaos::Link;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::Credential;
use crate::violation;

/// How long one look at a provider may take. Long enough that one that is there is never missed.
const PROBE_MS: u64 = 2_000;

/// How the providers are just then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Providers {
    /// They answer.
    Up,
    /// They refuse connections.
    Down,
    /// They take everything and answer nothing.
    Silent,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The starts.
    pub starts: Vec<Start>,
}

/// A start, and what was told then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Both providers in the environment.
    pub environment: Option<String>,
    /// How they were at the start.
    pub at_start: Providers,
    /// Whether it was ready in time.
    pub ready: bool,
    /// Whether it was not waited for any more, because it is not ready or does not tell.
    pub given_up: bool,
    /// How the providers were made, and what was told once it was as expected or the time was over.
    pub told: Vec<(Providers, Sent)>,
}

/// What is to be told: the provider, who chose it, and whether it is of use.
fn expected(environment: Option<&str>, now: Providers) -> (Option<&str>, &'static str, bool) {
    match environment {
        Some(name) => (Some(name), "environment", name == "builtin"),
        None if now == Providers::Up => (Some("http"), "discovery", true),
        None => (None, "discovery", false),
    }
}

fn is_told(answer: &Value, environment: Option<&str>, now: Providers) -> bool {
    let (provider, chosen_by, available) = expected(environment, now);
    let one = |kind: &str| {
        tells(answer, kind, provider, available) && answer[kind]["chosen_by"] == chosen_by
    };
    one("asr") && one("tts")
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["found", "unavailable", "overridden"] {
        judgement.exercised(counter, 0);
    }
    for start in &seen.starts {
        let Start {
            environment,
            at_start,
            ..
        } = start;
        let about = format!("environment {environment:?}, {at_start:?} at the start");
        judgement.expect(start.ready, || {
            format!("{about}: not ready within {} s", BOUND.as_secs())
        });
        for (now, sent) in &start.told {
            let right = is_told(&sent.answer, environment.as_deref(), *now);
            let counter = match (environment, now) {
                (Some(_), _) => "overridden",
                (None, Providers::Up) => "found",
                (None, _) => "unavailable",
            };
            judgement.exercised(counter, u64::from(right));
            if !right {
                let (provider, chosen_by, available) = expected(environment.as_deref(), *now);
                let (asr, tts) = (&sent.answer["asr"], &sent.answer["tts"]);
                violation!(
                    judgement,
                    "{about}, {now:?} then: got asr {asr} and tts {tts}, expected {provider:?} by \
                     {chosen_by}, available: {available}"
                );
            }
        }
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} starts: both providers {} times found, {} times unavailable and {} times named by the \
         environment: {} violations",
        seen.starts.len(),
        count("found"),
        count("unavailable"),
        count("overridden"),
        judgement.violations.len()
    );
    judgement
}

/// The links before both providers.
struct Links([Link; 2]);

impl Links {
    async fn open(cx: &Cx, stage: &Stage) -> Result<Self, Undecided> {
        let open = async |name: &str, url: &str| -> Result<Link, Undecided> {
            let at = url.strip_prefix("http://").and_then(|at| at.parse().ok());
            let at = at.with_context(|| format!("{url:?} is no address"))?;
            Ok(Link::open(at, cx.seed.child(name)).await?)
        };
        let asr = open("asr", &stage.asr.url()).await?;
        Ok(Self([asr, open("tts", &stage.tts.url()).await?]))
    }

    async fn make(&mut self, providers: Providers) {
        for link in &mut self.0 {
            match providers {
                Providers::Up => link.restore().await,
                Providers::Down => link.refuse().await,
                Providers::Silent => {
                    link.restore().await;
                    link.silence();
                }
            }
        }
    }

    fn config(&self) -> Value {
        let [asr, tts] = &self.0;
        let mut config = stage::config(&asr.url(), &tts.url());
        let unset = json!({"voice": {
            "asr": {"provider": null}, "tts": {"provider": null},
            "probe_ms": PROBE_MS, "probe_interval_ms": 50,
        }});
        merge(&mut config, &unset);
        config
    }
}

/// Drives it.
///
/// # Errors
/// When that is not the target's fault.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    use Providers::{Down, Silent, Up};
    let stage = Stage::open(cx).await?;
    let mut links = Links::open(cx, &stage).await?;
    let starts: [(Option<&str>, &[Providers]); 4] = [
        (None, &[Down, Up, Down]),
        (None, &[Silent, Up]),
        (Some("builtin"), &[Up]),
        (Some("none"), &[Up]),
    ];
    for (environment, providers) in starts {
        let start = start(cx, &mut links, environment, providers).await?;
        let given_up = start.given_up;
        seen.starts.push(start);
        if given_up {
            // Nothing more is learned from another start.
            break;
        }
    }
    Ok(())
}

async fn start(
    cx: &mut Cx,
    links: &mut Links,
    environment: Option<&str>,
    providers: &[Providers],
) -> Result<Start, Undecided> {
    let at_start = providers.first().copied().unwrap_or(Providers::Up);
    let mut start = Start {
        environment: environment.map(str::to_owned),
        at_start,
        ready: false,
        given_up: true,
        told: Vec::new(),
    };
    links.make(at_start).await;
    let names = ["SONIA_ASR_PROVIDER", "SONIA_TTS_PROVIDER"];
    let env: Vec<_> = environment
        .into_iter()
        .flat_map(|value| names.map(|name| (name, value)))
        .collect();
    let setup = pipecat::setup(cx, links.config(), &env);
    let Some(mut instance) = started(cx, setup).await? else {
        return Ok(start);
    };
    (start.ready, start.given_up) = (true, false);
    let client = instance.client(Credential::Operator(1));
    let within = BOUND + Duration::from_millis(PROBE_MS);
    for now in providers {
        links.make(*now).await;
        let told = |answer: &Value| is_told(answer, environment, *now);
        let sent = backends_until(cx, &client, within, told).await;
        let right = told(&sent.answer);
        start.told.push((*now, sent));
        if !right {
            start.given_up = true;
            break;
        }
    }
    instance.exited();
    Ok(start)
}

#[cfg(test)]
#[path = "default_backend_auto_tests.rs"]
mod tests;
