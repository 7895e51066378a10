use serde_json::{Value, json};

use super::{Evidence, GUARDED_TOOL, Misuse, Sent, Story, judge, marked};
use crate::checks::by_hand;

fn sent(path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent("eva-os", "POST", path, status, answer)
}

fn list(markers: &[&str]) -> Sent {
    let row = |marker: &&str| {
        json!({
            "approval_id": format!("apr-{marker}"), "tool_name": GUARDED_TOOL,
            "args": marked(marker),
        })
    };
    let rows: Vec<Value> = markers.iter().map(row).collect();
    sent("/approvals", 200, json!({"approvals": rows}))
}

fn story(marker: &str, verdict: Option<&str>) -> Story {
    let misused = Misuse::ALL.map(|misuse| (misuse, sent("/execute", 403, json!({}))));
    let after: &[&str] = if verdict.is_none() { &[marker] } else { &[] };
    Story {
        verdict: verdict.map(str::to_owned),
        marker: marker.to_owned(),
        asked: sent(
            "/gate-tool-call",
            200,
            json!({"approval_id": format!("apr-{marker}"), "fence_token": 7}),
        ),
        before: Some(list(&[marker])),
        decided: verdict.map(|verb| sent(&format!("/{verb}"), 200, json!({}))),
        during: (verdict == Some("approve")).then(|| list(&[])),
        after: Some(list(after)),
        misused: misused.into(),
    }
}

fn run(marker: &str) -> (String, Value) {
    (GUARDED_TOOL.to_owned(), marked(marker))
}

fn good() -> Evidence {
    Evidence {
        unknown: vec![
            sent("/approve", 404, json!({})),
            sent("/deny", 404, json!({})),
        ],
        stories: vec![
            story("a", Some("approve")),
            story("d", Some("deny")),
            story("o", None),
        ],
        runs: Some(vec![run("a")]),
    }
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

fn runs(seen: &mut Evidence) -> &mut Vec<(String, Value)> {
    seen.runs.as_mut().unwrap()
}

#[test]
fn one_run_for_an_approval_and_none_else_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("approved", 1),
        ("denied", 1),
        ("other_actions", 9),
        ("unknown_ids", 2),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn every_way_of_permitting_something_else_is_seen() {
    let cases: [Case; 12] = [
        (
            "/approve of eva-os (cor_1): 200: got 200, expected 404",
            |seen| {
                seen.unknown[0].status = 200;
            },
        ),
        ("apr-a before its decision: got it not pending", |seen| {
            seen.stories[0].before = Some(list(&[]));
        }),
        ("apr-a while its tool runs: got it pending", |seen| {
            seen.stories[0].during = Some(list(&["a"]));
        }),
        ("apr-d after its decision: got it pending", |seen| {
            seen.stories[1].after = Some(list(&["d"]));
        }),
        ("apr-o after its decision: got it not pending", |seen| {
            seen.stories[2].after = Some(list(&[]));
        }),
        ("got 503, expected 200", |seen| {
            let mut decided = sent("/deny", 503, json!({}));
            decided.path = "/deny".into();
            seen.stories[1].decided = Some(decided);
        }),
        ("OtherArgs with apr-a (approve)", |seen| {
            seen.stories[0].misused[0].1.status = 200;
        }),
        ("Again with apr-o (nothing)", |seen| {
            seen.stories[2].misused[3].1.status = 200;
        }),
        (
            "apr-a (approve): its call ran 2 times, expected 1",
            |seen| {
                runs(seen).push(run("a"));
            },
        ),
        ("apr-d (deny): its call ran 1 times, expected 0", |seen| {
            runs(seen).push(run("d"));
        }),
        ("apr-a let shell.run run", |seen| {
            runs(seen).push(("shell.run".into(), marked("a")));
        }),
        ("which nobody asked for", |seen| {
            runs(seen).push(run("stranger"))
        }),
    ];
    for (words, spoil) in cases {
        by_hand::violated(judge, good(), spoil, words);
    }
}

#[test]
fn an_approval_whose_call_never_ran_is_a_violation() {
    let mut seen = good();
    runs(&mut seen).clear();
    let found = judge(&seen).violations;
    assert_eq!(found, ["apr-a (approve): its call ran 0 times, expected 1"]);
}

#[test]
fn too_little_is_not_counted() {
    let mut seen = good();
    seen.stories[0].misused.pop();
    seen.stories[1].after = None;
    let judgement = judge(&seen);
    assert_eq!(
        (
            judgement.exercised["approved"],
            judgement.exercised["denied"]
        ),
        (0, 0)
    );
    seen.runs = None;
    assert_eq!(judge(&seen).undecided.len(), 1);
    assert_eq!(judge(&Evidence::default()).undecided.len(), 1);
}
