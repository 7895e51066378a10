//! Gate hnsw-wired: search uses vectors, and the vectors are the embedding backend's.
//!
//! The backend is a double that gives every text a vector of the harness's choice. Texts are stored;
//! then each question lies near one of them and shares no word with any. Only who asks the backend,
//! at the store and at the search, can find it. How much of what a look at all vectors would have
//! found the index finds too is in the detail.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::space::{Place, Space, cosine, results, search, store};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::Credential;
use crate::violation;

/// Texts that are stored.
const STORED: usize = 40;
/// Of them those that are looked for.
const ASKED: usize = 6;
/// Results that are asked for.
const LIMIT: u64 = 10;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every text.
    pub stored: Vec<Stored>,
    /// Every question.
    pub asked: Vec<Asked>,
}

/// A text that was stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The text, and where it lies.
    pub place: Place,
    /// The request.
    pub sent: Sent,
    /// Calls of the backend about the text.
    pub calls: u64,
}

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The place of the text that it is about, among the stored ones.
    pub about: usize,
    /// The request.
    pub sent: Sent,
    /// Calls of the backend about the question.
    pub calls: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for name in ["vector_only_hits", "embedded_stores", "embedded_queries"] {
        judgement.exercised(name, 0);
    }
    for one in seen.stored.iter().filter(|one| one.sent.ok()) {
        judgement.expect(one.calls > 0, || {
            format!(
                "{}: got 0 calls of the backend, expected 1",
                one.sent.line()
            )
        });
        judgement.exercised("embedded_stores", u64::from(one.calls > 0));
    }
    let ids: BTreeSet<&str> = stored_ids(seen).collect();
    judgement.expect(ids.len() == stored_ids(seen).count(), || {
        let expected = stored_ids(seen).count();
        format!(
            "ids of stored texts: got {} different ones, expected {expected}",
            ids.len()
        )
    });
    let (mut found, mut possible) = (0, 0);
    for one in &seen.asked {
        let (ours, best) = question(seen, one, &mut judgement);
        found += ours;
        possible += best;
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} of {} questions found the text that shares no word with them, {} of {} texts embedded; \
         {found} of the {possible} results are those of a look at all vectors",
        count("vector_only_hits"),
        seen.asked.len(),
        count("embedded_stores"),
        seen.stored.len()
    );
    judgement
}

/// How many of its results are those of a look at all vectors, and how many could be.
fn question(seen: &Evidence, one: &Asked, judgement: &mut Judgement) -> (usize, usize) {
    let Some(results) = results(&one.sent) else {
        violation!(judgement, "{}: got no results", one.sent.line());
        return (0, 0);
    };
    judgement.expect(one.calls > 0, || {
        format!(
            "{}: got 0 calls of the backend, expected 1",
            one.sent.line()
        )
    });
    judgement.exercised("embedded_queries", u64::from(one.calls > 0));
    let mode = &one.sent.answer["search_mode"];
    judgement.expect(mode == "hybrid_vector", || {
        format!(
            "{}: got search_mode {mode}, expected hybrid_vector",
            one.sent.line()
        )
    });
    let ids: Vec<&str> = results
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    let wanted = seen.stored.get(one.about);
    let wanted = wanted.and_then(|stored| stored.sent.answer["id"].as_str());
    let hit = wanted.is_some_and(|id| ids.contains(&id));
    judgement.expect(hit, || {
        format!(
            "{}: got {} results without {}, which lies nearest and shares no word",
            one.sent.line(),
            ids.len(),
            wanted.unwrap_or("the text")
        )
    });
    judgement.exercised("vector_only_hits", u64::from(hit));
    let best = nearest(seen, one, ids.len());
    let ours = best.iter().filter(|id| ids.contains(*id)).count();
    (ours, best.len())
}

fn stored_ids(seen: &Evidence) -> impl Iterator<Item = &str> {
    let stored = seen.stored.iter().filter(|one| one.sent.ok());
    stored.filter_map(|one| one.sent.answer["id"].as_str())
}

