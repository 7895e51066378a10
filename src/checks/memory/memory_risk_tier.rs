//! Gate memory-risk-tier: a proposal's tier follows its type and confidence, and nothing is written
//! before the approval that the tier needs.
//!
//! Every type of the contract's table, and one that is not in it, is proposed with confidences on
//! both sides of each bound. Each proposal has a word of its own, which is searched for before and
//! after the decision: of what has to be approved there must be nothing before, one memory after an
//! approval, and nothing after a rejection. A second decision is told that it comes too late.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::space::{results, search, send};
use crate::base::random_id;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::contract::memory::{tier, types};
use crate::target::{Ask, Client, Credential};
use crate::violation;

const SERVICE: &str = "memory-engine";
/// On both sides of each bound, and on it.
const CONFIDENCES: [f64; 4] = [0.49, 0.5, 0.84, 0.85];
/// A type that the table does not list.
const UNLISTED: &str = "rumour";
/// Results that are asked for.
const LIMIT: u64 = 50;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every proposal.
    pub proposals: Vec<Proposal>,
}

/// One proposal's story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// Its type.
    pub kind: String,
    /// Its confidence.
    pub confidence: f64,
    /// Its text, and what is searched for.
    pub text: String,
    /// The request that made it.
    pub made: Sent,
    /// The search before the decision.
    pub before: Sent,
    /// The decision: `approve` or `reject`.
    pub verb: String,
    /// What came of it, of a proposal that needs one.
    pub decided: Option<Sent>,
    /// A second decision.
    pub again: Option<Sent>,
    /// The search after them.
    pub after: Option<Sent>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for name in [
        "combinations",
        "approvals",
        "rejections",
        "writes_after_approval",
    ] {
        judgement.exercised(name, 0);
    }
    for one in &seen.proposals {
        if one.made.answered() && one.before.answered() {
            proposed(one, &mut judgement);
            judgement.exercised("combinations", 1);
            if tier(&one.kind, one.confidence) != "auto_low" {
                decided(one, &mut judgement);
            }
        }
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} types and confidences have their tier; {} approvals wrote {} memories, {} rejections \
         none: {} violations",
        count("combinations"),
        count("approvals"),
        count("writes_after_approval"),
        count("rejections"),
        judgement.violations.len()
    );
    judgement
}

impl Proposal {
    fn name(&self) -> String {
        format!("{} {}", self.kind, self.confidence)
    }

    /// How many memories of its text a search has found.
    fn found(&self, sent: &Sent) -> Option<usize> {
        let results = results(sent)?.iter();
        Some(
            results
                .filter(|one| one["content"] == self.text.as_str())
                .count(),
        )
    }

    /// A search has found so many.
    fn finds(&self, sent: &Sent, when: &str, expected: usize, judgement: &mut Judgement) -> bool {
        let found = self.found(sent);
        judgement.expect(found == Some(expected), || {
            let got = found.map_or("no results".to_owned(), |found| found.to_string());
            format!(
                "{} {when}: got {got} memories, expected {expected}",
                self.name()
            )
        });
        found == Some(expected)
    }
}

fn proposed(one: &Proposal, judgement: &mut Judgement) {
    let (expected, name, line) = (tier(&one.kind, one.confidence), one.name(), one.made.line());
    if !one.made.ok() {
        violation!(
            judgement,
            "{name}: {line}: got {}, expected 201",
            one.made.status
        );
        return;
    }
    let auto = expected == "auto_low";
    let state = if auto { "written" } else { "pending" };
    for (field, expected) in [
        ("tier", json!(expected)),
        ("approval_required", json!(!auto)),
        ("state", json!(state)),
    ] {
        let got = &one.made.answer[field];
        judgement.expect(*got == expected, || {
            format!("{name}: {line}: got {field} {got}, expected {expected}")
        });
    }
    one.finds(
        &one.before,
        "before any decision",
        usize::from(auto),
        judgement,
    );
}

