//! How approval-race-safe is driven.

use serde_json::{Value, json};

use super::{Direct, Evidence, Round, Warrant};
use crate::chaos::approvals::{
    Asked, GUARDED_TOOL, Minted, Route, Shown, Verb, guarded_calls, marked, markers, mint, race,
    session,
};
use crate::checks::{Cx, Undecided};
use crate::doubles::{Behaviour, Double};
use crate::target::{Ask, Client, Credential, Exchange};

/// Rounds beyond the minimum, so that a few that do not count make no difference.
const SPARE_ROUNDS: usize = 16;
/// How long a decision stays open: far longer than the drive.
const TTL_MS: u64 = 600_000;
/// What the slow tool takes.
const SLOW_MS: u64 = 15;

/// Drives it.
///
/// # Errors
/// When there is nothing to race for.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    seen.ttl_ms = TTL_MS;
    cx.models.script(guarded_calls);
    let target = cx
        .start(json!({"confirmations": {"ttl_ms": TTL_MS}}))
        .await?;
    let clients = [1, 2].map(|number| target.client(Credential::Operator(number)));
    let session = session(&clients[0]).await?;
    let least = cx.minimum.get("rounds").copied().unwrap_or(200);
    let rounds = usize::try_from(least)? + SPARE_ROUNDS;
    let mut rng = cx.seed.child("races").rng();
    for tool_ms in [0, SLOW_MS] {
        let plans = race::plan(&mut rng, rounds.div_ceil(2));
        race::race_all(
            cx,
            &mut seen.rounds,
            &clients,
            &session,
            (&tool_ms.to_string(), tool_ms),
            plans,
        )
        .await?;
    }
    cx.tools.behave(Behaviour::default());
    without_decision(cx, seen, &clients[0]).await;
    with_decision(cx, seen, &clients[0], &session).await?;
    last_approval(cx, seen, &clients[0], &session).await?;
    count_runs(&cx.tools, seen);
    cx.leave(
        "history.jsonl",
        race::history(&seen.rounds).write().as_bytes(),
    )?;
    Ok(())
}

/// Guarded calls without any decision, and one of a safe tool as the control.
async fn without_decision(cx: &Cx, seen: &mut Evidence, operator: &Client) {
    let fresh = markers(cx.seed, "direct", 4);
    for (marker, warrant) in fresh.iter().zip([
        Warrant::Nothing,
        Warrant::NothingFromService,
        Warrant::Forged,
        Warrant::SafeTool,
    ]) {
        let tool = if warrant == Warrant::SafeTool {
            "file.read"
        } else {
            GUARDED_TOOL
        };
        let mut body = json!({"tool_name": tool, "args": marked(marker)});
        if warrant == Warrant::Forged {
            let id = "cnf_ffffffffffff";
            body["decision"] = json!({"issuer": "api-gateway", "id": id, "fence_token": 1});
        }
        let client = match warrant {
            Warrant::NothingFromService => operator.under(Credential::Service),
            _ => operator.clone(),
        };
        let exchange = client.send(Ask::post("openclaw", "/execute", body)).await;
        seen.direct.push(direct(warrant, "no issuer", &exchange));
    }
}

/// Guarded calls that name a decision which does not allow them, of each route.
async fn with_decision(
    cx: &Cx,
    seen: &mut Evidence,
    operator: &Client,
    session: &str,
) -> Result<(), Undecided> {
    for route in Route::ALL {
        let pending = markers(cx.seed, &format!("pending-{route}"), 1);
        let pending = mint(operator, session, route, &pending).await?;
        let attempts = [
            (Warrant::Pending, pending.into_iter().next()),
            (Warrant::Denied, won_by(seen, route, Verb::Deny)),
            (Warrant::Consumed, won_by(seen, route, Verb::Approve)),
        ];
        for (warrant, decision) in attempts {
            let Some(Minted {
                id, fence, args, ..
            }) = decision
            else {
                continue;
            };
            let issuer = route.issuer();
            let decision = json!({"issuer": issuer, "id": id, "fence_token": fence});
            let body = json!({"tool_name": GUARDED_TOOL, "args": args, "decision": decision});
            let exchange = operator.send(Ask::post("openclaw", "/execute", body)).await;
            seen.direct.push(direct(warrant, issuer, &exchange));
        }
    }
    Ok(())
}

fn won_by(seen: &Evidence, route: Route, verb: Verb) -> Option<Minted> {
    let won = |round: &&Round| {
        round
            .race
            .iter()
            .any(|asked| asked.won() && asked.verb == verb)
    };
    let mut rounds = seen
        .rounds
        .iter()
        .filter(|round| round.decision.route == route);
    rounds.find(won).map(|round| round.decision.clone())
}

/// One approval that has to run, last of all: whatever the target still had to do had its turn.
async fn last_approval(
    cx: &Cx,
    seen: &mut Evidence,
    operator: &Client,
    session: &str,
) -> Result<(), Undecided> {
    let markers = markers(cx.seed, "last", 1);
    let last = mint(operator, session, Route::Confirmations, &markers).await?;
    let [decision] = <[Minted; 1]>::try_from(last).expect("one marker, one decision");
    let (verb, fence) = (Verb::Approve, Shown::Body(decision.fence));
    let exchange = operator
        .send(decision.route.ask(&decision.id, verb.path(), fence))
        .await;
    let race = vec![Asked::new(verb, "op-1".to_owned(), fence, &exchange)];
    seen.rounds.push(Round {
        decision,
        tool_ms: 0,
        race,
        repeats: Vec::new(),
        runs: None,
    });
    Ok(())
}

fn direct(warrant: Warrant, issuer: &str, exchange: &Exchange) -> Direct {
    let args = exchange
        .body
        .as_ref()
        .map_or(Value::Null, |body| body["args"].clone());
    Direct {
        warrant,
        issuer: issuer.to_owned(),
        args,
        invoked_us: exchange.invoked_us,
        status: exchange.status(),
        code: exchange.code().to_owned(),
        runs: None,
    }
}

/// Notes what the tool double ran for each decision and each direct call.
fn count_runs(tools: &Double, seen: &mut Evidence) {
    race::note_runs(tools, &mut seen.rounds);
    let runs = race::runs(tools);
    for direct in &mut seen.direct {
        let marker = direct.args["path"].as_str().unwrap_or_default();
        let mut later = runs.get(marker).cloned().unwrap_or_default();
        later.retain(|run| run.at_us >= direct.invoked_us);
        direct.runs = Some(later);
    }
}
