//! How auth-required-mutating is driven.

use futures_util::future::join_all;
use serde_json::json;

use super::{Evidence, Seen, Show, Shown, routes};
use crate::chaos::approvals;
use crate::checks::auth::people;
use crate::checks::auth::tables::Tables;
use crate::checks::auth::tried::Tried;
use crate::checks::bench::{self, Bench, Thing};
use crate::checks::recipes;
use crate::checks::{Cx, Undecided};
use crate::contract::routes::{Route, twin_of};
use crate::target::{Ask, Client, Credential};

/// Windows do not close by time here: a closed one is written down, and would look like an effect.
const WINDOW_MS: u64 = 600_000;

/// Drives it.
///
/// # Errors
/// When there is no target, or its databases cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(bench::model);
    cx.tools.script(bench::tools());
    let target = cx.start(json!({"slo": {"window_ms": WINDOW_MS}})).await?;
    let client = target.client(Credential::Operator(1));
    let bench = Bench {
        session: approvals::session(&client).await?,
        client: client.clone(),
        seed: cx.seed,
    };
    let key = people::key(&target, &Credential::Operator(1))?;
    let makings = routes().map(|route| make(&bench, route));
    let made = join_all(makings).await;
    let mut tables = Tables::open(&target, &cx.models, &cx.tools)?;
    for (route, made) in routes().zip(made) {
        let one = seen.routes.entry(route.to_string()).or_default();
        match made {
            Ok(ask) => drive_one(&mut tables, &client, &key, route, &ask, one).await?,
            Err(Undecided(why)) => one.trouble = Some(why),
        }
    }
    Ok(())
}

/// A valid request of a route.
async fn make(bench: &Bench, route: &Route) -> Result<Ask, Undecided> {
    let recipe = recipes::of(route).ok_or_else(|| Undecided("it has no recipe".to_owned()))?;
    let things: Vec<Thing> = bench.make(recipe, &route.to_string(), 1).await?;
    let thing = things
        .first()
        .ok_or_else(|| Undecided("nothing was made for it".to_owned()))?;
    Ok(recipe.ask(thing))
}

async fn drive_one(
    tables: &mut Tables,
    client: &Client,
    key: &str,
    route: &Route,
    ask: &Ask,
    one: &mut Seen,
) -> Result<(), Undecided> {
    // What was done to make things is over; what is seen from here on these requests did.
    tables.look()?;
    let nobody = client.under(Credential::None);
    let mut asks = vec![ask.clone()];
    if route.twin.is_some()
        && let Some(path) = twin_of(&ask.path)
    {
        asks.push(Ask {
            path,
            ..ask.clone()
        });
    }
    let basic = format!("Basic {key}");
    let sends = Shown::ALL.into_iter().flat_map(|shown| {
        let header = match shown {
            Shown::Nothing => None,
            Shown::Garbage => Some(("authorization", "Bearer key_of_nobody")),
            Shown::OtherScheme => Some(("authorization", basic.as_str())),
            Shown::WrongToken => Some(("x-service-token", "svc_of_nobody")),
            Shown::OnBehalf => Some(("x-on-behalf-of", "op-1;operator")),
        };
        let with = move |ask: Ask| match header {
            Some((name, value)) => ask.header(name, value),
            None => ask,
        };
        asks.iter().cloned().map(move |ask| (shown, with(ask)))
    });
    let sends = sends.map(|(shown, ask)| {
        let nobody = nobody.clone();
        async move {
            let tried = Tried::new(&nobody.send(ask).await);
            Show { shown, tried }
        }
    });
    one.shut = join_all(sends).await;
    one.after_shut = Some(tables.look()?);
    one.open = Some(Tried::new(&client.send(ask.clone()).await));
    one.after_open = Some(tables.look()?);
    Ok(())
}
