//! The timeline of a drill as a picture that stands by itself (SVG): each step over the time it took,
//! and, where SLO windows closed, their percentiles, what was injected, and when the target was
//! degraded. It shows what was recorded, and says nothing of what it means.

use maud::{Markup, html};

use super::record::{Record, Step};
use super::told::held_ms;
use crate::chaos::degrade::{Change, Step as Seen, Timeline};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 940.0;
const TOP: f64 = 44.0;
/// A step's row.
const ROW: f64 = 20.0;
/// Where windows are drawn.
const CHART: f64 = 180.0;
/// Letters of a step's name that fit.
const NAME: usize = 44;

/// The picture.
#[must_use]
pub fn svg(title: &str, record: &Record) -> String {
    let steps = rows(record);
    let windows = windows(&record.line);
    let height_of_steps = TOP + ROW * steps.len() as f64 + 30.0;
    let height = match windows.is_empty() {
        true => height_of_steps,
        false => height_of_steps + CHART + 60.0,
    };
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) }
            width=(WIDTH) height=(height) role="img" font-family="sans-serif" font-size="12" {
            title { (title) }
            rect x="0" y="0" width=(WIDTH) height=(height) fill="#ffffff" {}
            text x="16" y="24" font-size="15" fill="#222222" { (title) }
            (gantt(&steps))
            @if !windows.is_empty() { (chart(&windows, height_of_steps + 20.0)) }
        }
    };
    picture.into_string()
}

/// A step, and the row's colour.
struct Row<'a> {
    step: &'a Step,
    of: &'static str,
    from_s: f64,
    to_s: f64,
}

fn rows(record: &Record) -> Vec<Row<'_>> {
    let before = record.before.iter().flat_map(|one| &one.probes);
    let during = record.during.iter().flat_map(|one| &one.probes);
    let after = record.after.iter().flat_map(|one| &one.probes);
    let all = before
        .map(|step| ("hypothesis", step))
        .chain(record.run.iter().map(|step| ("method", step)))
        .chain(during.map(|step| ("hypothesis", step)))
        .chain(after.map(|step| ("hypothesis", step)))
        .chain(record.rollbacks.iter().map(|step| ("rollback", step)));
    let mut rows: Vec<Row<'_>> = all
        .filter_map(|(of, step)| {
            let from_s = seconds(&step.start)?;
            Some(Row {
                step,
                of,
                from_s,
                to_s: from_s + step.duration,
            })
        })
        .collect();
    rows.sort_by(|one, other| one.from_s.total_cmp(&other.from_s));
    rows
}

/// Since 1970.
fn seconds(time: &str) -> Option<f64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_microsecond() as f64 / 1e6)
}

/// From a range of values to a range of places.
fn place(value: f64, (least, most): (f64, f64), (from, to): (f64, f64)) -> f64 {
    let share = (value - least) / (most - least).max(f64::EPSILON);
    let place = from + share.clamp(0.0, 1.0) * (to - from);
    (place * 10.0).round() / 10.0
}

