//! The degrade cycle: per window p95 and p99 of a turn, the threshold, the injected latency, the mode
//! and the events.

use maud::{Markup, html};
use serde_json::Value;

use super::svg::{Scale, frame, wide};

/// The gate whose evidence this is.
pub(super) const GATE: &str = "chaos-degrade-cycle";

const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const STEP: f64 = 26.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 220.0;

/// One SLO window, as the target told it, and what the harness did meanwhile.
#[derive(Clone, Debug, Default, PartialEq)]
struct Window {
    index: u64,
    class: String,
    p95_ms: f64,
    p99_ms: f64,
    /// What the harness held its turns back for.
    injected_ms: f64,
    degraded: bool,
    /// What happened after it: `entered`, `exited`, and work that was shed.
    notes: Vec<String>,
}

pub(super) fn picture(seen: &Value) -> Option<Markup> {
    let lanes = [
        ("double", "latency at the model"),
        ("wire", "latency on the wire"),
    ];
    let drawn: Vec<Markup> = lanes
        .iter()
        .filter_map(|(lane, told)| chart(lane, told, &seen[lane]))
        .collect();
    (!drawn.is_empty()).then(|| html! { @for chart in drawn { (chart) } })
}

fn windows(steps: &Value) -> (Vec<Window>, Option<f64>) {
    let (mut windows, mut threshold) = (Vec::<Window>::new(), None);
    let (mut injected, mut degraded) = (0.0, false);
    for step in steps.as_array().into_iter().flatten() {
        if step["step"] == "started" {
            threshold = step["slo"]["thresholds"]["total"]["p95"].as_f64();
        }
        if step["step"] == "batch" {
            let calls = step["model_calls"].as_array().into_iter().flatten();
            let held = calls.filter_map(|call| Some((call[1].as_f64()? - call[0].as_f64()?) / 1e3));
            let wire = step["wire_delay_ms"].as_f64().unwrap_or(0.0);
            injected = held.fold(wire, f64::max);
        }
        if step["step"] == "probe"
            && step["status"] == 503
            && let (Some(last), Some(work)) = (windows.last_mut(), step["work"].as_str())
        {
            last.notes.push(format!("{work} shed"));
        }
        for event in step["events"].as_array().into_iter().flatten() {
            let data = &event["data"];
            match event["type"].as_str() {
                Some("slo.window") => windows.push(Window {
                    index: data["index"].as_u64().unwrap_or(0),
                    class: data["class"].as_str().unwrap_or_default().to_owned(),
                    p95_ms: data["p95"]["total"].as_f64().unwrap_or(0.0),
                    p99_ms: data["p99"]["total"].as_f64().unwrap_or(0.0),
                    injected_ms: injected,
                    degraded,
                    notes: Vec::new(),
                }),
                Some(kind @ ("slo.degrade.entered" | "slo.degrade.exited")) => {
                    degraded = kind.ends_with("entered");
                    if let Some(last) = windows.last_mut() {
                        let word = kind.rsplit('.').next().unwrap_or_default();
                        last.notes.push(word.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
    (windows, threshold)
}

fn chart(lane: &str, told: &str, steps: &Value) -> Option<Markup> {
    let (windows, threshold) = windows(steps);
    if windows.is_empty() {
        return None;
    }
    let width = LEFT + STEP * windows.len() as f64 + 16.0;
    let count = |word: &str| {
        let notes = windows.iter().flat_map(|one| &one.notes);
        notes.filter(|note| *note == word).count()
    };
    let description = format!(
        "{} windows by {told}, {} entered and {} exited; the threshold is {} ms",
        windows.len(),
        count("entered"),
        count("exited"),
        threshold.unwrap_or(0.0)
    );
    let (id, title) = (format!("cycle-{lane}"), format!("Degrade cycle by {told}"));
    let inside = lines(&windows, threshold, width);
    Some(html! {
        h3 { "By " (told) }
        (frame(&id, &title, &description, (width, HEIGHT), &inside))
        p.legend {
            span.key.p95 { "p95 of a turn, ms" } span.key.p99 { "p99" }
            span.key.injected { "injected" } span.key.threshold { "threshold" }
            span.key.degraded { "degraded" } "B breach, H healthy, N neutral"
        }
        (table(&windows))
    })
}

/// What is drawn, in this width.
fn lines(windows: &[Window], threshold: Option<f64>, width: f64) -> Markup {
    let highest = windows
        .iter()
        .map(|one| one.p99_ms.max(one.injected_ms))
        .fold(threshold.unwrap_or(0.0), f64::max);
    let y = Scale::new((0.0, highest * 1.05), (BOTTOM, TOP));
    let x = |place: usize| LEFT + STEP * (place as f64 + 0.5);
    let line = |value: fn(&Window) -> f64| {
        let points = windows.iter().enumerate();
        let points: Vec<String> = points
            .map(|(place, one)| format!("{},{}", x(place), y.at(value(one))))
            .collect();
        points.join(" ")
    };
    html! {
        @for (place, one) in windows.iter().enumerate() {
            @if one.degraded {
                rect.degraded x=(x(place) - STEP / 2.0) y=(TOP) width=(STEP) height=(BOTTOM - TOP) {}
            }
            rect.injected x=(x(place) - 7.0) y=(y.at(one.injected_ms)) width="14"
                height=(wide(y.at(one.injected_ms), BOTTOM)) {}
            text.tick x=(x(place)) y=(BOTTOM + 14.0) text-anchor="middle" { (one.index) }
            text class={ "class " (one.class) } x=(x(place)) y=(BOTTOM + 28.0) text-anchor="middle" {
                (one.class.chars().next().unwrap_or(' ').to_ascii_uppercase())
            }
            @for note in one.notes.iter().filter(|note| *note == "entered" || *note == "exited") {
                line class=(note) x1=(x(place) + STEP / 2.0) x2=(x(place) + STEP / 2.0) y1=(TOP) y2=(BOTTOM) {}
            }
        }
        @for value in [0.0, highest / 2.0, highest] {
            text.tick x=(LEFT - 6.0) y=(y.at(value) + 4.0) text-anchor="end" { (format!("{value:.0}")) }
        }
        @if let Some(threshold) = threshold {
            line.threshold x1=(LEFT) x2=(width - 8.0) y1=(y.at(threshold)) y2=(y.at(threshold)) {}
        }
        polyline.p99 points=(line(|one| one.p99_ms)) {}
        polyline.p95 points=(line(|one| one.p95_ms)) {}
    }
}

/// The same for those who do not see it.
fn table(windows: &[Window]) -> Markup {
    let words = [
        "Window",
        "Class",
        "p95 ms",
        "p99 ms",
        "Injected ms",
        "Mode",
        "After it",
    ];
    html! {
        details {
            summary { "The same as a table" }
            div.scroll { table {
                thead { tr { @for word in words { th scope="col" { (word) } } } }
                tbody { @for one in windows { tr {
                    th scope="row" { (one.index) } td { (one.class) }
                    td { (format!("{:.1}", one.p95_ms)) } td { (format!("{:.1}", one.p99_ms)) }
                    td { (format!("{:.1}", one.injected_ms)) }
                    td { @if one.degraded { "degraded" } @else { "normal" } }
                    td { (one.notes.join(", ")) }
                } } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn windows_carry_what_was_injected_and_what_came_of_it() {
        let window = |index, class: &str, p95| {
            json!({"seq": 1, "type": "slo.window",
                "data": {"class": class, "index": index, "p95": {"total": p95}, "p99": {"total": p95}}})
        };
        let steps = json!([
            {"step": "started", "slo": {"thresholds": {"total": {"p95": 500}}}},
            {"step": "batch", "model_calls": [[1000, 601_000]], "wire_delay_ms": 0},
            {"step": "read", "events": [window(1, "breach", 620.0),
                {"seq": 2, "type": "slo.degrade.entered", "data": {}}]},
            {"step": "probe", "status": 503, "work": "vision_frame"},
            {"step": "batch", "model_calls": [], "wire_delay_ms": 0},
            {"step": "read", "events": [window(2, "healthy", 10.0)]},
        ]);
        let (windows, threshold) = windows(&steps);
        assert_eq!(threshold, Some(500.0));
        assert_eq!(windows[0].notes, ["entered", "vision_frame shed"]);
        let told: Vec<_> = windows
            .iter()
            .map(|one| (one.injected_ms, one.degraded))
            .collect();
        assert_eq!(told, [(600.0, false), (0.0, true)]);
        let drawn = picture(&json!({"double": steps})).unwrap().into_string();
        assert!(drawn.contains("2 windows by latency at the model, 1 entered and 0 exited"));
        assert_eq!(drawn.matches("<rect class=\"degraded\"").count(), 1);
    }
}
