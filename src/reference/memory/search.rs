//! `POST /search`: by words (BM25) and by nearness (the vector index), fused by rank. Equal scores
//! are ordered by age, and the token budget cuts from the end, so that the same question always has
//! the same answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::embed::{Purpose, Wanted};
use super::{MEMORY, PRIORITY, shown};
use crate::reference::service::Service;
use crate::reference::web::{Call, Field, Longest, Most, Refusal, Reply, Row, Shape, handler};

/// How many candidates each way of looking brings, for each result that is wanted.
const CANDIDATES: usize = 4;
/// At least so many.
const LEAST_CANDIDATES: usize = 64;
/// What dampens the first ranks when two lists are fused (Cormack and others, SIGIR 2009).
const RANK_DAMPING: f64 = 60.0;

/// The route.
pub(super) fn routes() -> Vec<Row> {
    let row = Row::get(
        MEMORY,
        "/search",
        "v4.3",
        handler(|svc, call: Call| async move {
            match search(&svc, &call).await {
                Ok(reply) => reply,
                Err(refusal) => refusal.reply(&call.correlation_id),
            }
        }),
    );
    vec![
        Row {
            method: "POST",
            ..row
        }
        .about("Finds memories by words and by nearness, best first, within a token budget.")
        .takes(&[
            Field::new("query", Shape::Text(Longest::Input)),
            Field::new("limit", Shape::Integer(1, Most::Page)).optional(),
            Field::count("max_tokens").optional(),
        ])
        .gives(
            200,
            &[
                Field::list("results", FOUND),
                Field::word("search_mode", &["hybrid_vector", "bm25"]),
                Field::count("total_tokens"),
            ],
        ),
    ]
}

const FOUND: &[Field] = &[
    Field::text("id"),
    Field::text("type"),
    Field::text("content"),
    Field::free("metadata"),
    PRIORITY,
    Field::text("created_at"),
    Field::number("score"),
    Field::word("source", &["bm25", "vector", "both"]),
    Field::count("tokens"),
];

async fn search(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let config = svc.config();
    let fields = call.fields()?;
    let query = fields.text("query", config.limits.input_chars)?.to_owned();
    let page = i64::try_from(config.limits.page_size).unwrap_or(i64::MAX);
    let limit = within(fields.optional_integer("limit")?, "limit", 1..=page)?;
    let limit = limit.unwrap_or(config.memory.limit);
    let budget = within(
        fields.optional_integer("max_tokens")?,
        "max_tokens",
        0..=i64::MAX,
    )?;
    let reach = (limit * CANDIDATES).max(LEAST_CANDIDATES);
    let near = nearest(svc, call, &query, reach).await;
    let mode = if near.is_some() {
        "hybrid_vector"
    } else {
        "bm25"
    };
    let read = svc.store.read(move |sql| {
        let words = by_words(sql, &query, reach)?;
        rows(sql, fuse(&words, &near.unwrap_or_default()), limit)
    });
    let hits = read.await.map_err(|error| Refusal::store(&error))?;
    let (results, total) = within_budget(hits, budget);
    let body = json!({"results": results, "search_mode": mode, "total_tokens": total});
    Ok(Reply::ok(&call.correlation_id, body))
}

