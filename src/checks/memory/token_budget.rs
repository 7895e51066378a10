//! Gate token-budget: recall stays within its budget of tokens, grows with it, and is the same byte
//! for byte when it is asked for again.
//!
//! Memories that share a word are stored, some with the same text, so that their scores are equal.
//! The search for the word is made with a row of budgets, then many times over, and again after a
//! restart. Tokens are counted here, by the contract's rule, from the texts that were stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::space::{results, send, store};
use crate::base::random_id;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::contract::memory::tokens;
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// Memories of one text each, and how many words it has beside the one that all share.
const LENGTHS: [usize; 6] = [1, 2, 3, 5, 8, 13];
/// Memories of one and the same text.
const ALIKE: usize = 5;
/// Budgets; none is asked for without one.
const BUDGETS: [u64; 8] = [0, 1, 9, 20, 40, 60, 100, 100_000];
/// How often the same search is made.
const REPEATS: usize = 20;
/// Results that are asked for: more than there are memories.
const LIMIT: u64 = 50;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The memories, in order of their creation.
    pub stored: Vec<Sent>,
    /// The search without a budget.
    pub whole: Option<Sent>,
    /// Searches by budget.
    pub within: Vec<(u64, Sent)>,
    /// The same search, again and again.
    pub repeats: Vec<Sent>,
    /// The same searches after a restart: without a budget, and with each.
    pub after: Vec<(Option<u64>, Sent)>,
    /// Restarts.
    pub restarts: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for name in ["budgets", "repeats", "score_ties"] {
        judgement.exercised(name, 0);
    }
    judgement.exercised("restarts", seen.restarts);
    let Some(whole) = seen.whole.as_ref().filter(|sent| sent.answered()) else {
        judgement.undecided("the search without a budget was not answered");
        return judgement;
    };
    let Some(all) = results(whole) else {
        violation!(judgement, "{}: got no results", whole.line());
        return judgement;
    };
    stored(seen, whole, all, &mut judgement);
    let ties = ties(seen, whole, all, &mut judgement);
    judgement.exercised("score_ties", ties);
    for (budget, sent) in &seen.within {
        let right = within(*budget, sent, all, &mut judgement);
        judgement.exercised("budgets", u64::from(right));
    }
    let before: BTreeMap<Option<u64>, &Sent> = seen
        .within
        .iter()
        .map(|(budget, sent)| (Some(*budget), sent))
        .chain([(None, whole)])
        .collect();
    let again = seen.repeats.iter().map(|sent| (whole, sent, "asked again"));
    let after = seen
        .after
        .iter()
        .filter_map(|(budget, sent)| Some((*before.get(budget)?, sent, "after a restart")));
    for (first, sent, when) in again.chain(after) {
        let told = |sent: &Sent| {
            let answer = &sent.answer;
            json!([
                answer["results"],
                answer["search_mode"],
                answer["total_tokens"]
            ])
            .to_string()
        };
        judgement.expect(sent.ok() && told(sent) == told(first), || {
            format!(
                "{when}, {}: got {}, expected {}",
                sent.line(),
                told(sent),
                told(first)
            )
        });
    }
    judgement.exercised("repeats", seen.repeats.len() as u64);
    judgement.detail = format!(
        "{} results with {ties} equal scores; {} budgets kept, {} repeats the same, and over {} \
         restart: {} violations",
        all.len(),
        judgement.exercised["budgets"],
        seen.repeats.len(),
        seen.restarts,
        judgement.violations.len()
    );
    judgement
}

/// Every result is a memory as it was stored, once.
fn stored(seen: &Evidence, whole: &Sent, all: &[Value], judgement: &mut Judgement) {
    let texts: BTreeMap<&str, &Value> = seen
        .stored
        .iter()
        .filter_map(|sent| Some((sent.answer["id"].as_str()?, &sent.body.as_ref()?["content"])))
        .collect();
    let mut missing: BTreeMap<&str, &Value> = texts.clone();
    for result in all {
        let id = result["id"].as_str().unwrap_or_default();
        let known = missing.remove(id);
        judgement.expect(known.is_some_and(|text| *text == result["content"]), || {
            let got = &result["content"];
            let text = texts.get(id);
            format!("{}: got {id} {got}, expected {text:?}, once", whole.line())
        });
    }
    judgement.expect(missing.is_empty(), || {
        let ids: Vec<_> = missing.keys().collect();
        format!(
            "{}: got nothing of {ids:?}, which have the word",
            whole.line()
        )
    });
}

