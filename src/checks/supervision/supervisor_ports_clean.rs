//! Gate supervisor-ports-clean: each name in the supervisor's table leads to the service of that
//! name, also after two ports were exchanged.
//!
//! A supervised target runs every service as a process of its own. The harness asks at each address
//! that the table names who answers there, and the supervisor's own probes have to find everybody
//! well. Then the target is stopped, two services are configured with each other's port, and the
//! same is seen again: both have to be found where the other one was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stack::{BOUND, EVA, ORCHESTRATOR, Stack, Standing, WITH_ORCHESTRATOR};
use crate::base::json::merge;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::contract::routes;
use crate::target::{StartError, Writing};
use crate::violation;

/// How often ports are exchanged when somebody else takes one of them in the meantime.
const TRIES: usize = 5;
/// How often services are asked how they are: nothing here waits for more than two answers.
const PROBE_INTERVAL_MS: u64 = 50;
/// How long one may take to say so. A machine that is busy is no failed probe.
const PROBE_TIMEOUT_MS: u64 = 10_000;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// As the target was started first.
    pub first: Vec<Named>,
    /// The two services and the ports that they were configured with then.
    pub exchanged: Vec<Exchanged>,
    /// As it was started with those ports.
    pub second: Vec<Named>,
}

/// A service with the port that another one had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The service.
    pub service: String,
    /// Its port now.
    pub port: u16,
}

/// A name of the table, and where it leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub service: String,
    /// Where the table says that it is.
    pub url: Option<String>,
    /// How the supervisor finds it, and where; none when it does not say.
    pub standing: Option<Standing>,
    /// Who answers there.
    pub probed: Option<Sent>,
}

impl Named {
    /// The port of the table; none when that is no address.
    fn port(&self) -> Option<u16> {
        let address = self.url.as_ref()?.split("://").nth(1)?;
        let address: SocketAddr = address.trim_end_matches('/').parse().ok()?;
        Some(address.port())
    }

    /// Whether the service of this name answers there.
    fn is_found(&self) -> bool {
        let answers = |sent: &Sent| sent.ok() && sent.answer["service"] == *self.service;
        self.probed.as_ref().is_some_and(answers)
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["names", "exchanged"] {
        judgement.exercised(counter, 0);
    }
    if seen.first.is_empty() {
        judgement.undecided("no table was seen");
        return judgement;
    }
    table("at first", &seen.first, &mut judgement);
    if !seen.second.is_empty() {
        table("exchanged", &seen.second, &mut judgement);
        moved(seen, &mut judgement);
    }
    let found = seen.second.iter().filter(|named| named.is_found());
    let found: BTreeSet<&str> = found.map(|named| &*named.service).collect();
    let twice = seen.first.iter().filter(|named| named.is_found());
    let twice = twice.filter(|named| found.contains(&*named.service));
    judgement.exercised("names", twice.count() as u64);
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} names lead to the services of that name, twice; {} of them with the port of another one \
         before: {} violations",
        count("names"),
        count("exchanged"),
        judgement.violations.len()
    );
    judgement
}

/// Every service of the contract has its row, and each row leads to it.
fn table(when: &str, names: &[Named], judgement: &mut Judgement) {
    let mut urls: BTreeMap<&str, &str> = BTreeMap::new();
    for service in routes::services() {
        let mut rows = names.iter().filter(|named| named.service == service);
        let Some(named) = rows.next() else {
            violation!(judgement, "{when}: got no row of {service}, expected one");
            continue;
        };
        let Some(url) = &named.url else {
            violation!(
                judgement,
                "{when}: got no address of {service}, expected one"
            );
            continue;
        };
        if let Some(other) = urls.insert(url, service) {
            violation!(
                judgement,
                "{when}: got {url} for {service} and {other}, expected two addresses"
            );
        }
        leads(when, named, url, judgement);
    }
}

