//! Gate perception-consent: every way to the model passes the gate of consent, and each refusal is
//! counted.
//!
//! Over both routes, the analysis and the event: denied while consent is only asked for, allowed in
//! ACTIVE with privacy on, denied once it is taken back. The model's log says what was asked, and
//! the service's count of refusals is read before and after each request.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::inference::{Due, Inference, Names, Path, consent, privacy};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};

const PATHS: [Path; 2] = [Path::Analyze, Path::Event];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every request, in order.
    pub asked: Vec<Asked>,
}

/// One request between two looks at the count.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The request.
    pub inference: Inference,
    /// `/status` before.
    pub before: Sent,
    /// `/status` after.
    pub after: Sent,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut paths, mut allowed, mut blocked) = (BTreeSet::new(), 0, 0);
    for asked in &seen.asked {
        let one = &asked.inference;
        let right = one.judge(&mut judgement);
        let expected = u64::from(one.due == Due::Denied);
        let counted = blocks(&asked.after).zip(blocks(&asked.before));
        let Some((after, before)) = counted else {
            judgement.undecided(format!("{}: the refusals could not be read", one.case));
            continue;
        };
        let rise = after.checked_sub(before);
        judgement.expect(rise == Some(expected), || {
            format!(
                "{}: {}: got consent_blocks from {before} to {after}, expected {expected} more",
                one.case,
                one.sent.line()
            )
        });
        if right && rise == Some(expected) {
            paths.insert(one.path);
            match one.due {
                Due::Denied => blocked += 1,
                Due::Allowed => allowed += 1,
            }
        }
    }
    judgement.exercised("paths", paths.len() as u64);
    judgement.exercised("allowed", allowed);
    judgement.exercised("blocked", blocked);
    judgement.detail = format!(
        "over {} paths {allowed} inferences allowed with one call of the model each, {blocked} \
         blocked and counted: {} violations",
        paths.len(),
        judgement.violations.len()
    );
    judgement
}

fn blocks(status: &Sent) -> Option<u64> {
    let told = status.ok().then_some(&status.answer)?;
    told["counters"]["consent_blocks"].as_u64()
}

/// Drives it.
///
/// # Errors
/// When there is no target, or consent is not to be had.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut target = cx.start(json!({})).await?;
    let client = target.client(Credential::Operator(1));
    let driven = all(cx, &client, seen).await;
    for asked in &mut seen.asked {
        asked.inference.count(cx);
    }
    target.exited();
    driven
}

async fn all(cx: &Cx, client: &Client, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut names = Names::new(cx);
    for path in PATHS {
        let session = names.session();
        for (steps, state, due) in [
            (&["request"][..], "REQUESTED", Due::Denied),
            (&["grant", "activate"], "ACTIVE", Due::Allowed),
            (&["revoke"], "REVOKED", Due::Denied),
        ] {
            consent(client, &session, steps).await?;
            privacy(client, &session, "enable").await?;
            let before = status(client).await;
            let case = (state, path, due);
            let inference = Inference::ask(client, names.marker(), case, &json!(session)).await;
            let after = status(client).await;
            seen.asked.push(Asked {
                inference,
                before,
                after,
            });
        }
    }
    Ok(())
}

async fn status(client: &Client) -> Sent {
    let exchange = client.send(Ask::get("perception", "/status")).await;
    Sent::new(&exchange, client.credential())
}

#[cfg(test)]
mod tests {
    use super::super::inference::tests::inference;
    use super::*;

    fn asked(path: Path, due: Due, (before, after): (u64, u64)) -> Asked {
        let inference = inference("one", path, due);
        let status = |blocks: u64| {
            let mut status = inference.sent.clone();
            status.status = 200;
            status.answer = json!({"counters": {"consent_blocks": blocks}});
            status
        };
        Asked {
            before: status(before),
            after: status(after),
            inference,
        }
    }

    fn good() -> Evidence {
        Evidence {
            asked: vec![
                asked(Path::Analyze, Due::Denied, (0, 1)),
                asked(Path::Analyze, Due::Allowed, (1, 1)),
                asked(Path::Event, Due::Denied, (1, 2)),
            ],
        }
    }

    #[test]
    fn refusals_that_are_counted_are_no_violation() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [("allowed", 1), ("blocked", 2), ("paths", 2)];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    #[test]
    fn a_refusal_that_is_not_counted_and_a_yes_that_is_are_violations() {
        for (at, counts) in [(0, (0, 0)), (0, (0, 2)), (1, (1, 2)), (2, (2, 1))] {
            let mut seen = good();
            let old = seen.asked[at].inference.clone();
            seen.asked[at] = asked(old.path, old.due, counts);
            let found = judge(&seen).violations;
            assert!(
                found.len() == 1 && found[0].contains("consent_blocks"),
                "{found:?}"
            );
        }
        let mut seen = good();
        seen.asked[2].inference.sent.status = 201;
        assert!(judge(&seen).violations[0].contains("expected 403"));
        let mut seen = good();
        seen.asked[0].after.status = 503;
        let judgement = judge(&seen);
        assert_eq!(
            (judgement.undecided.len(), judgement.exercised["blocked"]),
            (1, 1)
        );
    }
}
