//! Dependencies that flap: it crashes nothing, doubles no execution and leaves every breaker closed,
//! with one event a transition. How that is driven, what is seen of it, and what contradicts it.

mod judge;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use judge::judge;

use super::dependencies::{self, Dependency};
use crate::base::json::merge;
use crate::chaos::approvals::{markers, session};
use crate::chaos::requests::READ;
use crate::chaos::{Sent, Site, storm};
use crate::contract::breakers::{Breaker, Breakers};
use crate::contract::{Body, Event, read};
use crate::doubles::{Behaviour, Double, Effect, Kind, Point};
use crate::target::{Ask, Client, Credential};

/// The service that keeps what turns leave behind.
const MEMORY: &str = "memory-engine";
/// What flaps: what every turn of this drive needs.
const FLAPPING: [&str; 3] = ["models", "tools", MEMORY];
/// How long the target waits for a dependency, in milliseconds.
const TIMEOUT_MS: u64 = 300;
/// How long a breaker stays open here, in milliseconds.
const OPEN_MS: u64 = 20;
/// How long a dependency is up at most before it goes down again.
const UP: Duration = Duration::from_millis(200);
/// How long it may take until a dependency that is back is used: ten times what the breaker waits,
/// and a busy machine.
const RECOVERY_BOUND: Duration = Duration::from_secs(10);
/// How long an answer may take.
const IN_TIME: Duration = Duration::from_secs(8);
/// Turns taken at once.
const AT_ONCE: usize = 2;

/// How a dependency is not of use for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It refuses connections, and those that exist are gone.
    Refuses,
    /// It does what it is asked for, and the connection is gone before its answer.
    Resets,
}

/// A turn, and what the doubles saw of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// What its calls are told by.
    pub marker: String,
    /// The turn.
    pub turn: Sent,
    /// Effects at the tools.
    pub runs: u64,
    /// Effects at the memory engine.
    pub kept: u64,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// How often each dependency went down and came back.
    pub flaps: Vec<(String, u64)>,
    /// Every turn.
    pub turns: Vec<Taken>,
    /// The breakers at last.
    pub breakers: Vec<Breaker>,
    /// The events about them, in order.
    pub events: Vec<Event>,
    /// How long the harness waited for all to be closed and told of, and how often it looked.
    pub waited_ms: u64,
    /// How often it looked.
    pub looks: u64,
    /// The process before the first flap and after the last.
    pub pids: Vec<Option<u32>>,
}

/// Drives it on a target of its own: each dependency goes down and comes back so often.
///
/// # Errors
/// When there is no target, or it takes no session.
pub async fn drive(
    site: &mut Site,
    (flaps, how): (u64, How),
    seen: &mut Evidence,
) -> anyhow::Result<()> {
    site.models.script(model);
    let engine = Double::start(Kind::Memory, site.clock).await?;
    let mut all = dependencies::backends(site).await?;
    all.retain(|one| FLAPPING.contains(&one.name.as_str()));
    all.push(dependencies::stand_in(site, MEMORY, &engine).await?);
    let mut config = dependencies::config(&all);
    let paces = json!({
        "backends": {"models": {"timeout_ms": TIMEOUT_MS}, "tools": {"timeout_ms": TIMEOUT_MS}},
        "breaker": {"failures": 2, "open_ms": OPEN_MS, "successes": 2},
        "outbox": {"timeout_ms": TIMEOUT_MS, "flush_interval_ms": OPEN_MS},
        "operations": {"retry_ms": 5},
    });
    merge(&mut config, &paces);
    let mut instance = site.start(config).await?;
    seen.pids.push(instance.pid());
    let client = instance.client(Credential::Operator(1));
    let taking = Taking {
        session: session(&client).await?,
        client,
        seed: site.seed,
    };
    for one in &mut all {
        let double = match one.name.as_str() {
            "models" => site.models.clone(),
            "tools" => site.tools.clone(),
            _ => engine.clone(),
        };
        let gone = taking.flap(site, (one, &double), (flaps, how), seen).await;
        seen.flaps.push((one.name.clone(), gone));
        if gone < flaps {
            // What is not used again will not be by flapping more.
            break;
        }
    }
    taking.settle(site, &engine, seen).await;
    instance.exited();
    seen.pids.push(instance.pid());
    Ok(())
}

/// Whoever takes turns.
struct Taking {
    client: Client,
    session: String,
    seed: crate::base::Seed,
}

