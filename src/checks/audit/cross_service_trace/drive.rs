//! How cross-service-trace is driven.

use futures_util::future::join_all;
use rand::RngExt;
use serde_json::{Value, json};

use super::{Conversation, Evidence, Process, ToolCall};
use crate::chaos::approvals::{GUARDED_TOOL, Route, Shown, marked, markers, session};
use crate::chaos::{Linked, Member};
use crate::checks::{Cx, Sent, Undecided};
use crate::contract::{self, Export};
use crate::target::{Ask, Client, Credential};

/// Which services share a process.
const PROCESSES: [&[&str]; 3] = [
    &["api-gateway"],
    &["openclaw"],
    &["eva-os", "memory-engine", "vision-capture"],
];
/// How far a clock may be off: far more than anything here takes.
const SKEW_MS: std::ops::RangeInclusive<i64> = 60_000..=600_000;
/// Conversations beyond the minimum.
const SPARE: usize = 2;

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(both_calls);
    let offsets = offsets(cx);
    let members: Vec<Member<'_>> = PROCESSES
        .iter()
        .zip(offsets)
        .map(|(services, offset_ms)| Member {
            services,
            patch: json!({"clock": {"offset_ms": offset_ms}}),
        })
        .collect();
    let linked = Linked::start(cx, &members).await?;
    for (member, offset_ms) in linked.fleet.members().iter().zip(offsets) {
        let listening = member.listening();
        seen.processes.push(Process {
            services: listening.services.keys().cloned().collect(),
            pid: member.pid().unwrap_or_default(),
            offset_ms,
        });
    }
    let client = linked.fleet.client(Credential::Operator(1));
    talk(cx, &client, seen).await?;
    read(cx, &linked, seen).await;
    Ok(())
}

/// The gateway's clock is ahead and openclaw's behind: what openclaw does for the gateway seems to
/// have been done before. The others' are anywhere.
fn offsets(cx: &Cx) -> [i64; 3] {
    let mut rng = cx.seed.child("clocks").rng();
    let mut draw = || rng.random_range(SKEW_MS);
    let (ahead, behind, other) = (draw(), draw(), draw());
    [ahead, -behind, other]
}

/// A script for the model: a turn's text is a marker, and the answer a safe and a guarded call.
fn both_calls(request: &Value) -> Value {
    let marker = request["input_text"].as_str().unwrap_or_default();
    json!({"text": "As you wish.", "tool_calls": [
        {"tool_name": "file.read", "args": marked(&format!("{marker}-safe"))},
        {"tool_name": GUARDED_TOOL, "args": marked(&format!("{marker}-turn"))},
    ]})
}

/// Holds all conversations at once.
async fn talk(cx: &Cx, client: &Client, seen: &mut Evidence) -> Result<(), Undecided> {
    let _span = cx.span("conversations");
    let session = session(client).await?;
    let least = cx.minimum.get("turns").copied().unwrap_or_default();
    let ids = markers(cx.seed, "talk", usize::try_from(least)? + SPARE);
    let talks = ids.iter().enumerate().map(|(number, id)| {
        // Some do not go to eva-os first: the services take turns in being the first.
        converse(client, &session, id, number % 2 == 1)
    });
    seen.conversations = join_all(talks).await;
    for conversation in &mut seen.conversations {
        let id = &conversation.id;
        let own = ["safe", "turn", "eva"].map(|what| marked(&format!("{id}-{what}")));
        let calls = cx.tools.calls().into_iter();
        let calls = calls.filter(|call| own.contains(&call.body["args"]));
        conversation.calls = calls
            .map(|call| {
                let header = |name: &str| call.headers.get(name).cloned().unwrap_or_default();
                ToolCall {
                    id: header("x-correlation-id"),
                    parent: header("x-causal-parent"),
                }
            })
            .collect();
    }
    Ok(())
}

async fn converse(client: &Client, session: &str, id: &str, eva_first: bool) -> Conversation {
    let mut sent = Vec::new();
    if eva_first {
        at_eva(client, id, &mut sent).await;
    }
    let body = json!({"session_id": session, "input_text": id});
    let turn = send(client, id, Ask::post("api-gateway", "/v3/turn", body)).await;
    let calls = turn.answer["tool_calls"].as_array();
    let waiting = calls.into_iter().flatten().find_map(|call| {
        Some((
            call["confirmation_id"].as_str()?,
            call["fence_token"].as_i64()?,
        ))
    });
    let ask = waiting.map(|(confirmation, fence)| {
        Route::Confirmations.ask(confirmation, "approve", Shown::Header(fence))
    });
    sent.push(turn);
    if let Some(ask) = ask {
        sent.push(send(client, id, ask).await);
    }
    let body = json!({"type": "fact", "content": id});
    sent.push(send(client, id, Ask::post("memory-engine", "/store", body)).await);
    if !eva_first {
        at_eva(client, id, &mut sent).await;
    }
    Conversation {
        id: id.to_owned(),
        sent,
        ..Conversation::default()
    }
}

async fn at_eva(client: &Client, id: &str, sent: &mut Vec<Sent>) {
    let args = marked(&format!("{id}-eva"));
    let body = json!({"tool_name": GUARDED_TOOL, "args": args});
    let gated = send(client, id, Ask::post("eva-os", "/gate-tool-call", body)).await;
    let approval = gated.answer["approval_id"].as_str().map(str::to_owned);
    let fence = gated.answer["fence_token"].as_i64();
    sent.push(gated);
    if let (Some(approval), Some(fence)) = (approval, fence) {
        let ask = Route::EvaOs.ask(&approval, "approve", Shown::Body(fence));
        sent.push(send(client, id, ask).await);
    }
}

async fn send(client: &Client, id: &str, ask: Ask) -> Sent {
    let exchange = client.send(ask.correlation(id)).await;
    Sent::new(&exchange, client.credential())
}

/// Every chain, and then the trace of every conversation.
async fn read(cx: &Cx, linked: &Linked, seen: &mut Evidence) {
    let _span = cx.span("read");
    let client = linked.fleet.client(Credential::Observer);
    for chain in linked.fleet.listening().chains.keys() {
        let path = format!("/v1/audit/export?chain={chain}&from_seq=0&limit=1000");
        let got = client.send(Ask::get("api-gateway", &path)).await;
        match contract::read::<Export>(got.answered()) {
            Ok(export) => drop(seen.chains.insert(chain.clone(), export.entries)),
            // An empty chain has no range to export.
            Err(_) if got.status() == 400 => {}
            Err(why) => seen.trouble.push(format!("{}: {why}", got.line())),
        }
    }
    let traces = seen.conversations.iter().map(async |conversation| {
        let path = format!("/v3/audit/trace/{}", conversation.id);
        let got = client.send(Ask::get("api-gateway", &path)).await;
        Sent::new(&got, client.credential())
    });
    let traces = join_all(traces).await;
    for (conversation, traced) in seen.conversations.iter_mut().zip(traces) {
        conversation.traced = Some(traced);
    }
}
