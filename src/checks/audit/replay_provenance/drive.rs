//! How replay-provenance is driven.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Case, DryRuns, Evidence, Round, State, ToolCall, Way};
use crate::base::Seed;
use crate::chaos::approvals::{self, Shown, marked};
use crate::chaos::crash::InFlight;
use crate::chaos::storm;
use crate::checks::audit::stored;
use crate::checks::audit::traffic::Desk;
use crate::checks::{Cx, Sent, Undecided};
use crate::contract::{self, DeadLetters, Export};
use crate::doubles::{Behaviour, Point};
use crate::target::{Ask, Credential, Instance};

/// How soon an operation in doubt is tried again.
const RETRY_MS: u64 = 10;
/// No window of the SLO machine closes while databases are compared.
const WINDOW_MS: u64 = 600_000;
/// Requests of a race for one letter.
const RACERS: usize = 3;
/// Until when replays stand at the tool.
const REACH_BOUND: Duration = Duration::from_secs(10);
/// Until when an interrupted replay is over after a start.
const RESUME_BOUND: Duration = Duration::from_secs(10);
/// What a turn's text begins with when the model shall answer with a safe call.
const SAFE: &str = "safe:";

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let works = Arc::new(AtomicBool::new(false));
    cx.models.script(safe_or_guarded);
    let told = Arc::clone(&works);
    cx.tools.script(move |_| match told.load(Ordering::SeqCst) {
        true => json!({"ok": true, "result": {"bytes": 5}}),
        false => json!({"ok": false, "error": {"code": "TOOL_FAILED", "message": "exit code 1"}}),
    });
    let patch = json!({
        "operations": {"retry_ms": RETRY_MS},
        "slo": {"window_ms": WINDOW_MS},
    });
    let mut instance = cx.start(patch).await?;
    let desk = Desk::new(&instance);
    seen.cases = fail(&desk, cx.seed).await?;
    let letters = look(&desk, seen).await;
    for (case, letter) in seen.cases.iter_mut().zip(letters) {
        case.letter = letter;
    }
    let mut crew = Crew {
        cx,
        desk,
        works,
        number: 0,
    };
    crew.dry_runs(&instance, seen).await;
    crew.alone(seen).await;
    crew.kill_between(&mut instance, seen).await?;
    crew.alone(seen).await;
    crew.kill_at_tool(&mut instance, Point::Arrived, seen)
        .await?;
    crew.race(seen).await;
    crew.dry_runs(&instance, seen).await;
    crew.works.store(true, Ordering::SeqCst);
    crew.kill_at_tool(&mut instance, Point::Committed, seen)
        .await?;
    crew.late(seen).await;
    crew.read(&instance, seen).await;
    Ok(())
}

/// A script for the model: one safe call, or guarded ones.
fn safe_or_guarded(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    match heard.strip_prefix(SAFE) {
        Some(marker) => {
            let call = json!({"tool_name": "file.read", "args": marked(marker)});
            json!({"text": "As you wish.", "tool_calls": [call]})
        }
        None => approvals::guarded_calls(request),
    }
}

/// Has one call of each source fail, each under a correlation id of its own.
async fn fail(desk: &Desk, seed: Seed) -> Result<Vec<Case>, Undecided> {
    let session = desk.session(seed).await;
    let session = session.answer["session_id"].as_str().unwrap_or_default();
    let markers = approvals::markers(seed, "lost", 4);
    let client = desk.client(Credential::Operator(1));
    let turn = {
        let text = format!("{SAFE}{}", markers[0]);
        let body = json!({"session_id": session, "input_text": text});
        (
            "turn",
            "file.read",
            Ask::post("api-gateway", "/v3/turn", body),
        )
    };
    let mut asks = vec![turn];
    for (route, source, marker) in [
        (approvals::Route::Confirmations, "confirmation", &markers[1]),
        (approvals::Route::Actions, "action", &markers[2]),
    ] {
        let minted = approvals::mint(&client, session, route, std::slice::from_ref(marker)).await?;
        let decision = &minted[0];
        let ask = route.ask(&decision.id, "approve", Shown::Header(decision.fence));
        asks.push((source, approvals::GUARDED_TOOL, ask));
    }
    let body = json!({"intent": "file.list", "params": marked(&markers[3]), "session_id": session});
    let plan = Ask::post("api-gateway", "/v3/actions/plan", body);
    asks.push(("action", "file.list", plan));
    let asks = asks.into_iter().zip(&markers).enumerate();
    let failing = asks.map(async |(number, ((source, tool_name, ask), marker))| {
        let ask = ask.correlation(&format!("lost-{seed}-{number}"));
        Case {
            source: source.to_owned(),
            tool_name: tool_name.to_owned(),
            args: marked(marker),
            failed: Some(desk.send(Credential::Operator(1), ask).await),
            ..Case::default()
        }
    });
    Ok(join_all(failing).await)
}

