//! How actor-attribution is driven.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Act, Decision, Evidence, Named};
use crate::chaos::approvals::{Minted, Route as Approval, Shown, markers, mint, session};
use crate::checks::audit::entries::Logs;
use crate::checks::auth::tried::Tried;
use crate::checks::bench::{self, Bench};
use crate::checks::recipes;
use crate::checks::{Cx, Undecided};
use crate::contract::routes::{Route, floor};
use crate::target::{Ask, Client, Credential, Exchange, Instance};

/// Decisions that are raced for on each approval route.
const RACES: usize = 3;

/// Drives it.
///
/// # Errors
/// When there is no target, or its databases cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(bench::model);
    cx.tools.script(bench::tools());
    let target = cx.start(json!({})).await?;
    let actors = actors(&target);
    let client = target.client(Credential::Operator(1));
    let bench = Bench {
        session: session(&client).await?,
        client,
        seed: cx.seed,
    };
    let routes = floor().filter(|route| route.mutating);
    let all = join_all(routes.map(|route| act_all(&bench, &actors, route))).await;
    for (route, acted) in all {
        match acted {
            Ok(acts) => seen.acts.extend(acts),
            Err(Undecided(why)) => drop(seen.trouble.insert(route.to_string(), why)),
        }
    }
    for route in Approval::ALL {
        let markers = markers(cx.seed, &format!("raced-{route}"), RACES);
        let minted = mint(&bench.client, &bench.session, route, &markers).await?;
        let races = minted.iter().map(|one| race(&bench, &actors, one));
        seen.decisions.extend(join_all(races).await);
    }
    let _span = cx.span("read databases");
    let logs = Logs::read(&target)?;
    let raced = seen.decisions.iter_mut().flat_map(|one| &mut one.acts);
    for act in seen.acts.iter_mut().chain(raced) {
        act.entries = logs.about(&act.tried.service, &act.tried.id);
    }
    Ok(())
}

/// Somebody who can ask.
struct Actor {
    named: Named,
    client: Client,
    on_behalf_of: Option<&'static str>,
}

fn actors(target: &Instance) -> [Actor; 4] {
    let actor = |id: &str, credential, on_behalf_of: Option<&'static str>| Actor {
        named: Named {
            id: id.to_owned(),
            role: "operator".to_owned(),
            via: on_behalf_of.map(|_| "_service".to_owned()),
        },
        client: target.client(credential),
        on_behalf_of,
    };
    [
        actor("op-1", Credential::Operator(1), None),
        actor("op-2", Credential::Operator(2), None),
        actor("_service", Credential::Service, None),
        actor("op-2", Credential::Service, Some("op-2;operator")),
    ]
}

impl Actor {
    async fn act(&self, route: &str, ask: Ask) -> Act {
        let ask = match self.on_behalf_of {
            Some(whom) => ask.header("x-on-behalf-of", whom),
            None => ask,
        };
        let exchange = self.client.send(ask).await;
        Act {
            route: route.to_owned(),
            by: self.named.clone(),
            tried: Tried::new(&exchange),
            decided_by: decided_by(&exchange),
            entries: None,
        }
    }
}

/// Who decided, as a winner is told at the top and a loser in the details.
fn decided_by(exchange: &Exchange) -> Option<Named> {
    let answer = exchange.answered();
    named(&answer["decided_by"]).or_else(|| named(&answer["error"]["details"]["decided_by"]))
}

fn named(value: &Value) -> Option<Named> {
    Some(Named {
        id: value["actor_id"].as_str()?.to_owned(),
        role: value["actor_role"].as_str()?.to_owned(),
        via: value["via"].as_str().map(str::to_owned),
    })
}

/// Everybody does what a route does, each to a thing of its own.
async fn act_all<'a>(
    bench: &Bench,
    actors: &[Actor],
    route: &'a Route,
) -> (&'a Route, Result<Vec<Act>, Undecided>) {
    let name = route.to_string();
    let acts = async {
        let recipe = recipes::of(route).ok_or_else(|| Undecided("it has no recipe".to_owned()))?;
        let things = bench
            .make(recipe, &format!("by {name}"), actors.len())
            .await?;
        let acts = actors.iter().zip(&things);
        let acts = acts.map(|(actor, thing)| actor.act(&name, recipe.ask(thing)));
        Ok(join_all(acts).await)
    };
    let acted = acts.await;
    (route, acted)
}

/// Everybody approves at once; one comes too late, and wants the contrary.
async fn race(bench: &Bench, actors: &[Actor], one: &Minted) -> Decision {
    let name = format!("approvals of {}", one.route);
    let ask = |verb| one.route.ask(&one.id, verb, Shown::Body(one.fence));
    let racing = actors.iter().map(|actor| actor.act(&name, ask("approve")));
    let mut acts = join_all(racing).await;
    acts.push(actors[1].act(&name, ask("deny")).await);
    let record = match one.route {
        Approval::Actions => {
            let path = format!("/v3/actions/{}", one.id);
            let exchange = bench.client.send(Ask::get("api-gateway", &path)).await;
            named(&exchange.answered()["action"]["decided_by"])
        }
        _ => None,
    };
    Decision {
        id: one.id.clone(),
        acts,
        record,
    }
}
