//! Gate orchestrator-supervised: the orchestrator is in the dependency graph, probed, and restarted
//! when it is killed.
//!
//! A supervised target is asked to start the orchestrator too. It has to be in the graph as one that
//! is supervised, become healthy, and come back like any other service after a KILL: unreachable,
//! another process, healthy.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::recovery::{Recovery, recover};
use super::stack::{ORCHESTRATOR, Stack, WITH_ORCHESTRATOR, config};
use crate::checks::{Cx, Judgement, Undecided};
use crate::contract::supervision::Node;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Whether the graph could be read, and the orchestrator in it.
    pub graph: Option<Option<Node>>,
    /// The KILL and what came of it.
    pub recovery: Option<Recovery>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    match &seen.graph {
        None => judgement.undecided("the dependency graph could not be read"),
        Some(None) => judgement.violation("the dependency graph: got no orchestrator, expected it"),
        Some(Some(node)) => judgement.expect(node.supervised, || {
            "the orchestrator in the graph: got not supervised, expected supervised".to_owned()
        }),
    }
    let followed = seen
        .recovery
        .as_ref()
        .is_some_and(|one| one.judge(&mut judgement));
    let healthy = seen.recovery.as_ref().map_or(0, Recovery::healthy_looks);
    judgement.exercised("kills", u64::from(followed));
    judgement.exercised("healthy_probes", healthy);
    judgement.detail = format!(
        "the orchestrator was seen healthy {healthy} times, before and after {} KILL",
        u64::from(followed)
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When the target does not start.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let patch = json!({"supervisor": {"backoff_ms": [30, 60, 120]}});
    let stack = Stack::start(cx, config(&[], patch), &[WITH_ORCHESTRATOR]).await?;
    let graph = stack.graph().await;
    let node = |node: &Node| node.service == ORCHESTRATOR;
    seen.graph = graph.map(|graph| graph.services.into_iter().find(node));
    seen.recovery = Some(recover(cx, &stack, ORCHESTRATOR).await);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::recovery::tests::good;
    use super::*;

    fn node() -> Node {
        Node {
            service: ORCHESTRATOR.into(),
            tier: 3,
            optional: true,
            supervised: true,
            depends_on: Vec::new(),
            health_path: "/healthz".into(),
            url: None,
        }
    }

    fn seen() -> Evidence {
        Evidence {
            graph: Some(Some(node())),
            recovery: Some(good(ORCHESTRATOR)),
        }
    }

    #[test]
    fn one_in_the_graph_that_comes_back_is_no_violation() {
        let judgement = judge(&seen());
        assert_eq!(
            (judgement.violations.len(), judgement.undecided.len()),
            (0, 0)
        );
        assert_eq!(
            [
                judgement.exercised["kills"],
                judgement.exercised["healthy_probes"]
            ],
            [1, 2]
        );
    }

    #[test]
    fn one_that_is_missing_unsupervised_or_stays_away_is_a_violation() {
        let mut bad = seen();
        bad.graph = Some(None);
        assert!(judge(&bad).violations[0].contains("got no orchestrator"));
        bad.graph = Some(Some(Node {
            supervised: false,
            ..node()
        }));
        assert!(judge(&bad).violations[0].contains("got not supervised"));
        let mut bad = seen();
        bad.recovery.as_mut().unwrap().events.clear();
        assert_eq!(judge(&bad).violations.len(), 1);
        bad.graph = None;
        assert_eq!(judge(&bad).undecided.len(), 1);
    }
}