/// The letter of each case, by its arguments.
async fn look(desk: &Desk, seen: &mut Evidence) -> Vec<Option<Value>> {
    let got = list(desk).await;
    let listed = match contract::read::<DeadLetters>(&got.answer) {
        Ok(listed) => listed.dead_letters,
        Err(why) => {
            seen.trouble.push(format!("{}: {why}", got.line()));
            return vec![None; seen.cases.len()];
        }
    };
    let of_case = |case: &Case| {
        let letter = listed.iter().find(|letter| letter.args == case.args)?;
        serde_json::to_value(letter).ok()
    };
    seen.cases.iter().map(of_case).collect()
}

async fn list(desk: &Desk) -> Sent {
    let ask = Ask::get("api-gateway", "/v3/dead-letters");
    desk.send(Credential::Observer, ask).await
}

/// Whoever replays.
struct Crew<'a> {
    cx: &'a Cx,
    desk: Desk,
    works: Arc<AtomicBool>,
    /// Replays asked for so far.
    number: usize,
}

impl Crew<'_> {
    /// A replay of each letter that there is, under a correlation id of its own.
    fn asks(&mut self, seen: &Evidence, query: &str) -> Vec<(usize, Ask)> {
        let mut asks = Vec::new();
        for (index, case) in seen.cases.iter().enumerate() {
            let id = case.letter.as_ref().map(|letter| &letter["dead_letter_id"]);
            if let Some(id) = id.and_then(Value::as_str) {
                let path = format!("/v3/dead-letters/{id}/replay{query}");
                self.number += 1;
                let own = format!("again-{}-{}", self.cx.seed, self.number);
                let ask = Ask::post("api-gateway", &path, json!({})).correlation(&own);
                asks.push((index, ask));
            }
        }
        asks
    }

    /// Notes a round of each letter, and the letters after it.
    async fn note(&self, seen: &mut Evidence, way: Way, sent: Vec<(usize, Sent)>) {
        let works = self.works.load(Ordering::SeqCst);
        let letters = look(&self.desk, seen).await;
        for (index, letter) in letters.into_iter().enumerate() {
            let of_case = sent.iter().filter(|(case, _)| *case == index);
            let sent: Vec<Sent> = of_case.map(|(_, sent)| sent.clone()).collect();
            if !sent.is_empty() {
                let round = Round {
                    way,
                    works,
                    sent,
                    letter,
                };
                seen.cases[index].rounds.push(round);
            }
        }
    }

    async fn alone(&mut self, seen: &mut Evidence) {
        let _span = self.cx.span("replays");
        let asks = self.asks(seen, "");
        let sent = self.send_all(asks).await;
        self.note(seen, Way::Alone, sent).await;
    }

    async fn send_all(&self, asks: Vec<(usize, Ask)>) -> Vec<(usize, Sent)> {
        let sending = asks
            .into_iter()
            .map(async |(case, ask)| (case, self.desk.send(Credential::Operator(2), ask).await));
        join_all(sending).await
    }

    /// The winners stand at the tool until every loser has its answer, so that all of them met.
    async fn race(&mut self, seen: &mut Evidence) {
        let _span = self.cx.span("races");
        let tools = &self.cx.tools;
        tools.behave(Behaviour::hold(Point::Arrived));
        let mut asks = Vec::new();
        for _ in 0..RACERS {
            asks.extend(self.asks(seen, ""));
        }
        let losers = asks.len() - asks.len() / RACERS;
        let answered = Arc::new(AtomicUsize::new(0));
        let desk = self.desk.clone();
        let racing = storm(asks.len(), |number| {
            let ((case, ask), desk) = (asks[number].clone(), desk.clone());
            let answered = Arc::clone(&answered);
            let who = Credential::Operator(1 + u8::from(number % 2 == 1));
            async move {
                let sent = desk.send(who, ask).await;
                answered.fetch_add(1, Ordering::SeqCst);
                (case, sent)
            }
        });
        let letting_go = async {
            let lost = || async { (answered.load(Ordering::SeqCst) >= losers).then_some(()) };
            // Losers that are not refused by then stand at the tool too, and are judged.
            let _ = self
                .cx
                .until("losers of the races", REACH_BOUND / 2, lost)
                .await;
            tools.behave(Behaviour::default());
            tools.release();
        };
        let (sent, ()) = tokio::join!(racing, letting_go);
        self.note(seen, Way::Race, sent).await;
    }

    async fn kill_between(
        &self,
        instance: &mut Instance,
        seen: &mut Evidence,
    ) -> Result<(), Undecided> {
        let _span = self.cx.span("kill");
        instance.kill().await?;
        seen.kills_us.push(self.cx.clock.now_us());
        Ok(instance.start_again().await?)
    }

    /// Kills the target while a replay of each letter stands at this point of its tool call.
    async fn kill_at_tool(
        &mut self,
        instance: &mut Instance,
        point: Point,
        seen: &mut Evidence,
    ) -> Result<(), Undecided> {
        let _span = self.cx.span("kill at the tool");
        let tools = &self.cx.tools;
        let asks = self.asks(seen, "");
        tools.behave(Behaviour::hold(point));
        let mut in_flight = InFlight::default();
        for (_, ask) in &asks {
            let (client, ask) = (self.desk.client(Credential::Operator(2)), ask.clone());
            in_flight.begin(async move { client.send(ask).await });
        }
        // What is not there in time is seen at the tools, by whoever judges.
        let held = self.cx.tools.held(asks.len(), REACH_BOUND).await;
        seen.trouble
            .extend(held.err().map(|error| error.to_string()));
        instance.kill().await?;
        seen.kills_us.push(self.cx.clock.now_us());
        let ended = in_flight.ended().await;
        tools.behave(Behaviour::default());
        tools.release();
        instance.start_again().await?;
        let poll = || async {
            let got = list(&self.desk).await;
            let letters = got.answer["dead_letters"].as_array()?;
            let over = |letter: &Value| letter["state"] != "replaying";
            letters.iter().all(over).then_some(())
        };
        // One that is not over by then is seen in the list.
        let _ = self
            .cx
            .until("end of the replays", RESUME_BOUND, poll)
            .await;
        let sent = asks
            .iter()
            .zip(&ended)
            .map(|((case, _), exchange)| (*case, Sent::new(exchange, &Credential::Operator(2))));
        let sent = sent.collect();
        self.note(seen, Way::Killed, sent).await;
        Ok(())
    }

    /// A replay of what is resolved.
    async fn late(&mut self, seen: &mut Evidence) {
        let asks = self.asks(seen, "");
        for (case, sent) in self.send_all(asks).await {
            seen.cases[case].late = Some(sent);
        }
    }

    /// Dry runs of all letters, between two looks at everything.
    async fn dry_runs(&mut self, instance: &Instance, seen: &mut Evidence) {
        let _span = self.cx.span("dry runs");
        let asks = self.asks(seen, "?dry_run=true");
        let generation = seen.cases.iter().map(|case| case.rounds.len()).max();
        let before = self.state(instance, seen).await;
        list(&self.desk).await;
        let quiet = self.state(instance, seen).await;
        let sent = self.send_all(asks).await;
        let after = self.state(instance, seen).await;
        seen.dry_runs.push(DryRuns {
            sent,
            generation: i64::try_from(generation.unwrap_or_default()).unwrap_or_default(),
            before,
            quiet,
            after,
        });
    }

    async fn state(&self, instance: &Instance, seen: &mut Evidence) -> State {
        let databases = instance.listening().databases.clone();
        let look = move || {
            let mut state = State::default();
            let mut trouble = Vec::new();
            for (name, path) in &databases {
                match stored::tables(path) {
                    Err(why) => trouble.push(why),
                    Ok(tables) => {
                        let tables = tables.into_iter();
                        let named = tables.map(|(table, rows)| (format!("{name} {table}"), rows));
                        state.tables.extend(named);
                    }
                }
            }
            (state, trouble)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let (mut state, trouble) = looked.unwrap_or_default();
        seen.trouble.extend(trouble);
        state.calls = self.cx.tools.calls().len() + self.cx.models.calls().len();
        state
    }

    /// The chains, and the calls of the tools.
    async fn read(&self, instance: &Instance, seen: &mut Evidence) {
        let _span = self.cx.span("read");
        for chain in instance.listening().chains.keys() {
            let path = format!("/v1/audit/export?chain={chain}&from_seq=0&limit=1000");
            let got = self
                .desk
                .send(Credential::Observer, Ask::get("api-gateway", &path))
                .await;
            match contract::read::<Export>(&got.answer) {
                Ok(export) => drop(seen.chains.insert(chain.clone(), export.entries)),
                // An empty chain has no range to export.
                Err(_) if got.status == 400 => {}
                Err(why) => seen.trouble.push(format!("{}: {why}", got.line())),
            }
        }
        let calls = self.cx.tools.calls();
        for case in &mut seen.cases {
            let own = calls.iter().filter(|call| call.body["args"] == case.args);
            let own = own.map(|call| ToolCall {
                key: call.key.clone().unwrap_or_default(),
                id: call
                    .headers
                    .get("x-correlation-id")
                    .cloned()
                    .unwrap_or_default(),
                abandoned: call.abandoned,
            });
            case.calls = Some(own.collect());
        }
    }
}
