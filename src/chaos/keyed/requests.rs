//! The requests of this gate, each with its key, and the targets and doubles they go to.
//!
//! A key is part of every path and text that its operation may send to a double, so that a call is
//! recognised even when a broken target sends it under another operation id.

use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

use super::operations::{Backends, Operation, Route, Seen, Sort};
use crate::base::{Clock, Seed};
use crate::chaos::Site;
use crate::doubles::{Double, Kind};
use crate::target::{Ask, Client, Credential, Incident, Instance, Launcher, Setup};

/// Until when a request is answered; one that is not is an observation.
const ANSWER_BOUND: Duration = Duration::from_secs(20);
/// The most tool calls that one turn may carry.
const CALLS_A_TURN: usize = 5;
/// Another fence than any that a target has given out by then.
const ANOTHER_FENCE: i64 = 1_000_000;

/// A target that is not started yet, with doubles of its own.
pub struct Stage {
    /// The clock of the run.
    pub clock: Clock,
    /// Of this target.
    pub seed: Seed,
    /// Its model backend.
    pub models: Double,
    /// Its tool backend.
    pub tools: Double,
    launcher: Launcher,
    setup: Setup,
}

impl Stage {
    /// Opens the doubles and writes down what the target will be started with.
    pub async fn set(site: &mut Site, mut patch: Value) -> anyhow::Result<Self> {
        let models = Double::start(Kind::Models, site.clock).await?;
        let tools = Double::start(Kind::Tools, site.clock).await?;
        models.script(script);
        patch["backends"] = json!({"models": {"url": models.url()}, "tools": {"url": tools.url()}});
        let setup = site.setup(patch);
        let (clock, seed, launcher) = (site.clock, setup.seed, site.launcher.clone());
        Ok(Self {
            clock,
            seed,
            models,
            tools,
            launcher,
            setup,
        })
    }

    /// On a target that runs already, with the site's doubles as its backends. The model's has to
    /// run [`script`].
    #[must_use]
    pub fn over(site: &Site, instance: &Instance) -> Self {
        Self {
            clock: site.clock,
            seed: site.seed,
            models: site.models.clone(),
            tools: site.tools.clone(),
            launcher: site.launcher.clone(),
            setup: instance.setup().clone(),
        }
    }

    /// Starts the target; one that will not is an incident, too.
    pub async fn start(&self) -> anyhow::Result<Instance> {
        match self.launcher.start(self.setup.clone()).await {
            Ok(instance) => Ok(instance),
            Err(error) => {
                if error.by_target() {
                    let (at_us, why) = (self.clock.now_us(), error.to_string());
                    self.setup
                        .incidents
                        .push(Incident::DidNotStart { at_us, why });
                }
                Err(error.into())
            }
        }
    }

    /// What the doubles got so far.
    pub fn backends(&self) -> Backends {
        let seen = |double: &Double| double.calls().into_iter().map(Seen::from).collect();
        Backends {
            models: seen(&self.models),
            tools: seen(&self.tools),
        }
    }
}

/// What the model answers: `read KEY PATH...` calls a safe tool for each path, `write KEY PATH...`
/// a guarded one.
#[must_use]
pub fn script(request: &Value) -> Value {
    let text = request["input_text"].as_str().unwrap_or_default();
    let mut words = text.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let calls: Vec<Value> = match verb {
        "read" => words.skip(1).map(read).collect(),
        "write" => words.skip(1).map(write).collect(),
        _ => Vec::new(),
    };
    json!({"text": format!("I will {verb}."), "tool_calls": calls})
}

fn read(path: &str) -> Value {
    json!({"tool_name": "file.read", "args": {"path": path}})
}

fn write(path: &str) -> Value {
    json!({"tool_name": "file.write", "args": {"path": path, "text": path}})
}

/// A request with its key, and another request with the same key.
#[derive(Clone)]
pub struct Keyed {
    /// Where it goes.
    pub route: Route,
    /// Its idempotency key.
    pub key: String,
    /// Its tool calls, each an effect.
    pub tool_calls: usize,
    ask: Ask,
    other: Ask,
}

