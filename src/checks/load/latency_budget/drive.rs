//! How latencies are made: each turn's delays are drawn beforehand, and the doubles look them up.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::join_all;
use rand::RngExt;
use serde_json::{Value, json};

use super::{Evidence, Held, Turn, marker};
use crate::chaos::approvals::session;
use crate::checks::{Cx, Sent, Undecided};
use crate::doubles::{Behaviour, Call, Double};
use crate::target::{Ask, Client, Credential};

/// Turns.
const TURNS: usize = 100;
/// Sessions that they are spread over; each has one under way.
const LANES: usize = 10;
/// What most calls of the model take and what one in seven takes, in milliseconds.
const MODEL_MS: [Range<u64>; 2] = [2..12, 40..70];
const SELDOM: usize = 7;
/// What calls of the tool take: more than most calls of the model.
const TOOL_MS: Range<u64> = 15..35;

/// What a turn's calls are held for.
#[derive(Clone, Copy)]
struct Delays {
    model_ms: u64,
    tool_ms: u64,
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session in it.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let delays = drawn(cx);
    slowed(&cx.models, &delays, "/input_text", |delays| delays.model_ms);
    slowed(&cx.tools, &delays, "/args/path", |delays| delays.tool_ms);
    cx.models.script(|request| {
        let call = json!({"tool_name": "file.read", "args": {"path": request["input_text"]}});
        json!({"text": "Let me see.", "tool_calls": [call]})
    });
    let mut target = cx.start(json!({})).await?;
    let client = target.client(Credential::Operator(1));
    seen.before = Some(told(&client).await);
    let lanes = join_all((0..LANES).map(|lane| lane_of(&client, lane))).await;
    let (models, tools) = (cx.models.calls(), cx.tools.calls());
    for lane in lanes {
        for (text, sent) in lane? {
            let model = held(&models, "/input_text", &text);
            let tool = held(&tools, "/args/path", &text);
            seen.turns.push(Turn { sent, model, tool });
        }
    }
    seen.after = Some(told(&client).await);
    target.exited();
    Ok(())
}

fn drawn(cx: &Cx) -> Arc<BTreeMap<String, Delays>> {
    let mut rng = cx.seed.child("delays").rng();
    let mut delays = |number| {
        let seldom = usize::from(number % SELDOM == 0);
        let one = Delays {
            model_ms: rng.random_range(MODEL_MS[seldom].clone()),
            tool_ms: rng.random_range(TOOL_MS),
        };
        (marker(number), one)
    };
    Arc::new((0..TURNS).map(&mut delays).collect())
}

/// Has a double hold each call for as long as its turn is drawn to take there.
fn slowed(
    double: &Double,
    delays: &Arc<BTreeMap<String, Delays>>,
    at: &'static str,
    of: fn(&Delays) -> u64,
) {
    let delays = Arc::clone(delays);
    double.behave_by(move |request| {
        let drawn = delays.get(text_at(request, at));
        Behaviour::slow(drawn.map_or(0, of))
    });
}

fn text_at<'a>(request: &'a Value, at: &str) -> &'a str {
    let text = request.pointer(at).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// The turns of one session, one after the other.
async fn lane_of(client: &Client, lane: usize) -> anyhow::Result<Vec<(String, Sent)>> {
    let session_id = session(client).await?;
    let mut turns = Vec::new();
    for number in (lane..TURNS).step_by(LANES) {
        let text = marker(number);
        let body = json!({"session_id": session_id, "input_text": text});
        let ask = Ask::post("api-gateway", "/v3/turn", body);
        turns.push((text, Sent::by(client, ask).await));
    }
    Ok(turns)
}

/// The calls of one turn.
fn held(calls: &[Call], at: &str, text: &str) -> Vec<Held> {
    let own = calls.iter().filter(|call| text_at(&call.body, at) == text);
    let held = own.filter_map(|call| {
        Some(Held {
            from_us: call.at_us,
            to_us: call.committed_us?,
        })
    });
    held.collect()
}

async fn told(client: &Client) -> Sent {
    Sent::by(client, Ask::get("api-gateway", "/v3/latency")).await
}
