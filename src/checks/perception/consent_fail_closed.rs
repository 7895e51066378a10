//! Gate consent-fail-closed: without a consent that can be read and is ACTIVE, nothing is inferred.
//!
//! An analysis is asked for of sessions of which nothing is known, of none at all, in each state that
//! is not ACTIVE, with privacy off, and, in ACTIVE, while the table of consents is taken away; and
//! again of those that were denied after a KILL. Each is 403 and the model is not asked. The control:
//! with a consent that is ACTIVE and privacy on the same request is answered with what the model
//! says, which is asked once, before the table goes and when it is back.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::inference::{Due, Inference, Names, Path, consent, privacy};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::{Client, Credential, Instance};

/// How long the table's going waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every request, in order.
    pub inferences: Vec<Inference>,
    /// KILLs among them.
    pub kills: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut denied, mut allowed) = (BTreeSet::new(), 0);
    for one in &seen.inferences {
        if one.judge(&mut judgement) {
            match one.due {
                Due::Denied => drop(denied.insert(&one.case)),
                Due::Allowed => allowed += 1,
            }
        }
    }
    judgement.exercised("denied_cases", denied.len() as u64);
    judgement.exercised("allowed_controls", allowed);
    judgement.exercised("kills", seen.kills);
    judgement.detail = format!(
        "{} cases denied without a call of the model, over {} KILL; {allowed} controls allowed: \
         {} violations",
        denied.len(),
        seen.kills,
        judgement.violations.len()
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or its consents cannot be taken away.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut target = cx.start(json!({})).await?;
    let driven = all(cx, &mut target, seen).await;
    for one in &mut seen.inferences {
        one.count(cx);
    }
    target.exited();
    driven
}

async fn all(cx: &Cx, target: &mut Instance, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut names = Names::new(cx);
    let client = target.client(Credential::Operator(1));
    let mut denied = vec![
        ("no record", json!(names.session())),
        ("an empty id", json!("")),
        ("no id", Value::Null),
    ];
    for (state, steps) in [
        ("REQUESTED", &["request"][..]),
        ("GRANTED", &["request", "grant"]),
        ("REVOKED", &["request", "grant", "activate", "revoke"]),
        ("REVOKED from OFF", &["revoke"]),
    ] {
        let session = names.session();
        consent(&client, &session, steps).await?;
        privacy(&client, &session, "enable").await?;
        denied.push((state, json!(session)));
    }
    let active = names.session();
    consent(&client, &active, &["request", "grant", "activate"]).await?;
    for (case, session) in &denied {
        ask(&client, seen, &mut names, (case, Due::Denied), session).await;
    }
    let active = json!(active);
    privacy(&client, active.as_str().unwrap_or_default(), "enable").await?;
    ask(&client, seen, &mut names, ("ACTIVE", Due::Allowed), &active).await;
    {
        let _away = Away::take(target)?;
        let case = ("ACTIVE, and no consent can be read", Due::Denied);
        ask(&client, seen, &mut names, case, &active).await;
    }
    ask(
        &client,
        seen,
        &mut names,
        ("ACTIVE again", Due::Allowed),
        &active,
    )
    .await;
    privacy(&client, active.as_str().unwrap_or_default(), "disable").await?;
    denied.push(("ACTIVE, privacy off", active));
    let (case, session) = &denied[denied.len() - 1];
    ask(&client, seen, &mut names, (case, Due::Denied), session).await;
    target.kill().await?;
    target.start_again().await?;
    seen.kills += 1;
    for (case, session) in &denied {
        let case = format!("{case}, after a KILL");
        ask(&client, seen, &mut names, (&case, Due::Denied), session).await;
    }
    Ok(())
}

async fn ask(
    client: &Client,
    seen: &mut Evidence,
    names: &mut Names,
    (case, due): (&str, Due),
    session: &Value,
) {
    let what = (case, Path::Analyze, due);
    let one = Inference::ask(client, names.marker(), what, session).await;
    seen.inferences.push(one);
}

/// The table of consents is not there while this lives.
struct Away(Connection);

impl Away {
    fn take(target: &Instance) -> Result<Self, Undecided> {
        let listening = target.listening();
        let path = listening.databases.get("perception");
        let path = path.ok_or_else(|| Undecided("perception names no database".to_owned()))?;
        let conn = Connection::open(path)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.execute_batch("ALTER TABLE consents RENAME TO consents_away")?;
        Ok(Self(conn))
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        // A table that does not come back shows: the control after it is not allowed.
        let back = "ALTER TABLE consents_away RENAME TO consents";
        drop(self.0.execute_batch(back));
    }
}

#[cfg(test)]
mod tests {
    use super::super::inference::tests::inference;
    use super::*;

    fn good() -> Evidence {
        let denied = ["no record", "GRANTED", "GRANTED, after a KILL"];
        let denied = denied.map(|case| inference(case, Path::Analyze, Due::Denied));
        let allowed = inference("ACTIVE", Path::Analyze, Due::Allowed);
        Evidence {
            inferences: denied.into_iter().chain([allowed]).collect(),
            kills: 1,
        }
    }

    #[test]
    fn denied_cases_and_controls_count_when_they_are_right() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [("allowed_controls", 1), ("denied_cases", 3), ("kills", 1)];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    #[test]
    fn a_yes_in_doubt_and_a_no_to_the_control_are_violations_and_do_not_count() {
        let mut seen = good();
        seen.inferences[0] = Inference {
            due: Due::Denied,
            ..inference("no record", Path::Analyze, Due::Allowed)
        };
        let judgement = judge(&seen);
        assert_eq!(judgement.violations.len(), 2);
        assert!(judgement.violations[0].starts_with("no record:"));
        assert_eq!(judgement.exercised["denied_cases"], 2);
        let mut seen = good();
        seen.inferences[3].sent.status = 403;
        let judgement = judge(&seen);
        assert_eq!(
            (
                judgement.violations.len(),
                judgement.exercised["allowed_controls"]
            ),
            (1, 0)
        );
    }
}
