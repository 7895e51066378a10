//! Races: who asked when for one decision, and who won.

use maud::{Markup, html};
use serde_json::Value;

use super::svg::{Scale, frame, wide};
use crate::chaos::approvals::asked::Asked;
use crate::chaos::approvals::round::Round;
use crate::chaos::overlapping_pairs;

/// The gate whose evidence this is.
pub(super) const GATE: &str = "approval-race-safe";

const LEFT: f64 = 190.0;
const WIDTH: f64 = 760.0;
const ROW: f64 = 14.0;
/// Rounds with more racers are counted, and not drawn.
const RACERS: usize = 24;

pub(super) fn picture(seen: &Value) -> Option<Markup> {
    let rounds: Vec<Round> = serde_json::from_value(seen["rounds"].clone()).ok()?;
    let raced: Vec<&Round> = rounds
        .iter()
        .filter(|round| !round.race.is_empty())
        .collect();
    if raced.is_empty() {
        return None;
    }
    let mut routes: Vec<String> = raced
        .iter()
        .map(|round| round.decision.route.to_string())
        .collect();
    routes.sort();
    routes.dedup();
    let widest = |route: &String| {
        let fit = raced.iter().filter(|round| {
            round.decision.route.to_string() == *route && round.race.len() <= RACERS
        });
        fit.max_by_key(|round| round.race.len()).copied()
    };
    let requests: usize = raced.iter().map(|round| round.race.len()).sum();
    Some(html! {
        p { (raced.len()) " rounds, " (requests) " requests. Of each route the round with the most racers \
            that fits is drawn: a bar from the request to its answer." }
        @for (place, round) in routes.iter().filter_map(widest).enumerate() {
            (chart(place, round))
        }
    })
}

fn chart(place: usize, round: &Round) -> Markup {
    let (route, id) = (round.decision.route.to_string(), &round.decision.id);
    let mut race: Vec<&Asked> = round.race.iter().collect();
    race.sort_by_key(|asked| asked.invoked_us);
    let end = |asked: &Asked| asked.returned_us.unwrap_or(asked.invoked_us);
    let from = race.first().map_or(0, |asked| asked.invoked_us);
    let to = race.iter().map(|asked| end(asked)).max().unwrap_or(from);
    let x = Scale::new((0.0, (to - from) as f64), (LEFT, WIDTH - 8.0));
    let at = |us: u64| x.at(us.saturating_sub(from) as f64);
    let spans = race.iter().map(|asked| (asked.invoked_us, end(asked)));
    let pairs = overlapping_pairs(&spans.collect::<Vec<_>>());
    let won = race.iter().filter(|asked| asked.won()).count();
    let height = ROW * race.len() as f64 + 24.0;
    let inside = html! {
        @for (row, asked) in race.iter().enumerate() {
            @let y = ROW * row as f64 + 4.0;
            text.tick x=(LEFT - 6.0) y=(y + 9.0) text-anchor="end" {
                (asked.verb.verdict()) " by " (asked.actor) ": " (asked.status)
            }
            rect class=(if asked.won() { "won" } else { "lost" }) x=(at(asked.invoked_us)) y=(y)
                width=(wide(at(asked.invoked_us), at(end(asked)))) height=(ROW - 4.0) {
                title { (asked.status) " " (asked.code) }
            }
        }
        text.tick x=(LEFT) y=(height - 6.0) { "0" }
        text.tick x=(WIDTH - 8.0) y=(height - 6.0) text-anchor="end" {
            (format!("{:.1} ms", (to - from) as f64 / 1e3))
        }
    };
    let told = format!(
        "{} requests, {pairs} overlapping pairs, {won} won",
        race.len()
    );
    html! {
        h3 { (route) " " code { (id) } ": " (told) }
        (frame(&format!("race-{place}"), &format!("A race on {route}"), &told, (WIDTH, height), &inside))
    }
}