fn gantt(rows: &[Row<'_>]) -> Markup {
    let first = rows
        .iter()
        .map(|row| row.from_s)
        .fold(f64::INFINITY, f64::min);
    let last = rows.iter().map(|row| row.to_s).fold(first, f64::max);
    let x = |at: f64| place(at, (first, last), (LEFT, RIGHT));
    let below = TOP + ROW * rows.len() as f64;
    html! {
        @for (number, row) in rows.iter().enumerate() {
            @let y = TOP + ROW * number as f64;
            @let colour = match (&row.step.failed, row.step.tolerated, row.of) {
                (Some(_), _, _) | (None, Some(false), _) => "#c0392b",
                (None, _, "hypothesis") => "#6db6fe",
                (None, _, "rollback") => "#b0b0b0",
                (None, _, _) => "#4a7c59",
            };
            text x="16" y=(y + 14.0) fill="#222222" { (short(&row.step.name)) }
            rect x=(x(row.from_s)) y=(y + 3.0) height=(ROW - 6.0) fill=(colour)
                width=((x(row.to_s) - x(row.from_s)).max(1.5)) {
                title { (row.of) " " (row.step.name) ", " (format!("{:.3} s", row.step.duration)) }
            }
        }
        line x1=(LEFT) x2=(RIGHT) y1=(below) y2=(below) stroke="#888888" {}
        text x=(LEFT) y=(below + 16.0) fill="#555555" { "0 s" }
        @if last > first {
            text x=(RIGHT) y=(below + 16.0) text-anchor="end" fill="#555555" {
                (format!("{:.1} s", last - first))
            }
        }
    }
}

fn short(name: &str) -> String {
    match name.chars().count() > NAME {
        true => name.chars().take(NAME - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// An SLO window.
struct Window {
    index: u64,
    breach: bool,
    p95_ms: f64,
    p99_ms: f64,
    injected_ms: u64,
    degraded: bool,
    /// What happened after it.
    note: Option<&'static str>,
}

fn windows(line: &Timeline) -> Vec<Window> {
    let (mut windows, mut injected_ms, mut degraded) = (Vec::<Window>::new(), 0, false);
    let note = |windows: &mut Vec<Window>, note| {
        if let Some(last) = windows.last_mut() {
            last.note = Some(note);
        }
    };
    for step in &line.steps {
        match step {
            Seen::Batch(batch) => injected_ms = held_ms(batch),
            Seen::Killed { .. } => note(&mut windows, "KILL"),
            Seen::Read(read) => {
                for event in &read.events {
                    let ms = |name: &str| event.data[name]["total"].as_f64().unwrap_or(0.0);
                    match event.kind.as_str() {
                        "slo.window" => windows.push(Window {
                            index: event.data["index"].as_u64().unwrap_or(0),
                            breach: event.data["class"] == "breach",
                            p95_ms: ms("p95"),
                            p99_ms: ms("p99"),
                            injected_ms,
                            degraded,
                            note: None,
                        }),
                        kind if kind == Change::Entered.event() => {
                            degraded = true;
                            note(&mut windows, "entered");
                        }
                        kind if kind == Change::Exited.event() => {
                            degraded = false;
                            note(&mut windows, "exited");
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    windows
}

fn chart(windows: &[Window], top: f64) -> Markup {
    let most = windows
        .iter()
        .map(|one| one.p99_ms.max(one.injected_ms as f64));
    let most = most.fold(1.0, f64::max);
    let step = (RIGHT - LEFT) / windows.len() as f64;
    let base = top + CHART;
    let y = |ms: f64| place(ms, (0.0, most), (base, top + 20.0));
    html! {
        text x="16" y=(top + 14.0) fill="#222222" { "windows: p95 (dark), p99 (light)" }
        text x="16" y=(top + 30.0) fill="#222222" { "injected (line), degraded (shaded)" }
        text x=(LEFT - 8.0) y=(top + 24.0) text-anchor="end" fill="#555555" { (format!("{most:.0} ms")) }
        text x=(LEFT - 8.0) y=(base) text-anchor="end" fill="#555555" { "0 ms" }
        @for (number, window) in windows.iter().enumerate() {
            @let x = (LEFT + step * number as f64).round();
            @let (dark, light) = if window.breach { ("#c0392b", "#e8a49c") } else { ("#4a7c59", "#a9c9b4") };
            @if window.degraded {
                rect x=(x) y=(top + 20.0) width=(step.ceil()) height=(CHART - 20.0) fill="#f4ead5" {}
            }
            rect x=(x + 2.0) y=(y(window.p99_ms)) width=((step - 4.0).max(1.0))
                height=((base - y(window.p99_ms)).max(0.5)) fill=(light) {
                title {
                    "window " (window.index) ": p95 " (format!("{:.1}", window.p95_ms)) " ms, p99 "
                    (format!("{:.1}", window.p99_ms)) " ms, injected " (window.injected_ms) " ms"
                }
            }
            rect x=(x + 2.0) y=(y(window.p95_ms)) width=((step / 2.0 - 2.0).max(1.0))
                height=((base - y(window.p95_ms)).max(0.5)) fill=(dark) {}
            line x1=(x) x2=(x + step) y1=(y(window.injected_ms as f64)) stroke-width="2"
                y2=(y(window.injected_ms as f64)) stroke="#ffaa26" {}
            @if let Some(note) = window.note {
                text x=(x + step) y=(base + 16.0) text-anchor="middle" font-size="10" fill="#222222" { (note) }
            }
        }
        line x1=(LEFT) x2=(RIGHT) y1=(base) y2=(base) stroke="#888888" {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::chaos::degrade::{Event, Read};

    fn step(name: &str, start: &str, failed: Option<&str>) -> Step {
        Step {
            name: name.to_owned(),
            activity: Value::Null,
            start: start.to_owned(),
            end: start.to_owned(),
            duration: 1.5,
            output: Value::Null,
            failed: failed.map(str::to_owned),
            aborts: false,
            unhappy: None,
            tolerated: None,
        }
    }

    fn window(index: u64, class: &str, ms: f64) -> Event {
        let total = json!({"total": ms});
        Event {
            seq: index,
            kind: "slo.window".to_owned(),
            data: json!({"index": index, "class": class, "p95": total, "p99": total}),
        }
    }

    #[test]
    fn every_step_and_window_is_in_the_picture_and_names_cannot_break_it() {
        let mut record = Record {
            run: vec![
                step("a <b> & c", "2026-11-25T10:00:00.000000+00:00", None),
                step("broken", "2026-11-25T10:00:01.500000+00:00", Some("no")),
            ],
            ..Record::default()
        };
        let without = svg("T", &record);
        assert!(
            without.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""),
            "{without}"
        );
        assert!(without.contains("a &lt;b&gt; &amp; c") && !without.contains("<b>"));
        assert!(without.contains("3.0 s") && !without.contains("window"));
        record.line.push(Seen::Read(Read {
            reads: 1,
            status: 200,
            events: vec![
                window(1, "healthy", 5.0),
                window(2, "breach", 550.0),
                Event {
                    seq: 3,
                    kind: Change::Entered.event().to_owned(),
                    data: json!({}),
                },
                window(3, "breach", 560.0),
            ],
            ..Read::default()
        }));
        let with = svg("T", &record);
        assert!(
            with.contains("window 3: p95 560.0 ms") && with.contains(">entered<"),
            "{with}"
        );
        assert_eq!(with.matches("#f4ead5").count(), 1, "one window is degraded");
    }
}