/// Scores never rise, and of equal ones the older memory comes first. How many neighbours are equal.
fn ties(seen: &Evidence, whole: &Sent, all: &[Value], judgement: &mut Judgement) -> u64 {
    let age = |result: &Value| {
        let mut stored = seen.stored.iter();
        stored.position(|sent| sent.answer["id"] == result["id"])
    };
    let mut equal = 0;
    for pair in all.windows(2) {
        let [one, two] = [&pair[0]["score"], &pair[1]["score"]].map(Value::as_f64);
        let tie = one.is_some() && one == two;
        equal += u64::from(tie);
        judgement.expect(one >= two && one.is_some() && two.is_some(), || {
            format!(
                "{}: got score {two:?} after {one:?}, expected no rise",
                whole.line()
            )
        });
        judgement.expect(!tie || age(&pair[0]) < age(&pair[1]), || {
            let (first, second) = (&pair[0]["id"], &pair[1]["id"]);
            format!(
                "{}: got {first} before {second} with equal scores, expected the older one first",
                whole.line()
            )
        });
    }
    equal
}

/// As many from the front of all results as fit, but always one.
fn within(budget: u64, sent: &Sent, all: &[Value], judgement: &mut Judgement) -> bool {
    let line = sent.line();
    let Some(got) = results(sent) else {
        violation!(judgement, "within {budget} tokens, {line}: got no results");
        return false;
    };
    let cost = |result: &Value| tokens(result["content"].as_str().unwrap_or_default());
    let (mut fit, mut sum) = (0, 0);
    for result in all {
        if fit > 0 && sum + cost(result) > budget {
            break;
        }
        (fit, sum) = (fit + 1, sum + cost(result));
    }
    let before = judgement.violations.len();
    let spent: u64 = got.iter().map(cost).sum();
    judgement.expect(spent <= budget || got.len() == 1, || {
        let count = got.len();
        format!("within {budget} tokens, {line}: got {count} results of {spent} tokens")
    });
    judgement.expect(got[..] == all[..fit], || {
        let count = got.len();
        format!(
            "within {budget} tokens, {line}: got {count} results, expected the first {fit} of {}",
            all.len()
        )
    });
    let told = &sent.answer["total_tokens"];
    judgement.expect(told.as_u64() == Some(spent), || {
        format!("within {budget} tokens, {line}: got total_tokens {told}, expected {spent}")
    });
    judgement.violations.len() == before
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("texts").rng();
    let word = random_id("w", &mut rng);
    let mut text = |words: usize| {
        let others: Vec<String> = (0..words).map(|_| random_id("t", &mut rng)).collect();
        format!("{word} {}", others.join(" "))
    };
    let alike = text(2);
    let mut texts: Vec<String> = LENGTHS.into_iter().map(&mut text).collect();
    // The same text between and around the others: neither first nor last by chance.
    for number in 0..ALIKE {
        texts.insert(2 * number % texts.len(), alike.clone());
    }
    let mut target = cx.start(json!({})).await?;
    let client = target.client(Credential::Operator(1));
    for text in &texts {
        seen.stored.push(store(&client, text).await);
    }
    seen.whole = Some(ask(&client, &word, None).await);
    for budget in BUDGETS {
        let sent = ask(&client, &word, Some(budget)).await;
        seen.within.push((budget, sent));
    }
    for _ in 0..REPEATS {
        seen.repeats.push(ask(&client, &word, None).await);
    }
    target.terminate().await?;
    target.start_again().await?;
    seen.restarts += 1;
    for budget in [None].into_iter().chain(BUDGETS.map(Some)) {
        let sent = ask(&client, &word, budget).await;
        seen.after.push((budget, sent));
    }
    target.exited();
    Ok(())
}

async fn ask(client: &Client, word: &str, budget: Option<u64>) -> Sent {
    let mut body = json!({"query": word, "limit": LIMIT});
    if let Some(budget) = budget {
        body["max_tokens"] = json!(budget);
    }
    send(client, Ask::post("memory-engine", "/search", body)).await
}

#[cfg(test)]
#[path = "token_budget_tests.rs"]
mod tests;
