//! Crash rounds: acknowledged operations, KILLs, and how long the target took to be back.

use maud::{Markup, html};
use serde_json::Value;

use super::svg::{Scale, frame, wide};

/// The gate whose evidence this is.
pub(super) const GATE: &str = "restart-ordering-strict";

const WIDTH: f64 = 760.0;
const LEFT: f64 = 8.0;

struct Kill {
    signal_us: f64,
    ready_us: f64,
    style: String,
}

pub(super) fn picture(seen: &Value) -> Option<Markup> {
    let lanes = seen["lanes"].as_array()?;
    let drawn: Vec<Markup> = lanes
        .iter()
        .enumerate()
        .filter_map(|(place, lane)| chart(place, lane))
        .collect();
    (!drawn.is_empty()).then(|| {
        html! {
            p { "A tick is an operation: from its request to its answer; red is the time from a KILL to \
                readiness. After each the target's state is what was acknowledged." }
            @for chart in drawn { (chart) }
        }
    })
}

fn chart(place: usize, lane: &Value) -> Option<Markup> {
    let ops: Vec<(f64, Option<f64>)> = lane["ops"]
        .as_array()?
        .iter()
        .filter_map(|op| Some((op["invoked_us"].as_f64()?, op["returned_us"].as_f64())))
        .collect();
    let kills: Vec<Kill> = lane["kills"]
        .as_array()?
        .iter()
        .filter_map(|kill| {
            Some(Kill {
                signal_us: kill["signal_us"].as_f64()?,
                ready_us: kill["ready_us"].as_f64()?,
                style: kill["style"].as_str().unwrap_or_default().replace('_', " "),
            })
        })
        .collect();
    let from = ops.first()?.0;
    let last = ops.iter().filter_map(|op| op.1).fold(from, f64::max);
    let to = kills.iter().map(|kill| kill.ready_us).fold(last, f64::max);
    let x = Scale::new((from, to), (LEFT, WIDTH - 8.0));
    let open = ops.iter().filter(|op| op.1.is_none()).count();
    let told = format!(
        "{} operations, {} of them without an answer, {} KILLs",
        ops.len(),
        open,
        kills.len()
    );
    let inside = html! {
        @for kill in &kills {
            rect.down x=(x.at(kill.signal_us)) y="4" width=(wide(x.at(kill.signal_us), x.at(kill.ready_us)))
                height="44" { title { "KILL, " (kill.style) } }
        }
        @for (invoked, returned) in &ops {
            rect class=(if returned.is_some() { "op" } else { "open" }) x=(x.at(*invoked)) y="16"
                width=(wide(x.at(*invoked), x.at(returned.unwrap_or(*invoked)))) height="20" {}
        }
        text.tick x=(LEFT) y="62" { "0" }
        text.tick x=(WIDTH - 8.0) y="62" text-anchor="end" { (format!("{:.1} s", (to - from) / 1e6)) }
    };
    Some(html! {
        h3 { "Target " (place) ": " (told) }
        (frame(&format!("crash-{place}"), &format!("Crash rounds of target {place}"), &told, (WIDTH, 68.0), &inside))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_and_kills_are_drawn() {
        let lane = json!({
            "ops": [{"invoked_us": 1000, "returned_us": 2000}, {"invoked_us": 3000, "returned_us": null}],
            "kills": [{"signal_us": 3500, "ready_us": 9000, "style": "in_flight"}],
        });
        let drawn = picture(&json!({"lanes": [lane]})).unwrap().into_string();
        assert!(drawn.contains("2 operations, 1 of them without an answer, 1 KILLs"));
        assert_eq!(drawn.matches("<rect class=\"down\"").count(), 1);
        assert!(drawn.contains("KILL, in flight"));
    }
}