fn leads(when: &str, named: &Named, url: &str, judgement: &mut Judgement) {
    let service = &*named.service;
    if let Some(sent) = &named.probed {
        judgement.expect(named.is_found(), || {
            let got = &sent.answer["service"];
            format!(
                "{when}: {service} is at {url}, where {}: got {got}",
                sent.line()
            )
        });
    }
    let Some(standing) = &named.standing else {
        violation!(judgement, "{when}: got nothing of how {service} is");
        return;
    };
    judgement.expect(standing.url.as_deref() == Some(url), || {
        format!(
            "{when}: got {service} well at {:?}, expected {url}, as in the table",
            standing.url
        )
    });
    judgement.expect(standing.state == "healthy", || {
        format!("{when}: got {service} {}, expected healthy", standing.state)
    });
}

/// The two are where the other one was.
fn moved(seen: &Evidence, judgement: &mut Judgement) {
    for Exchanged { service, port } in &seen.exchanged {
        let now = seen.second.iter().find(|named| named.service == *service);
        let got = now.and_then(Named::port);
        judgement.expect(got == Some(*port), || {
            format!("exchanged: got {service} at port {got:?}, expected {port}")
        });
        let found = got == Some(*port) && now.is_some_and(Named::is_found);
        judgement.exercised("exchanged", u64::from(found));
    }
}