/// The ids of the texts that lie nearest to a question.
fn nearest<'a>(seen: &'a Evidence, asked: &Asked, most: usize) -> Vec<&'a str> {
    let Some(about) = seen.stored.get(asked.about) else {
        return Vec::new();
    };
    let nearness = |one: &Stored| cosine(&about.place.asked, &one.place.vector);
    let mut all: Vec<_> = seen.stored.iter().map(|one| (nearness(one), one)).collect();
    all.sort_by(|(one, _), (two, _)| two.total_cmp(one));
    let ids = all.into_iter().take(most);
    ids.filter_map(|(_, one)| one.sent.answer["id"].as_str())
        .collect()
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let space = Space::open(cx, STORED).await?;
    let mut target = cx.start(space.patch()).await?;
    let client = target.client(Credential::Operator(1));
    // The first of each alone: who answers the others with what it said then is seen.
    let mut stores = vec![store(&client, &space.places[0].text).await];
    let others = space.places[1..].iter();
    stores.extend(join_all(others.map(|place| store(&client, &place.text))).await);
    let mut asks = vec![search(&client, &space.places[0].question, LIMIT).await];
    let others = space.places[1..ASKED].iter();
    asks.extend(join_all(others.map(|place| search(&client, &place.question, LIMIT))).await);
    let stored = space.places.iter().zip(stores);
    seen.stored = stored
        .map(|(place, sent)| Stored {
            place: place.clone(),
            calls: space.asked(&place.text),
            sent,
        })
        .collect();
    let asked = asks.into_iter().enumerate();
    seen.asked = asked
        .map(|(about, sent)| Asked {
            about,
            calls: space.asked(&space.places[about].question),
            sent,
        })
        .collect();
    target.exited();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::space::tests::sent;
    use super::*;

    fn good() -> Evidence {
        let place = |at: f64| Place {
            text: format!("text {at}"),
            vector: vec![at, 1.0],
            question: format!("question {at}"),
            asked: vec![at + 0.01, 1.0],
        };
        let stored = |number: usize| Stored {
            place: place(number as f64),
            sent: sent("/store", 201, json!({"id": format!("mem_{number}")})),
            calls: 1,
        };
        let results = json!([{"id": "mem_1"}, {"id": "mem_2"}]);
        let answer = json!({"search_mode": "hybrid_vector", "results": results});
        Evidence {
            stored: (0..4).map(stored).collect(),
            asked: vec![Asked {
                about: 1,
                sent: sent("/search", 200, answer),
                calls: 1,
            }],
        }
    }

    #[test]
    fn a_hit_that_only_vectors_tell_counts_and_recall_is_in_the_detail() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [
            ("embedded_queries", 1),
            ("embedded_stores", 4),
            ("vector_only_hits", 1),
        ];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
        assert!(
            judgement.detail.contains("2 of the 2 results"),
            "{}",
            judgement.detail
        );
    }

    /// Words of the violation, and what makes good evidence bad.
    type Case = (&'static str, fn(&mut Evidence));

    #[test]
    fn a_backend_that_is_not_asked_and_a_hit_that_is_missing_are_violations() {
        let cases: [Case; 6] = [
            ("3 different ones", |seen| {
                seen.stored[3].sent.answer["id"] = json!("mem_2");
            }),
            ("/store", |seen| seen.stored[2].calls = 0),
            ("/search", |seen| seen.asked[0].calls = 0),
            ("search_mode", |seen| {
                seen.asked[0].sent.answer["search_mode"] = json!("bm25")
            }),
            ("without mem_1", |seen| {
                seen.asked[0].sent.answer["results"] = json!([{"id": "mem_2"}]);
            }),
            ("no results", |seen| {
                seen.asked[0].sent.answer = json!({"ok": true})
            }),
        ];
        for (words, spoil) in cases {
            let mut seen = good();
            spoil(&mut seen);
            let found = judge(&seen).violations;
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
    }
}