impl Keyed {
    /// The request.
    pub fn ask(&self) -> Ask {
        self.ask.clone().key(&self.key).within(ANSWER_BOUND)
    }

    /// The other one.
    pub fn other(&self) -> Ask {
        self.other.clone().key(&self.key).within(ANSWER_BOUND)
    }

    /// Evidence of it without any request yet.
    pub fn operation(&self) -> Operation {
        Operation::new(self.route, &self.key, self.tool_calls)
    }

    /// Sends the request and notes it.
    pub async fn send(&self, client: &Client, sort: Sort, into: &mut Operation) {
        let ask = if sort == Sort::Other {
            self.other()
        } else {
            self.ask()
        };
        let exchange = client.send(ask).await;
        into.note(sort, exchange);
    }
}

/// Which key is to be made for which route, with how many tool calls.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where it goes.
    pub route: Route,
    /// Its idempotency key.
    pub key: String,
    /// Its tool calls, each an effect.
    pub tool_calls: usize,
}

impl Wanted {
    /// With one tool call, or with none where there cannot be any.
    pub fn new(route: Route, key: String) -> Self {
        let tool_calls = usize::from(route != Route::Session);
        Self {
            route,
            key,
            tool_calls,
        }
    }
}

/// Makes ready whatever the wanted requests need (sessions, decisions), in the order wanted.
pub async fn make_ready(client: &Client, wanted: &[Wanted]) -> anyhow::Result<Vec<Keyed>> {
    let session = session(client).await?;
    let confirmations: Vec<&Wanted> = wanted
        .iter()
        .filter(|one| one.route == Route::Confirmation)
        .collect();
    let chunks = confirmations
        .chunks(CALLS_A_TURN)
        .map(|chunk| confirm(client, &session, chunk));
    let mut confirmed: Vec<Keyed> = futures_util::future::try_join_all(chunks)
        .await?
        .into_iter()
        .flatten()
        .collect();
    confirmed.reverse();
    let others = wanted.iter().filter(|one| one.route != Route::Confirmation);
    let others = others.map(|one| single(client, &session, one));
    let mut others = futures_util::future::try_join_all(others)
        .await?
        .into_iter();
    let next = |one: &Wanted| match one.route {
        Route::Confirmation => confirmed.pop(),
        _ => others.next(),
    };
    Ok(wanted.iter().filter_map(next).collect())
}

/// Sends a request that only makes ready and must succeed.
async fn get_ready(client: &Client, ask: Ask) -> anyhow::Result<Value> {
    let exchange = client.send(ask.within(ANSWER_BOUND)).await;
    if exchange.ok() {
        return Ok(exchange.answered().clone());
    }
    bail!("could not make ready: {}", exchange.line())
}

async fn session(client: &Client) -> anyhow::Result<String> {
    let ask = Ask::post("api-gateway", "/v3/sessions", new_session("u-1", "c-1"));
    text(&get_ready(client, ask).await?, "session_id")
}

fn new_session(user: &str, conversation: &str) -> Value {
    json!({"user_id": user, "conversation_id": conversation})
}

fn text(of: &Value, field: &str) -> anyhow::Result<String> {
    let text = of[field].as_str().map(str::to_owned);
    text.ok_or_else(|| anyhow!("an answer without {field}: {of}"))
}

fn fence(of: &Value) -> anyhow::Result<i64> {
    of["fence_token"]
        .as_i64()
        .ok_or_else(|| anyhow!("an answer without fence_token: {of}"))
}

/// An approval at this path, and the same with another fence.
fn approval(wanted: &Wanted, service: &str, path: &str, mut body: Value, fence: i64) -> Keyed {
    body["fence_token"] = fence.into();
    let ask = Ask::post(service, path, body.clone());
    body["fence_token"] = (fence + ANOTHER_FENCE).into();
    keyed(wanted, ask, Ask::post(service, path, body))
}

fn keyed(wanted: &Wanted, ask: Ask, other: Ask) -> Keyed {
    let Wanted {
        route,
        key,
        tool_calls,
    } = wanted.clone();
    Keyed {
        route,
        key,
        tool_calls,
        ask,
        other,
    }
}