/// Drives it.
///
/// # Errors
/// When the target does not start, or other processes keep taking the ports.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = json!({"supervisor": {
        "probe_interval_ms": PROBE_INTERVAL_MS, "probe_timeout_ms": PROBE_TIMEOUT_MS,
    }});
    let mut stack = Stack::start(cx, patch, &[WITH_ORCHESTRATOR]).await?;
    let ephemeral = stack.instance.setup().config.clone();
    let mut rng = cx.seed.child("exchanged").rng();
    // Only what the target cannot do without ends it when somebody else has its port.
    let others: Vec<_> = routes::services()
        .into_iter()
        .filter(|name| *name != EVA && *name != ORCHESTRATOR)
        .collect();
    let two: Vec<_> = others.sample(&mut rng, 2).copied().collect();
    for _ in 0..TRIES {
        seen.first = look(cx, &stack).await;
        seen.exchanged = exchanged(&seen.first, &two);
        stack.instance.terminate().await?;
        let mut config = ephemeral.clone();
        merge(&mut config, &ports(&seen.exchanged));
        configure(&mut stack, config)?;
        match stack.instance.start_or_refuse().await {
            Ok(()) => {
                seen.second = look(cx, &stack).await;
                return Ok(());
            }
            // Most likely a port was taken in the meantime: others are drawn.
            Err(StartError::Exited { .. }) => {
                configure(&mut stack, ephemeral.clone())?;
                stack.instance.start_again().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Undecided(format!(
        "no start with exchanged ports in {TRIES} tries"
    )))
}

/// The two services, each with the port that the table has for the other one.
fn exchanged(names: &[Named], two: &[&str]) -> Vec<Exchanged> {
    let port = |service: &str| names.iter().find(|one| one.service == service)?.port();
    let crossed = two.iter().zip(two.iter().rev());
    crossed
        .filter_map(|(service, other)| {
            Some(Exchanged {
                service: (*service).to_owned(),
                port: port(other)?,
            })
        })
        .collect()
}

/// The config of these ports.
fn ports(exchanged: &[Exchanged]) -> Value {
    let port = |one: &Exchanged| (one.service.clone(), json!({"port": one.port}));
    let services: BTreeMap<_, _> = exchanged.iter().map(port).collect();
    json!({"services": services})
}

fn configure(stack: &mut Stack, config: Value) -> Result<(), Undecided> {
    let text = serde_json::to_vec_pretty(&config)?;
    stack.instance.write_config(&text, Writing::Rename)?;
    stack.instance.edited(config);
    Ok(())
}

/// The table, and who answers at each address of it. The supervisor's own view is taken when its
/// probes have found everybody or nobody.
async fn look(cx: &Cx, stack: &Stack) -> Vec<Named> {
    let Some(graph) = stack.graph().await else {
        return Vec::new();
    };
    let begun = Instant::now();
    let mut names = Vec::new();
    for node in graph.services {
        let at = Standing {
            url: node.url.clone(),
            ..Standing::default()
        };
        let probed = match &node.url {
            Some(_) => Some(stack.healthz(&node.service, &at).await),
            None => None,
        };
        let settled = |now: &Standing| now.state != "starting";
        // All of them are asked at once: one bound is enough for everybody.
        let left = BOUND.saturating_sub(begun.elapsed());
        names.push(Named {
            standing: stack.watch(cx, &node.service, left, settled).await,
            service: node.service,
            url: node.url,
            probed,
        });
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::by_hand;

    fn sent(service: &str) -> Sent {
        by_hand::sent(
            service,
            "GET",
            "/healthz",
            200,
            json!({"ok": true, "service": service}),
        )
    }

    /// Every service at a port of its own, from `first` on.
    fn names(first: u16) -> Vec<Named> {
        let services = routes::services().into_iter().zip(first..);
        services
            .map(|(service, port)| {
                let url = Some(format!("http://127.0.0.1:{port}"));
                Named {
                    service: service.to_owned(),
                    standing: Some(Standing {
                        state: "healthy".to_owned(),
                        url: url.clone(),
                        ..Standing::default()
                    }),
                    url,
                    probed: Some(sent(service)),
                }
            })
            .collect()
    }

    fn good() -> Evidence {
        let (first, mut second) = (names(41_000), names(42_000));
        let two = [first[2].service.clone(), first[5].service.clone()];
        let exchanged = exchanged(&first, &[&two[0], &two[1]]);
        for (at, other) in [(2, 5), (5, 2)] {
            let url = first[other as usize].url.clone();
            second[at].standing.as_mut().unwrap().url.clone_from(&url);
            second[at].url = url;
        }
        Evidence {
            first,
            exchanged,
            second,
        }
    }

    #[test]
    fn names_that_lead_to_their_services_are_no_violation_and_count() {
        let seen = good();
        assert_eq!(seen.exchanged[0].port, 41_005);
        let judgement = judge(&seen);
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(
            [
                judgement.exercised["names"],
                judgement.exercised["exchanged"]
            ],
            [10, 2]
        );
        assert_eq!(judge(&Evidence::default()).undecided.len(), 1);
    }

    /// Words of the violation, and what makes good evidence bad.
    type Case = (&'static str, fn(&mut Evidence));

    #[test]
    fn a_name_that_leads_elsewhere_is_a_violation() {
        let cases: [Case; 8] = [
            ("at first: got no row of", |seen| drop(seen.first.remove(3))),
            ("exchanged: got no address of", |seen| {
                seen.second[3].url = None
            }),
            ("expected two addresses", |seen| {
                let url = seen.first[4].url.clone();
                seen.first[3]
                    .standing
                    .as_mut()
                    .unwrap()
                    .url
                    .clone_from(&url);
                seen.first[3].url = url;
            }),
            ("got \"nobody\"", |seen| {
                seen.second[1].probed = Some(sent("nobody"))
            }),
            ("got null", |seen| {
                let probed = seen.second[1].probed.as_mut().unwrap();
                (probed.status, probed.answer, probed.returned_us) = (0, Value::Null, None);
            }),
            ("as in the table", |seen| {
                seen.first[1].standing.as_mut().unwrap().url = None;
            }),
            ("unreachable, expected healthy", |seen| {
                seen.second[1].standing.as_mut().unwrap().state = "unreachable".to_owned();
            }),
            ("got nothing of how", |seen| seen.first[1].standing = None),
        ];
        for (words, spoil) in cases {
            let mut seen = good();
            spoil(&mut seen);
            let found = judge(&seen).violations;
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
    }

    #[test]
    fn one_that_stays_where_it_was_is_a_violation_and_does_not_count() {
        let mut seen = good();
        let url = seen.first[2].url.clone();
        seen.second[2]
            .standing
            .as_mut()
            .unwrap()
            .url
            .clone_from(&url);
        seen.second[2].url = url;
        let judgement = judge(&seen);
        let found = &judgement.violations;
        assert!(
            found
                .iter()
                .any(|one| one.contains("at port Some(41002), expected 41005")),
            "{found:?}"
        );
        assert_eq!(judgement.exercised["exchanged"], 1);
    }
}