fn within(
    given: Option<i64>,
    name: &str,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<Option<usize>, Refusal> {
    match given {
        None => Ok(None),
        Some(number) if bounds.contains(&number) => {
            Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
        }
        Some(_) => {
            let (least, most) = (bounds.start(), bounds.end());
            let message = format!("{name}: expected {least} to {most}");
            Err(Refusal::schema(message))
        }
    }
}

/// What is near the query; nothing at all, when it has no vector.
async fn nearest(
    svc: &Arc<Service>,
    call: &Call,
    query: &str,
    reach: usize,
) -> Option<Vec<(String, f64)>> {
    let wanted = Wanted {
        purpose: Purpose::Search,
        text: query.to_owned(),
        correlation_id: call.correlation_id.clone(),
    };
    let vector = (svc.parts.embedder)(svc.clone(), wanted).await?;
    let mut near = svc.shared.memory()?.nearest(&vector, reach);
    let least = svc.config().memory.min_similarity;
    near.retain(|(_, nearness)| *nearness >= least);
    Some(near)
}

/// The memories that hold a word of the query, best first, and how well they fit (less is better).
fn by_words(sql: &Connection, query: &str, reach: usize) -> rusqlite::Result<Vec<(String, f64)>> {
    let words = query.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(|word| format!("\"{word}\""))
        .collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    sql.prepare_cached(
        "SELECT m.id, bm25(memories_fts) AS fit FROM memories_fts
         JOIN memories m ON m.seq = memories_fts.rowid
         WHERE memories_fts MATCH ?1 ORDER BY fit, m.seq LIMIT ?2",
    )?
    .query_map(
        params![words.join(" OR "), i64::try_from(reach).unwrap_or(i64::MAX)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?
    .collect()
}

/// A memory that was found, and how.
#[derive(Debug, Default, PartialEq)]
struct Hit {
    score: f64,
    words: bool,
    near: bool,
}

/// Reciprocal rank fusion. Equal ones share a rank, so that what is the same twice scores the same.
fn fuse(words: &[(String, f64)], near: &[(String, f64)]) -> BTreeMap<String, Hit> {
    let mut hits: BTreeMap<String, Hit> = BTreeMap::new();
    for (list, by_words) in [(words, true), (near, false)] {
        let mut rank = 0;
        for (place, (id, fit)) in list.iter().enumerate() {
            if place == 0 || list[place - 1].1 != *fit {
                rank = place + 1;
            }
            let hit = hits.entry(id.clone()).or_default();
            hit.score += 1.0 / (RANK_DAMPING + rank as f64);
            hit.words |= by_words;
            hit.near |= !by_words;
        }
    }
    hits
}

/// The best hits as they are shown, and what each costs.
fn rows(
    sql: &Connection,
    hits: BTreeMap<String, Hit>,
    limit: usize,
) -> rusqlite::Result<Vec<(Value, usize)>> {
    let mut found = Vec::new();
    let mut statement = sql.prepare_cached(
        "SELECT id, type, content, metadata, priority, created_at_us, seq FROM memories
         WHERE id = ?1",
    )?;
    for (id, hit) in hits {
        let row = statement
            .query_row([&id], |row| Ok((shown(row)?, row.get::<_, i64>(6)?)))
            .optional()?;
        // The index may be ahead of this look by what was deleted in between.
        if let Some((memory, seq)) = row {
            found.push((hit, seq, memory));
        }
    }
    found.sort_by(|(one, a, _), (two, b, _)| two.score.total_cmp(&one.score).then(a.cmp(b)));
    found.truncate(limit);
    let shown = |(hit, _, mut memory): (Hit, i64, Value)| {
        let cost = tokens(memory["content"].as_str().unwrap_or_default());
        memory["score"] = json!(hit.score);
        memory["source"] = json!(match (hit.words, hit.near) {
            (true, true) => "both",
            (true, false) => "bm25",
            _ => "vector",
        });
        memory["tokens"] = json!(cost);
        (memory, cost)
    };
    Ok(found.into_iter().map(shown).collect())
}

/// The estimate of the contract: four characters a token.
fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(4)
}

/// As many from the front as fit, but always one.
fn within_budget(hits: Vec<(Value, usize)>, budget: Option<usize>) -> (Vec<Value>, usize) {
    let (mut results, mut total) = (Vec::new(), 0);
    for (memory, cost) in hits {
        let over = budget.is_some_and(|budget| total + cost > budget);
        if over && !results.is_empty() {
            break;
        }
        total += cost;
        results.push(memory);
    }
    (results, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_as_the_contract_says() {
        let text = include_str!("../../../fixtures/contract/memory.json");
        let contract: Value = serde_json::from_str(text).unwrap();
        for row in contract["tokens"].as_array().unwrap() {
            let text = row["text"].as_str().unwrap();
            assert_eq!(json!(tokens(text)), row["tokens"], "{text}");
        }
    }

    #[test]
    fn equal_fits_share_a_rank_and_what_both_find_is_best() {
        let list = |ids: &[(&str, f64)]| -> Vec<(String, f64)> {
            ids.iter()
                .map(|(id, fit)| ((*id).to_owned(), *fit))
                .collect()
        };
        let hits = fuse(
            &list(&[("a", -2.0), ("b", -2.0), ("c", -1.0)]),
            &list(&[("d", 0.9), ("c", 0.8)]),
        );
        assert_eq!(hits["a"].score, hits["b"].score);
        assert_eq!(hits["c"].score, 1.0 / 63.0 + 1.0 / 62.0);
        assert_eq!((hits["d"].words, hits["d"].near), (false, true));
    }

    #[test]
    fn the_budget_cuts_from_the_end_and_leaves_one() {
        let hits = || vec![(json!(1), 5), (json!(2), 3), (json!(3), 1)];
        let kept = |budget| within_budget(hits(), budget).0.len();
        assert_eq!(
            [kept(Some(0)), kept(Some(5)), kept(Some(7)), kept(Some(8))],
            [1, 1, 1, 2]
        );
        assert_eq!((kept(Some(9)), kept(None)), (3, 3));
    }
}