/// One turn whose guarded tool calls mint a confirmation each.
async fn confirm(client: &Client, session: &str, wanted: &[&Wanted]) -> anyhow::Result<Vec<Keyed>> {
    let paths: Vec<String> = wanted
        .iter()
        .map(|one| format!("{}/1.txt", one.key))
        .collect();
    let input = format!("write minting {}", paths.join(" "));
    let body = json!({"session_id": session, "input_text": input});
    let answer = get_ready(client, Ask::post("api-gateway", "/v3/turn", body)).await?;
    let mut keyed = Vec::new();
    for (nth, one) in wanted.iter().enumerate() {
        let minted = &answer["tool_calls"][nth];
        let id = text(minted, "confirmation_id")?;
        let path = format!("/v3/confirmations/{id}/approve");
        keyed.push(approval(
            one,
            "api-gateway",
            &path,
            json!({}),
            fence(minted)?,
        ));
    }
    Ok(keyed)
}

async fn single(client: &Client, session: &str, wanted: &Wanted) -> anyhow::Result<Keyed> {
    let key = &wanted.key;
    let path = format!("{key}/1.txt");
    let other_path = format!("{key}-other/1.txt");
    match wanted.route {
        Route::Session => {
            let ask = |user: &str| Ask::post("api-gateway", "/v3/sessions", new_session(user, key));
            Ok(keyed(wanted, ask("u-1"), ask("u-2")))
        }
        Route::Turn => {
            let session = self::session(client).await?;
            let turn = |input: String| {
                let body = json!({"session_id": session, "input_text": input});
                Ask::post("api-gateway", "/v3/turn", body)
            };
            let operation = Operation::new(Route::Turn, key, wanted.tool_calls);
            let ask = turn(format!("read {key} {}", operation.paths.join(" ")));
            Ok(keyed(
                wanted,
                ask,
                turn(format!("read {key}-other {other_path}")),
            ))
        }
        Route::Action => {
            let params = json!({"path": path, "text": path});
            let body = json!({"intent": "file.write", "params": params, "session_id": session});
            let plan = Ask::post("api-gateway", "/v3/actions/plan", body);
            let action = &get_ready(client, plan).await?["action"];
            let path = format!("/v3/actions/{}/approve", text(action, "action_id")?);
            Ok(approval(
                wanted,
                "api-gateway",
                &path,
                json!({}),
                fence(action)?,
            ))
        }
        Route::Eva => {
            let ask = Ask::post("eva-os", "/gate-tool-call", write(&path));
            let minted = get_ready(client, ask).await?;
            let body = json!({"approval_id": text(&minted, "approval_id")?});
            Ok(approval(
                wanted,
                "eva-os",
                "/approve",
                body,
                fence(&minted)?,
            ))
        }
        Route::Execute => {
            let ask = |path: &str| Ask::post("openclaw", "/execute", read(path));
            Ok(keyed(wanted, ask(&path), ask(&other_path)))
        }
        Route::Confirmation => unreachable!("confirmations are made several at a time"),
    }
}

/// The client of this gate: one actor, because another would be another request.
pub fn operator(instance: &Instance) -> Client {
    instance.client(Credential::Operator(1))
}

/// Waiting that counts only time in which the harness itself ran: a stall of the harness between
/// two looks counts as one step at most.
pub struct Patience {
    clock: Clock,
    last_us: u64,
    spent_us: u64,
    pause: Duration,
}

impl Patience {
    const STEP_US: u64 = 100_000;
    const FIRST_PAUSE: Duration = Duration::from_millis(4);
    const LONGEST_PAUSE: Duration = Duration::from_millis(64);

    /// Nothing waited yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            last_us: clock.now_us(),
            spent_us: 0,
            pause: Self::FIRST_PAUSE,
        }
    }

    /// Microseconds waited so far.
    pub fn spent_us(&mut self) -> u64 {
        let now = self.clock.now_us();
        self.spent_us += now.saturating_sub(self.last_us).min(Self::STEP_US);
        self.last_us = now;
        self.spent_us
    }

    /// Lets some time pass before the next look, more each time.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
    }
}
