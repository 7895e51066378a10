//! What the agent reaches out with: other services of the stack, and nothing else.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Failure, outbound};
use crate::reference::audit::Origin;
use crate::reference::execution::{self, Execution};
use crate::reference::outbound::Sent;
use crate::reference::service::Service;
use crate::reference::tools::Outcome;

/// How the agent has a tool run.
pub trait AgentTools: Send + Sync {
    /// What became of the call; it may be that it was denied, by the code of the refusal.
    fn run<'a>(
        &'a self,
        svc: &'a Service,
        execution: &'a Execution,
        resumed: bool,
    ) -> BoxFuture<'a, Outcome>;
}

/// openclaw judges every call, and runs it or does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByOpenclaw;

impl AgentTools for ByOpenclaw {
    fn run<'a>(
        &'a self,
        svc: &'a Service,
        execution: &'a Execution,
        resumed: bool,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(execution::execute(svc, execution, resumed))
    }
}

/// What the agent was told to do.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// Of the memory, the same in every repetition.
    pub key: &'a str,
    /// The act.
    pub act_id: &'a str,
    /// In its words.
    pub text: &'a str,
    /// Who said so.
    pub origin: &'a Origin,
    /// The committed entry that precedes the call.
    pub causal_parent: &'a str,
    /// Whether an earlier try may have arrived, and nobody waits who could ask again.
    pub resumed: bool,
}

/// Where the agent remembers.
pub trait AgentMemory: Send + Sync {
    /// Keeps a goal; the id of the memory.
    fn remember<'a>(
        &'a self,
        svc: &'a Service,
        goal: Goal<'a>,
    ) -> BoxFuture<'a, Result<String, Failure>>;
}

/// memory-engine keeps it, or nobody does.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtMemoryEngine;

impl AgentMemory for AtMemoryEngine {
    fn remember<'a>(
        &'a self,
        svc: &'a Service,
        goal: Goal<'a>,
    ) -> BoxFuture<'a, Result<String, Failure>> {
        Box::pin(keep(svc, goal))
    }
}

async fn keep(svc: &Service, goal: Goal<'_>) -> Result<String, Failure> {
    let body = json!({
        "type": "agent_goal",
        "content": goal.text,
        "metadata": {"act_id": goal.act_id},
    });
    let why_and_where = (goal.origin, goal.causal_parent);
    let call = outbound(
        svc,
        ("memory-engine", "/store"),
        goal.key,
        why_and_where,
        body,
    );
    let http = svc.toward("memory-engine");
    let bound = Duration::from_millis(svc.config().outbox.timeout_ms);
    let once = || async {
        match call.send(&http, bound).await {
            Sent::Answered(201, kept) => match kept["id"].as_str() {
                Some(id) => Ok(id.to_owned()),
                None => Err("its answer has no id".to_owned()),
            },
            Sent::Answered(status, answer) => Err(said(status, &answer)),
            Sent::NotSent(why) | Sent::InDoubt(why) => Err(why),
        }
    };
    let kept = svc.tries(goal.resumed, once).await;
    kept.map_err(|why| Failure {
        code: "MEMORY_UNAVAILABLE",
        message: format!("the memory engine did not keep the goal: {why}"),
    })
}

/// What an answer that is no success says.
pub(super) fn said(status: u16, answer: &Value) -> String {
    match answer["error"]["code"].as_str() {
        Some(code) => format!("status {status} {code}"),
        None => format!("status {status}"),
    }
}