fn decided(one: &Proposal, judgement: &mut Judgement) {
    let (Some(decided), Some(again), Some(after)) = (&one.decided, &one.again, &one.after) else {
        return;
    };
    let name = one.name();
    let approve = one.verb == "approve";
    let state = if approve { "written" } else { "rejected" };
    let told = &decided.answer["state"];
    judgement.expect(decided.ok() && told == state, || {
        let (line, status) = (decided.line(), decided.status);
        format!("{name}: {line}: got {status} {told}, expected 200 {state}")
    });
    judgement.expect(again.status == 409, || {
        format!(
            "{name}: {}: got {}, expected 409",
            again.line(),
            again.status
        )
    });
    let when = if approve {
        "after the approval"
    } else {
        "after the rejection"
    };
    let right = one.finds(after, when, usize::from(approve), judgement);
    if decided.ok() {
        let what = if approve { "approvals" } else { "rejections" };
        judgement.exercised(what, 1);
        judgement.exercised("writes_after_approval", u64::from(approve && right));
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("proposals").rng();
    let mut target = cx.start(json!({})).await?;
    let client = target.client(Credential::Operator(1));
    let kinds = types().into_iter().chain([UNLISTED]);
    let all = kinds.flat_map(|kind| CONFIDENCES.map(|confidence| (kind, confidence)));
    let all = all.enumerate().map(|(number, (kind, confidence))| {
        let verb = if number % 2 == 0 { "approve" } else { "reject" };
        let text = random_id("w", &mut rng);
        play(&client, (kind, confidence), text, verb)
    });
    let all: Vec<_> = all.collect();
    seen.proposals = join_all(all).await;
    target.exited();
    Ok(())
}

async fn play(
    client: &Client,
    (kind, confidence): (&str, f64),
    text: String,
    verb: &str,
) -> Proposal {
    let body = json!({"type": kind, "confidence": confidence, "content": text});
    let made = send(client, Ask::post(SERVICE, "/v1/proposals", body)).await;
    let before = search(client, &text, LIMIT).await;
    let mut one = Proposal {
        kind: kind.to_owned(),
        confidence,
        text,
        made,
        before,
        verb: verb.to_owned(),
        decided: None,
        again: None,
        after: None,
    };
    if let Some(id) = one.made.answer["proposal_id"].as_str()
        && tier(kind, confidence) != "auto_low"
    {
        let decide = |verb: &str| {
            let path = format!("/v1/proposals/{id}/{verb}");
            send(client, Ask::post(SERVICE, &path, json!({})))
        };
        let decided = decide(verb).await;
        // The contrary, by which a lost decision would show.
        let contrary = if verb == "approve" {
            "reject"
        } else {
            "approve"
        };
        let again = decide(contrary).await;
        (one.decided, one.again) = (Some(decided), Some(again));
        one.after = Some(search(client, &one.text, LIMIT).await);
    }
    one
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::space::tests::sent;
    use super::*;

    fn proposal(kind: &str, confidence: f64, verb: &str) -> Proposal {
        let tier = tier(kind, confidence);
        let auto = tier == "auto_low";
        let search = |found: bool| {
            let results: &[Value] = if found {
                &[json!({"content": "w1"})]
            } else {
                &[]
            };
            sent("/search", 200, json!({"results": results}))
        };
        let state = if auto { "written" } else { "pending" };
        let end = if verb == "approve" {
            "written"
        } else {
            "rejected"
        };
        Proposal {
            kind: kind.to_owned(),
            confidence,
            text: "w1".to_owned(),
            made: sent(
                "/v1/proposals",
                201,
                json!({"proposal_id": "prp_1", "tier": tier, "state": state, "approval_required": !auto}),
            ),
            before: search(auto),
            verb: verb.to_owned(),
            decided: (!auto).then(|| sent("/v1/proposals/prp_1", 200, json!({"state": end}))),
            again: (!auto).then(|| sent("/v1/proposals/prp_1", 409, json!({}))),
            after: (!auto).then(|| search(verb == "approve")),
        }
    }

    fn violations(one: Proposal) -> Vec<String> {
        judge(&Evidence {
            proposals: vec![one],
        })
        .violations
    }

    #[test]
    fn tiers_and_writes_of_the_contract_are_no_violation_and_count() {
        let proposals = vec![
            proposal("fact", 0.85, "approve"),
            proposal("fact", 0.84, "approve"),
            proposal("rumour", 0.85, "reject"),
        ];
        let judgement = judge(&Evidence { proposals });
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [
            ("approvals", 1),
            ("combinations", 3),
            ("rejections", 1),
            ("writes_after_approval", 1),
        ];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    /// Words of the violation, the proposal, and what makes it bad.
    type Case = (
        &'static str,
        (&'static str, f64, &'static str),
        fn(&mut Proposal),
    );

    #[test]
    fn another_tier_and_a_write_too_early_are_violations() {
        let cases: [Case; 8] = [
            ("got tier", ("fact", 0.85, "approve"), |one| {
                one.made.answer["tier"] = json!("guarded_medium");
            }),
            ("approval_required", ("fact", 0.5, "approve"), |one| {
                one.made.answer["approval_required"] = json!(false);
            }),
            ("expected 201", ("fact", 0.5, "approve"), |one| {
                one.made.status = 422
            }),
            (
                "before any decision: got 1",
                ("fact", 0.5, "reject"),
                |one| {
                    one.before.answer["results"] = json!([{"content": "w1"}]);
                },
            ),
            (
                "before any decision: got 0",
                ("event", 0.5, "reject"),
                |one| {
                    one.before.answer["results"] = json!([{"content": "w2"}]);
                },
            ),
            ("after the approval", ("fact", 0.49, "approve"), |one| {
                one.after.as_mut().unwrap().answer["results"] = json!([]);
            }),
            ("after the rejection", ("fact", 0.49, "reject"), |one| {
                one.after.as_mut().unwrap().answer["results"] = json!([{"content": "w1"}]);
            }),
            ("expected 409", ("fact", 0.49, "reject"), |one| {
                one.again.as_mut().unwrap().status = 200;
            }),
        ];
        for (words, (kind, confidence, verb), spoil) in cases {
            let mut one = proposal(kind, confidence, verb);
            spoil(&mut one);
            let found = violations(one);
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
    }
}
