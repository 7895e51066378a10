//! How role-enforcement is driven.

use futures_util::future::join_all;
use serde_json::json;

use super::{CALLS, Call, Evidence, Seen, Started, Who};
use crate::base::json::sha256_hex;
use crate::checks::auth::tables::Tables;
use crate::checks::auth::tried::Tried;
use crate::checks::bench::{self, Bench};
use crate::checks::reads::{self, Things};
use crate::checks::{Cx, Undecided};
use crate::contract::routes::{Route, floor};
use crate::target::{Ask, Client, Credential, Instance, StartError};

/// Windows do not close by time here: a closed one is written down, and would look like an effect.
const WINDOW_MS: u64 = 600_000;

/// Drives it.
///
/// # Errors
/// When there is no target, or its databases cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(bench::model);
    cx.tools.script(bench::tools());
    let (target, unknown) = start(cx, seen).await?;
    let operator = target.client(Credential::Operator(1));
    let desk = Desk {
        callers: callers(&target, unknown),
        operator: operator.clone(),
        service: target.client(Credential::Service),
    };
    let things = Things::make(&operator).await?;
    let bench = Bench {
        session: things.session.clone(),
        client: operator,
        seed: cx.seed,
    };
    let makings = floor().filter(|route| route.mutating);
    let bench = &bench;
    let makings = makings.map(|route| async move { (route, bench.request(route).await) });
    let made = join_all(makings).await;
    let mut tables = Tables::open(&target, &cx.models, &cx.tools)?;
    read_all(&desk, &things, seen, false).await;
    seen.after_reads = Some(tables.look()?);
    read_all(&desk, &things, seen, true).await;
    seen.after_handed_on = Some(tables.look()?);
    for (route, made) in made {
        let one = seen.routes.entry(route.to_string()).or_default();
        match made {
            Err(Undecided(why)) => one.trouble = Some(why),
            Ok(ask) => {
                tables.look()?;
                one.calls = desk.calls(&ask).await;
                one.after_calls = Some(tables.look()?);
                one.operator = Some(Tried::new(&desk.operator.send(ask).await));
                one.after_operator = Some(tables.look()?);
            }
        }
    }
    Ok(())
}

/// A target whose key file has somebody of an unknown role, if it starts with such a one: else one
/// with the file as it is.
async fn start(
    cx: &mut Cx,
    seen: &mut Evidence,
) -> Result<(Instance, Option<Credential>), Undecided> {
    let patch = json!({"slo": {"window_ms": WINDOW_MS}});
    let mut setup = cx.setup(patch.clone());
    let key = format!(
        "key_{}",
        sha256_hex(cx.seed.child("auditor").to_string().as_bytes())
    );
    let mut keys = setup.keys.file();
    if let Some(rows) = keys["operators"].as_array_mut() {
        let hash = sha256_hex(key.as_bytes());
        rows.push(json!({"actor_id": "au-1", "role": "auditor", "key_sha256": hash}));
    }
    let file = setup.dir.join("keys-with-auditor.json");
    setup.config["auth"]["key_file"] = json!(file);
    std::fs::create_dir_all(&setup.dir)?;
    std::fs::write(&file, keys.to_string())?;
    // Not to start with a role that nobody knows is a way of refusing it, and no incident.
    match cx.launcher.start(setup).await {
        Ok(target) => {
            seen.unknown_in_file = Some(Started::Ready);
            Ok((target, Some(Credential::Raw(key))))
        }
        Err(StartError::Exited { status, .. }) => {
            seen.unknown_in_file = Some(Started::Exited(status.code()));
            Ok((cx.start(patch).await?, None))
        }
        Err(error) => Err(error.into()),
    }
}

/// Who calls, with which header beside the credential.
type Caller = (Who, Client, Option<&'static str>);

struct Desk {
    callers: Vec<Caller>,
    operator: Client,
    service: Client,
}

fn callers(target: &Instance, unknown: Option<Credential>) -> Vec<Caller> {
    let service = |who, header| (who, target.client(Credential::Service), Some(header));
    let mut callers = vec![
        (Who::Observer, target.client(Credential::Observer), None),
        service(Who::ForObserver, "ob-1;observer"),
        service(Who::ForUnknown, "au-1;auditor"),
        service(Who::ForRoleless, "au-1;"),
    ];
    if let Some(unknown) = unknown {
        callers.push((Who::Unknown, target.client(unknown), None));
    }
    callers
}

impl Desk {
    /// Whoever may use a route.
    fn allowed(&self, route: &Route) -> &Client {
        match route.min_role.as_str() {
            "service" => &self.service,
            _ => &self.operator,
        }
    }

    /// Everybody calls, and then everybody again.
    async fn calls(&self, ask: &Ask) -> Vec<Call> {
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let round = self.callers.iter().map(|(who, client, on_behalf_of)| {
                let ask = match on_behalf_of {
                    Some(whom) => ask.clone().header("x-on-behalf-of", *whom),
                    None => ask.clone(),
                };
                async move {
                    let tried = Tried::new(&client.send(ask).await);
                    Call { who: *who, tried }
                }
            });
            calls.extend(join_all(round).await);
        }
        calls
    }
}

/// All routes that change nothing, side by side: those that answer by themselves, or those that hand
/// the question on to a backend.
async fn read_all(desk: &Desk, things: &Things, seen: &mut Evidence, handed_on: bool) {
    let reads = floor().filter(|route| !route.mutating && reads::hands_on(route) == handed_on);
    let reads = reads.map(|route| async move {
        let mut one = Seen::default();
        match reads::ask(route, things) {
            None => one.trouble = Some("nobody knows how to ask it".to_owned()),
            Some(ask) => {
                one.calls = desk.calls(&ask).await;
                one.operator = Some(Tried::new(&desk.allowed(route).send(ask).await));
            }
        }
        (route.to_string(), one)
    });
    seen.routes.extend(join_all(reads).await);
}
