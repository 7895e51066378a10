//! Gate memory-lifespan: every stored vector is back after a stop, and after a KILL within a bounded
//! repair.
//!
//! Texts are stored and the target is stopped; started again, its index must hold them all. More are
//! stored and the target is killed; again all must be there, in time. At the end each is looked for
//! by a question that shares no word with it: what is counted has to be found.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::space::{Space, index, results, search, store};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Client, Credential};

/// Texts that are stored before each end.
const TEXTS: usize = 6;
/// How long a repair may take: ten times what it is configured to wait, and at least 10 s.
const REPAIR_BOUND: Duration = Duration::from_secs(10);
/// Results that are asked for.
const LIMIT: u64 = 5;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// What was stored before the stop.
    pub before_stop: Vec<Sent>,
    /// The index after it.
    pub after_stop: Option<Sent>,
    /// What was stored before the KILL.
    pub before_kill: Vec<Sent>,
    /// The index after it, at the end of its repair.
    pub after_kill: Option<Sent>,
    /// KILLs.
    pub kills: u64,
    /// Searches after it, one for each text, in order.
    pub searches: Vec<Sent>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let stored = |all: &[Sent]| all.iter().filter(|sent| sent.ok()).count() as u64;
    let (n, m) = (stored(&seen.before_stop), stored(&seen.before_kill));
    judgement.exercised("stored_before_stop", n);
    judgement.exercised("stored_before_kill", m);
    judgement.exercised("kills", seen.kills);
    for (look, when, expected) in [
        (&seen.after_stop, "the stop", n),
        (&seen.after_kill, "the KILL", n + m),
    ] {
        let Some(look) = look else {
            judgement.undecided(format!("nobody looked at the index after {when}"));
            continue;
        };
        let vectors = &look.answer["vectors"];
        judgement.expect(look.ok() && vectors.as_u64() == Some(expected), || {
            format!(
                "after {when} {}: got {vectors} vectors, expected {expected}",
                look.line()
            )
        });
    }
    let all = seen.before_stop.iter().chain(&seen.before_kill);
    let mut found = 0;
    for (text, sent) in all.zip(&seen.searches) {
        let id = &text.answer["id"];
        let hits = results(sent).into_iter().flatten();
        let hit = id.is_string() && hits.map(|hit| &hit["id"]).any(|hit| hit == id);
        found += u64::from(hit);
        judgement.expect(hit, || {
            format!(
                "after the KILL {}: got no {id}, which lies nearest",
                sent.line()
            )
        });
    }
    judgement.exercised("found", found);
    judgement.detail = format!(
        "{n} vectors over a stop, {m} more over {} KILL, {found} found by nearness alone: {} \
         violations",
        seen.kills,
        judgement.violations.len()
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let space = Space::open(cx, 2 * TEXTS).await?;
    let (first, second) = space.places.split_at(TEXTS);
    let mut target = cx.start(space.patch()).await?;
    let client = target.client(Credential::Operator(1));
    let keep = |place: &super::space::Place| {
        let (client, text) = (client.clone(), place.text.clone());
        async move { store(&client, &text).await }
    };
    seen.before_stop = join_all(first.iter().map(keep)).await;
    target.terminate().await?;
    target.start_again().await?;
    seen.after_stop = Some(repaired(cx, &client, TEXTS).await);
    seen.before_kill = join_all(second.iter().map(keep)).await;
    target.kill().await?;
    target.start_again().await?;
    seen.kills += 1;
    seen.after_kill = Some(repaired(cx, &client, 2 * TEXTS).await);
    let asks = space.places.iter();
    seen.searches = join_all(asks.map(|place| search(&client, &place.question, LIMIT))).await;
    target.exited();
    Ok(())
}

/// Looks until so many vectors are there, or long should have been: the last look tells which.
async fn repaired(cx: &Cx, client: &Client, expected: usize) -> Sent {
    let last = Arc::new(Mutex::new(index(client).await));
    let kept = |last: &Mutex<Sent>| last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let whole = cx.until("the repair of an index", REPAIR_BOUND, || {
        let (client, last) = (client.clone(), Arc::clone(&last));
        async move {
            let look = kept(&last);
            let vectors = &look.answer["vectors"];
            // Where there is no number there is nothing to wait for.
            if *vectors == expected || !vectors.is_u64() {
                return Some(());
            }
            let look = index(&client).await;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = look;
            None
        }
    });
    drop(whole.await);
    kept(&last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::space::tests::sent;
    use super::*;

    fn good() -> Evidence {
        let stored = |id: &str| sent("/store", 201, json!({"id": id}));
        let look = |vectors: u64| Some(sent("/v1/index", 200, json!({"vectors": vectors})));
        let hit = |id: &str| {
            sent(
                "/search",
                200,
                json!({"results": [{"id": "mem_x"}, {"id": id}]}),
            )
        };
        Evidence {
            before_stop: vec![stored("mem_1"), stored("mem_2")],
            after_stop: look(2),
            before_kill: vec![stored("mem_3")],
            after_kill: look(3),
            kills: 1,
            searches: vec![hit("mem_1"), hit("mem_2"), hit("mem_3")],
        }
    }

    #[test]
    fn vectors_that_are_all_back_are_no_violation_and_count() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [
            ("found", 3),
            ("kills", 1),
            ("stored_before_kill", 1),
            ("stored_before_stop", 2),
        ];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    /// Words of the violation, and what makes good evidence bad.
    type Case = (&'static str, fn(&mut Evidence));

    #[test]
    fn a_vector_too_few_or_too_many_and_one_that_is_not_found_are_violations() {
        let cases: [Case; 4] = [
            ("after the stop", |seen| {
                seen.after_stop.as_mut().unwrap().answer["vectors"] = json!(1);
            }),
            ("got 2 vectors, expected 3", |seen| {
                seen.after_kill.as_mut().unwrap().answer["vectors"] = json!(2);
            }),
            ("got 4 vectors, expected 3", |seen| {
                seen.after_kill.as_mut().unwrap().answer["vectors"] = json!(4);
            }),
            ("got no \"mem_2\"", |seen| {
                seen.searches[1].answer["results"] = json!([])
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
        let mut seen = good();
        seen.after_kill = None;
        assert_eq!(judge(&seen).undecided.len(), 1);
    }
}
