//! Partial outages: with any one dependency down unrelated routes are served, affected ones answer
//! their error in time, and recovery needs nobody. How that is driven, what is seen of it, and what
//! contradicts it.

mod probes;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dependencies::{self, Dependency};
use crate::base::json::merge;
use crate::chaos::approvals::{markers, session};
use crate::chaos::requests::{CONSENTING, READ, consent, privacy};
use crate::chaos::{Judgement, Sent, Site};
use crate::target::{Client, Credential, Exchange};
use crate::violation;
use probes::{About, Due, IN_TIME, PROBES, Probe, declared, served};

/// Services of the stack that others call.
const OWN: [&str; 3] = ["memory-engine", "openclaw", "model-router"];
/// How long the target waits for a dependency, in milliseconds.
const TIMEOUT_MS: u64 = 1_000;
/// How long a breaker stays open here, in milliseconds.
const OPEN_MS: u64 = 50;
/// How long it may take until everybody is served again: ten times what the breaker waits, and a
/// busy machine.
const RECOVERY_BOUND: Duration = Duration::from_secs(10);
/// Looks of the harness below which it was not scheduled well enough to speak of absence.
const ENOUGH_LOOKS: u64 = 20;

/// How a dependency is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It refuses connections.
    Refuses,
    /// It takes everything and answers nothing.
    Silent,
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// Its name in the table.
    pub probe: String,
    /// What came of it.
    pub sent: Sent,
}

/// One outage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// What was down.
    pub dependency: String,
    /// How.
    pub how: How,
    /// What was asked meanwhile.
    pub during: Vec<Probed>,
    /// What was asked last of each, once it was back.
    pub after: Vec<Probed>,
    /// How long the harness waited for everybody to be served.
    pub waited_ms: u64,
    /// How often it asked.
    pub looks: u64,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every request with everything there.
    pub before: Vec<Probed>,
    /// The outages.
    pub outages: Vec<Outage>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["unrelated_answers", "declared_errors", "recoveries"] {
        judgement.exercised(counter, 0);
    }
    let mut working = BTreeSet::new();
    for probed in &seen.before {
        if served(&probed.sent) {
            working.insert(probed.probe.as_str());
        } else {
            let line = probed.sent.line();
            judgement.undecided(format!("with everything there {line}: it was not served"));
        }
    }
    let mut dependencies = BTreeSet::new();
    for outage in &seen.outages {
        let declared = during(outage, &working, &mut judgement);
        after(outage, &working, &mut judgement);
        if declared > 0 {
            dependencies.insert(outage.dependency.as_str());
        }
    }
    judgement.exercised("dependencies", dependencies.len() as u64);
    let count = |what: &str| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} dependencies down in {} outages: {} unrelated answers, {} declared errors, {} recoveries \
         unaided",
        dependencies.len(),
        seen.outages.len(),
        count("unrelated_answers"),
        count("declared_errors"),
        count("recoveries")
    );
    judgement
}

/// Judges what was asked while it was down; how many errors were declared as they are due.
fn during(outage: &Outage, working: &BTreeSet<&str>, judgement: &mut Judgement) -> u64 {
    let Outage {
        dependency, how, ..
    } = outage;
    let (mut unrelated, mut errors) = (0, 0);
    for Probed { probe, sent } in &outage.during {
        let Some(due) = probes::named(probe).map(|probe| probe.due(dependency)) else {
            judgement.undecided(format!("no probe is called {probe}"));
            continue;
        };
        if !working.contains(probe.as_str()) {
            continue;
        }
        let (line, got) = (sent.line(), declared(sent));
        let at = format!("{dependency} down ({how:?}), {probe}: {line}");
        match due {
            _ if !sent.answered() => {
                let bound = IN_TIME.as_millis();
                violation!(
                    judgement,
                    "{at}: got no answer, expected one within {bound} ms"
                );
            }
            Due::Served if served(sent) => unrelated += 1,
            Due::Served => violation!(judgement, "{at}: got {}, expected 2xx", sent.answer),
            Due::Declared(codes) if got.is_some_and(|code| codes.contains(&code)) => errors += 1,
            Due::Declared(codes) => {
                violation!(
                    judgement,
                    "{at}: got {}, expected one of {codes:?}",
                    sent.answer
                );
            }
            Due::Either => judgement.expect(served(sent) || got.is_some(), || {
                format!(
                    "{at}: got {}, expected 2xx or an error with a code",
                    sent.answer
                )
            }),
        }
    }
    judgement.exercised("unrelated_answers", unrelated);
    judgement.exercised("declared_errors", errors);
    errors
}

/// Judges whether everybody was served again.
fn after(outage: &Outage, working: &BTreeSet<&str>, judgement: &mut Judgement) {
    let asked = |probed: &&Probed| working.contains(probed.probe.as_str());
    let waiting = outage.after.iter().filter(asked);
    let waiting: Vec<&Probed> = waiting.filter(|probed| !served(&probed.sent)).collect();
    if waiting.is_empty() {
        judgement.exercised("recoveries", u64::from(!outage.after.is_empty()));
        return;
    }
    let Outage {
        dependency,
        waited_ms,
        looks,
        ..
    } = outage;
    for Probed { probe, sent } in waiting {
        let text = format!(
            "{dependency} back for {waited_ms} ms and {looks} looks, {probe}: {}: got {}, expected 2xx",
            sent.line(),
            sent.answer
        );
        if *looks >= ENOUGH_LOOKS {
            violation!(judgement, "{text}");
        } else {
            judgement.undecided(text);
        }
    }
}

