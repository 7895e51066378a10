//! Gate verify-real: an action succeeds only if its effect is really there, whatever the tool says.
//!
//! The tools always say that they succeeded. Four really did what they were asked: the file is
//! written, the command ended with 0, the process lives, the clipboard has the text. The others did
//! not: no file, an empty one, exit code 1, a dead process, another clipboard. Each is planned as an
//! action, approved, and looked at: the answer, the stored state and what is really there agree.

use serde::{Deserialize, Serialize};

use super::deeds::{Action, Deed, World};
use crate::chaos::approvals::{markers, session};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::Credential;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The actions.
    pub actions: Vec<Action>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["lies", "honest_runs"] {
        judgement.exercised(counter, 0);
    }
    for action in &seen.actions {
        if !action.told() {
            let line = action.planned.line();
            judgement.undecided(format!("{:?} could not be followed: {line}", action.deed));
            continue;
        }
        let wrong = action.wrong();
        if wrong.is_empty() {
            let honest = action.deed.honest();
            judgement.exercised(if honest { "honest_runs" } else { "lies" }, 1);
        }
        judgement.violations.extend(wrong);
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} tools that did what they say succeeded, {} that did not failed: {} violations",
        count("honest_runs"),
        count("lies"),
        judgement.violations.len()
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let markers = markers(cx.seed, "deed", Deed::ALL.len());
    let deeds = markers.iter().cloned().zip(Deed::ALL);
    let world = World::open(cx, deeds, serde_json::json!({}))?;
    let instance = cx.start(world.config()).await?;
    let client = instance.client(Credential::Operator(1));
    let session = session(&client).await?;
    for (marker, deed) in markers.iter().zip(Deed::ALL) {
        let about = (deed, world.args(marker));
        seen.actions
            .push(Action::act(cx, &client, &session, about).await);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::deeds::tests::{ended, sent};
    use super::*;

    fn good() -> Evidence {
        Evidence {
            actions: Deed::ALL.map(ended).into(),
        }
    }

    #[test]
    fn lies_that_fail_and_honest_runs_that_succeed_are_no_violation_and_count() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(
            (
                judgement.exercised["lies"],
                judgement.exercised["honest_runs"]
            ),
            (5, 4)
        );
    }

    #[test]
    fn a_lie_that_is_believed_and_an_honest_run_that_is_not_are_seen() {
        for (number, status) in [(0, "failed"), (1, "succeeded")] {
            let mut seen = good();
            let action = &mut seen.actions[number];
            action.approved.answer["execution"]["status"] = json!(status);
            action.looked = sent(
                200,
                json!({"action": {"state": status, "execution": {"status": status}}}),
            );
            let judgement = judge(&seen);
            assert_eq!(judgement.violations.len(), 2, "{:?}", judgement.violations);
        }
    }

    #[test]
    fn what_was_not_followed_is_undecided() {
        let mut seen = good();
        seen.actions[0].planned.status = 503;
        assert_eq!(judge(&seen).undecided.len(), 1);
        assert_eq!(judge(&Evidence::default()).exercised["lies"], 0);
    }
}