impl Taking {
    /// A dependency goes down and comes back so often; how often it did.
    async fn flap(
        &self,
        site: &Site,
        (one, double): (&mut Dependency, &Double),
        (flaps, how): (u64, How),
        seen: &mut Evidence,
    ) -> u64 {
        for gone in 0..flaps {
            if how == How::Resets {
                double.behave(Behaviour::cut(Point::Committed));
            }
            let before = double.calls().len();
            let under_way = self.turns(AT_ONCE, seen.turns.len());
            let down = async {
                let used = || {
                    let used = double.calls().len() > before;
                    std::future::ready(used.then_some(()))
                };
                // It goes down in any case.
                drop(site.until("a call", UP, used).await);
                if how == How::Refuses {
                    one.refuse().await;
                }
            };
            let (turns, ()) = tokio::join!(under_way, down);
            seen.turns.extend(turns);
            let turns = self.turns(AT_ONCE, seen.turns.len()).await;
            seen.turns.extend(turns);
            match how {
                How::Refuses => one.restore().await,
                How::Resets => double.behave(Behaviour::default()),
            }
            if !self.used_again(seen).await {
                return gone;
            }
        }
        flaps
    }

    /// Takes turns until every dependency is of use again, those too that a busy machine was late
    /// to answer for; whether it is in time.
    async fn used_again(&self, seen: &mut Evidence) -> bool {
        let end = tokio::time::Instant::now() + RECOVERY_BOUND;
        let mut pace = tokio::time::interval(Duration::from_millis(OPEN_MS));
        loop {
            pace.tick().await;
            let breakers = self.breakers().await;
            let closed = |one: &Breaker| one.state == "closed";
            if breakers.iter().all(closed) && !breakers.is_empty() {
                return true;
            }
            if tokio::time::Instant::now() >= end {
                return false;
            }
            let turns = self.turns(1, seen.turns.len()).await;
            seen.turns.extend(turns);
        }
    }

    /// Takes turns at once; `from` tells them from those before.
    async fn turns(&self, n: usize, from: usize) -> Vec<Taken> {
        let markers = markers(self.seed, &format!("flap-{from}"), n);
        storm(n, |number| {
            let (client, marker) = (self.client.clone(), markers[number].clone());
            let text = format!("{READ}{marker}");
            let body = json!({"session_id": self.session, "input_text": text});
            let ask = Ask::post("api-gateway", "/v3/turn", body).within(IN_TIME);
            async move {
                Taken {
                    marker,
                    turn: Sent::by(&client, ask).await,
                    runs: 0,
                    kept: 0,
                }
            }
        })
        .await
    }

    async fn breakers(&self) -> Vec<Breaker> {
        let ask = Ask::get("api-gateway", "/v3/breakers");
        let exchange = self.client.send(ask).await;
        let read: Result<Body<Breakers>, _> = read(exchange.answered());
        read.map(|body| body.data.breakers).unwrap_or_default()
    }

    async fn events(&self) -> Vec<Event> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/v3/events?after={after}&limit=1000");
            let exchange = self.client.send(Ask::get("api-gateway", &path)).await;
            let page = exchange.answered()["events"].as_array();
            let page: Vec<Event> = page
                .into_iter()
                .flatten()
                .filter_map(|event| read(event).ok())
                .collect();
            let last = page.last().map_or(after, |event| event.seq);
            if last <= after {
                return events;
            }
            after = last;
            events.extend(
                page.into_iter()
                    .filter(|event| event.kind.starts_with("breaker.")),
            );
        }
    }

    /// Waits until every breaker is closed, every change is told and every memory kept, or should
    /// long be: the judge says which.
    async fn settle(&self, site: &Site, engine: &Double, seen: &mut Evidence) {
        let from_us = site.clock.now_us();
        let end = tokio::time::Instant::now() + RECOVERY_BOUND;
        let mut pace = tokio::time::interval(Duration::from_millis(OPEN_MS));
        loop {
            pace.tick().await;
            seen.looks += 1;
            let (runs, kept) = (site.tools.effects(), engine.effects());
            for taken in &mut seen.turns {
                taken.look(&runs, &kept);
            }
            seen.breakers = self.breakers().await;
            seen.events = self.events().await;
            seen.waited_ms = (site.clock.now_us() - from_us) / 1000;
            if judge::settled(seen) || tokio::time::Instant::now() >= end {
                return;
            }
        }
    }
}

impl Taken {
    /// Looks through the effects that the tools and the memory engine had so far.
    fn look(&mut self, runs: &[Effect], kept: &[Effect]) {
        let is_run = |one: &&Effect| one.body["args"]["path"] == self.marker.as_str();
        let heard = format!("{READ}{}\n", self.marker);
        let is_kept = |one: &&Effect| {
            let content = one.body["content"].as_str();
            content.is_some_and(|content| content.contains(&heard))
        };
        let runs = runs.iter().filter(is_run).count();
        let kept = kept.iter().filter(is_kept).count();
        (self.runs, self.kept) = (runs as u64, kept as u64);
    }
}

/// Every turn gets a call of a safe tool.
fn model(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    let marker = heard.strip_prefix(READ).unwrap_or_default();
    let call = json!({"tool_name": "file.read", "args": {"path": marker}});
    json!({"text": "I will read.", "tool_calls": [call]})
}

// Ten waits of a breaker fit into the bound many times over.
const _: () = assert!(RECOVERY_BOUND.as_millis() as u64 >= 10 * OPEN_MS);

#[cfg(test)]
#[path = "flap/tests.rs"]
mod tests;