/// Drives it on a target of its own.
///
/// # Errors
/// When there is no target, or nothing to ask about.
pub async fn drive(site: &mut Site, seen: &mut Evidence) -> anyhow::Result<()> {
    site.models.script(model);
    let mut all = dependencies::backends(site).await?;
    for name in OWN {
        all.push(dependencies::own(site, name).await?);
    }
    let mut config = dependencies::config(&all);
    for one in all.iter().filter(|one| one.has_limit()) {
        let timeout = json!({"backends": {one.name.as_str(): {"timeout_ms": TIMEOUT_MS}}});
        merge(&mut config, &timeout);
    }
    let paces = json!({
        "breaker": {"failures": 3, "open_ms": OPEN_MS, "successes": 2},
        "outbox": {"timeout_ms": TIMEOUT_MS, "flush_interval_ms": OPEN_MS},
        "operations": {"retry_ms": 10},
    });
    merge(&mut config, &paces);
    let instance = site.start(config).await?;
    dependencies::lead_home(&all, &instance)?;
    let client = instance.client(Credential::Operator(1));
    let asking = Asking::open(site, client).await?;
    seen.before = asking.all(PROBES.iter(), "before").await;
    for one in &mut all {
        // Whoever has no time limit of its own is waited for by those who ask for it.
        let limited = one.backend || one.name == "memory-engine";
        for how in [How::Refuses, How::Silent] {
            if how == How::Silent && !limited {
                continue;
            }
            asking.outage(site, one, how, seen).await;
            let last = seen.outages.last();
            if last.is_some_and(|outage| outage.after.iter().any(|one| !served(&one.sent))) {
                // What does not come back hides what the next outage would show.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whoever asks.
struct Asking {
    client: Client,
    session: String,
    seed: crate::base::Seed,
}

impl Asking {
    async fn open(site: &Site, client: Client) -> anyhow::Result<Self> {
        let session = session(&client).await?;
        for step in CONSENTING {
            done(&client.send(consent(step, &session)).await)?;
        }
        done(&client.send(privacy("enable", &session)).await)?;
        Ok(Self {
            client,
            session,
            seed: site.seed,
        })
    }

    /// Asks all of these at once.
    async fn all(&self, probes: impl Iterator<Item = &'static Probe>, when: &str) -> Vec<Probed> {
        join_all(probes.map(|probe| self.one(probe, when))).await
    }

    async fn one(&self, probe: &'static Probe, when: &str) -> Probed {
        let whose = format!("{} {when}", probe.name);
        let marker = markers(self.seed, &whose.replace(' ', "-"), 1).remove(0);
        let about = About {
            session: self.session.clone(),
            marker,
        };
        Probed {
            probe: probe.name.to_owned(),
            sent: Sent::by(&self.client, probe.ask(&about)).await,
        }
    }

    /// One dependency is down, and back.
    async fn outage(&self, site: &Site, one: &mut Dependency, how: How, seen: &mut Evidence) {
        let name = one.name.clone();
        let when = format!("{name} {how:?}");
        match how {
            How::Refuses => one.refuse().await,
            How::Silent => one.silence(),
        }
        let affected = |probe: &&Probe| probe.due(&name) != Due::Served;
        // Whoever is not affected is asked once everybody who is has been.
        let mut during = self.all(PROBES.iter().filter(affected), &when).await;
        let others = PROBES.iter().filter(|probe| !affected(probe));
        during.extend(self.all(others, &when).await);
        one.restore().await;
        let from_us = site.clock.now_us();
        let (mut after, mut looks) = (Vec::new(), 0);
        let mut open: Vec<&'static Probe> = PROBES.iter().filter(affected).collect();
        let end = tokio::time::Instant::now() + RECOVERY_BOUND;
        let mut pace = tokio::time::interval(Duration::from_millis(OPEN_MS));
        while !open.is_empty() {
            pace.tick().await;
            looks += 1;
            let again = format!("{when} again {looks}");
            let asked = self.all(open.iter().copied(), &again).await;
            let over = tokio::time::Instant::now() >= end;
            open.clear();
            for probed in asked {
                match probes::named(&probed.probe).filter(|_| !over && !served(&probed.sent)) {
                    Some(probe) => open.push(probe),
                    None => after.push(probed),
                }
            }
        }
        seen.outages.push(Outage {
            dependency: name,
            how,
            during,
            after,
            waited_ms: (site.clock.now_us() - from_us) / 1000,
            looks,
        });
    }
}

fn done(exchange: &Exchange) -> anyhow::Result<()> {
    anyhow::ensure!(exchange.ok(), "{}", exchange.line());
    Ok(())
}

/// A turn that begins so gets a call of a safe tool; no other asks for anything.
fn model(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    let calls = heard.strip_prefix(READ).map_or(
        json!([]),
        |marker| json!([{"tool_name": "file.read", "args": {"path": marker}}]),
    );
    json!({"text": format!("You said: {heard}"), "tool_calls": calls})
}

// Ten waits of a breaker fit into the bound many times over.
const _: () = assert!(RECOVERY_BOUND.as_millis() as u64 >= 10 * OPEN_MS);

#[cfg(test)]
#[path = "partial/tests.rs"]
mod tests;
