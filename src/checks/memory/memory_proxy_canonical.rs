//! Gate memory-proxy-canonical: what the orchestrator remembers is found at the memory engine, and a
//! memory engine that is down is an explicit error.
//!
//! The agent reaches the memory engine over a link. Goals are set while it is up, while it refuses
//! connections, and when it is up again; each memory that the agent names is looked for at the memory
//! engine itself, which nobody but the agent was asked to write to.

use std::net::SocketAddr;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::base::Seed;
use crate::chaos::Link;
use crate::chaos::approvals::markers;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential, Instance};

/// The service that remembers.
const MEMORY: &str = "memory-engine";
/// Goals that are set in each phase.
const GOALS: usize = 2;

/// Whether the memory engine can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It can.
    Up,
    /// It refuses connections.
    Down,
    /// It can again.
    Back,
}

/// One goal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goal {
    /// When it was set.
    pub phase: Phase,
    /// Its words, which no other goal has.
    pub words: String,
    /// The request that set it.
    pub act: Sent,
    /// The memory that its answer names, as the memory engine has it.
    pub found: Option<Sent>,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The goals.
    pub goals: Vec<Goal>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["writes", "found", "refused_while_down"] {
        judgement.exercised(counter, 0);
    }
    let mut ids: Vec<&str> = Vec::new();
    for goal in seen.goals.iter().filter(|goal| goal.act.answered()) {
        match goal.phase {
            Phase::Up | Phase::Back => kept(goal, &mut ids, &mut judgement),
            Phase::Down => refused(goal, &mut judgement),
        }
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} goals remembered and {} found at the memory engine; {} refused while it was down: {} \
         violations",
        count("writes"),
        count("found"),
        count("refused_while_down"),
        judgement.violations.len()
    );
    judgement
}

fn kept<'a>(goal: &'a Goal, ids: &mut Vec<&'a str>, judgement: &mut Judgement) {
    let act = &goal.act;
    let id = act.answer["memory"]["memory_id"].as_str();
    let Some(id) = id.filter(|_| act.ok()) else {
        let (line, phase) = (act.line(), goal.phase);
        judgement.violation(format!(
            "{line} ({phase:?}): got {}, expected 200 and the id of a memory",
            act.answer
        ));
        return;
    };
    judgement.exercised("writes", 1);
    judgement.expect(!ids.contains(&id), || {
        format!(
            "{}: got the memory {id} again, expected a new one",
            act.line()
        )
    });
    ids.push(id);
    let Some(found) = goal.found.as_ref().filter(|found| found.answered()) else {
        return;
    };
    let content = &found.answer["content"];
    let is_it = found.ok() && *content == goal.words.as_str();
    judgement.expect(is_it, || {
        let (line, words) = (found.line(), &goal.words);
        format!(
            "{line}: got {content}, expected {words:?}, which the agent says it remembers there"
        )
    });
    judgement.exercised("found", u64::from(is_it));
}

fn refused(goal: &Goal, judgement: &mut Judgement) {
    let act = &goal.act;
    let told = act.status == 503 && !act.code().is_empty();
    judgement.expect(told, || {
        let (line, status) = (act.line(), act.status);
        format!("{line} with the memory engine down: got {status}, expected 503 and a code")
    });
    judgement.exercised("refused_while_down", u64::from(told));
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut link = Link::open(nowhere, cx.seed.child("link")).await?;
    let patch = json!({"services": {MEMORY: {"url": link.url()}}});
    let instance = cx.start(patch).await?;
    link.lead_to(address(&instance)?);
    let client = instance.client(Credential::Operator(1));
    set_goals(cx, &client, Phase::Up, seen).await;
    link.refuse().await;
    set_goals(cx, &client, Phase::Down, seen).await;
    link.up().await;
    set_goals(cx, &client, Phase::Back, seen).await;
    for goal in &mut seen.goals {
        if let Some(id) = goal.act.answer["memory"]["memory_id"].as_str() {
            let ask = Ask::get(MEMORY, &format!("/recall/{id}"));
            goal.found = Some(send(&client, ask).await);
        }
    }
    Ok(())
}

/// Where the memory engine itself listens.
fn address(instance: &Instance) -> anyhow::Result<SocketAddr> {
    let listening = instance.listening();
    let url = listening.services.get(MEMORY);
    let address = url.and_then(|url| url.strip_prefix("http://")?.parse().ok());
    address.context("the target names no address of the memory engine")
}

async fn set_goals(cx: &Cx, client: &Client, phase: Phase, seen: &mut Evidence) {
    let seed: Seed = cx.seed.child(&format!("{phase:?}"));
    for words in markers(seed, "goal", GOALS) {
        let ask = Ask::post("orchestrator", "/agent/act", json!({"goal": words}));
        let act = send(client, ask).await;
        seen.goals.push(Goal {
            phase,
            words,
            act,
            found: None,
        });
    }
}

async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::checks::by_hand;

    fn sent(path: &str, status: u16, answer: Value) -> Sent {
        by_hand::sent("orchestrator", "POST", path, status, answer)
    }

    fn goal(phase: Phase, words: &str) -> Goal {
        let memory = json!({"memory": {"memory_id": format!("mem-{words}")}});
        let down = json!({"error": {"code": "MEMORY_UNAVAILABLE"}});
        let (act, found) = match phase {
            Phase::Down => (sent("/agent/act", 503, down), None),
            _ => (
                sent("/agent/act", 200, memory),
                Some(sent("/recall", 200, json!({"content": words}))),
            ),
        };
        Goal {
            phase,
            words: words.to_owned(),
            act,
            found,
        }
    }

    fn good() -> Evidence {
        let goals = vec![
            goal(Phase::Up, "one"),
            goal(Phase::Down, "two"),
            goal(Phase::Back, "three"),
        ];
        Evidence { goals }
    }

    #[test]
    fn what_is_found_and_an_error_that_is_told_are_no_violation_and_count() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [("found", 2), ("refused_while_down", 1), ("writes", 2)];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    #[test]
    fn a_private_memory_and_a_swallowed_error_are_seen() {
        type Case = (&'static str, fn(&mut Evidence));
        let cases: [Case; 6] = [
            ("expected \"one\", which the agent says", |seen| {
                seen.goals[0].found = Some(sent("/recall", 404, json!({})));
            }),
            ("got \"other\", expected \"one\"", |seen| {
                seen.goals[0].found = Some(sent("/recall", 200, json!({"content": "other"})));
            }),
            ("with the memory engine down: got 200", |seen| {
                seen.goals[1].act = sent("/agent/act", 200, json!({}));
            }),
            ("with the memory engine down: got 500", |seen| {
                seen.goals[1].act.status = 500;
            }),
            ("(Back): got", |seen| seen.goals[2].act.status = 503),
            ("got the memory mem-one again", |seen| {
                seen.goals[2].act.answer = seen.goals[0].act.answer.clone();
            }),
        ];
        for (words, spoil) in cases {
            by_hand::violated(judge, good(), spoil, words);
        }
    }

    #[test]
    fn a_memory_that_nobody_looked_for_is_not_found() {
        let mut seen = good();
        seen.goals[0].found = None;
        assert_eq!(judge(&seen).exercised["found"], 1);
        assert_eq!(judge(&Evidence::default()).exercised["writes"], 0);
    }
}
