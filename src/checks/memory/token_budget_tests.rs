use serde_json::{Value, json};

use super::super::space::tests::sent;
use super::{Evidence, Sent, judge};

const ALL: [(&str, &str, f64); 3] = [
    ("mem_1", "four", 0.5),
    ("mem_2", "four", 0.5),
    ("mem_3", "four and four", 0.25),
];

fn found(count: usize) -> Sent {
    let results: Vec<Value> = ALL[..count]
        .iter()
        .map(|(id, content, score)| json!({"id": id, "content": content, "score": score}))
        .collect();
    // One token each, four for the last.
    let total = [0, 1, 2, 6][count];
    let answer = json!({"results": results, "search_mode": "bm25", "total_tokens": total});
    sent("/search", 200, answer)
}

fn good() -> Evidence {
    let stored = |(id, content, _): (&str, &str, f64)| Sent {
        body: Some(json!({"content": content})),
        ..sent("/store", 201, json!({"id": id}))
    };
    Evidence {
        stored: ALL.map(stored).into(),
        whole: Some(found(3)),
        within: vec![(0, found(1)), (2, found(2)), (5, found(2)), (6, found(3))],
        repeats: vec![found(3), found(3)],
        after: vec![(None, found(3)), (Some(2), found(2))],
        restarts: 1,
    }
}

#[test]
fn the_longest_front_that_fits_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("budgets", 4),
        ("repeats", 2),
        ("restarts", 1),
        ("score_ties", 1),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

fn list(sent: &mut Sent) -> &mut Vec<Value> {
    sent.answer["results"].as_array_mut().unwrap()
}

/// Words of a violation, how many there are, and what makes good evidence bad.
type Case = (&'static str, usize, fn(&mut Evidence));

#[test]
fn a_budget_that_is_passed_or_not_used_and_another_order_are_violations() {
    let cases: [Case; 10] = [
        ("2 results of 2 tokens", 2, |seen| {
            seen.within[0].1 = found(2)
        }),
        ("expected the first 2 of 3", 1, |seen| {
            seen.within[2].1 = found(1)
        }),
        ("got no results", 1, |seen| seen.within[1].1.status = 503),
        ("total_tokens", 2, |seen| {
            seen.within[1].1.answer["total_tokens"] = json!(3)
        }),
        ("asked again", 1, |seen| {
            list(&mut seen.repeats[1]).swap(0, 1)
        }),
        ("after a restart", 1, |seen| {
            list(&mut seen.after[1].1).swap(0, 1)
        }),
        ("after a restart", 1, |seen| {
            list(&mut seen.after[0].1)[2]["score"] = json!(0.250_000_000_000_001);
        }),
        ("the older one first", 1, |seen| seen.stored.swap(0, 1)),
        ("expected no rise", 1, |seen| {
            seen.whole = seen.whole.take().map(|mut whole| {
                list(&mut whole)[2]["score"] = json!(0.75);
                whole
            });
            seen.within.clear();
            seen.repeats.clear();
            seen.after.clear();
        }),
        ("which have the word", 1, |seen| {
            let more = Sent {
                body: Some(json!({"content": "more"})),
                ..sent("/store", 201, json!({"id": "mem_4"}))
            };
            seen.stored.push(more);
        }),
    ];
    for (words, count, spoil) in cases {
        let mut seen = good();
        spoil(&mut seen);
        let found = judge(&seen).violations;
        let told = found.iter().any(|one| one.contains(words));
        assert!(told && found.len() == count, "{words}: {found:?}");
    }
}

#[test]
fn a_result_that_nobody_stored_or_that_comes_twice_is_a_violation() {
    let mut seen = good();
    list(seen.whole.as_mut().unwrap())[1]["content"] = json!("five");
    assert!(judge(&seen).violations[0].contains("expected Some"));
    let mut seen = good();
    let whole = list(seen.whole.as_mut().unwrap());
    whole[1] = whole[0].clone();
    assert!(judge(&seen).violations.len() > 1);
    let mut seen = good();
    seen.whole = None;
    assert_eq!(judge(&seen).undecided.len(), 1);
}
