//! Lines of what was recorded by hand.

use serde_json::json;

use super::*;
use crate::chaos::approvals::round::Run;
use crate::chaos::approvals::{Minted, Route, Shown, marked};
use crate::chaos::degrade::{Event, Read, Turn};
use crate::chaos::drill::acts::Book;

fn seen<'a>(line: &'a Timeline, rounds: &'a [Round], lanes: &'a [Lane]) -> Seen<'a> {
    static NOTHING: std::sync::LazyLock<Book> = std::sync::LazyLock::new(Book::default);
    Seen {
        line,
        rounds,
        lanes,
        book: &NOTHING,
    }
}

#[test]
fn a_burst_is_a_line_with_what_was_acknowledged_and_what_was_read() {
    let sent = |status: u16| {
        let sent = json!({
            "service": "memory-engine", "method": "POST", "path": "/store", "actor": null,
            "role": null, "id": "cor_1", "invoked_us": 1,
            "returned_us": (status != 0).then_some(2), "status": status,
        });
        serde_json::from_value(sent).unwrap()
    };
    let burst = Burst {
        writes: vec![sent(201), sent(201), sent(0)],
        killed: true,
        reads: vec![sent(200), sent(404)],
    };
    let line = burst_line((0, &burst));
    assert_eq!(
        line.text,
        "  1  in mid-burst  2 acknowledged before, 1 in flight  1 read after it"
    );
}

fn batch(held_ms: u64) -> Step {
    let turn = Turn {
        invoked_us: 0,
        returned_us: Some(held_ms * 1000 + 5000),
        status: 200,
        code: String::new(),
    };
    Step::Batch(Batch {
        turns: vec![turn; 5],
        model_calls: vec![(1000, 1000 + held_ms * 1000); 5],
        ..Batch::default()
    })
}

fn read(events: &[(&str, Value)]) -> Step {
    let event = |(kind, data): &(&str, Value)| Event {
        seq: 1,
        kind: (*kind).to_owned(),
        data: data.clone(),
    };
    Step::Read(Read {
        reads: 1,
        status: 200,
        events: events.iter().map(event).collect(),
        ..Read::default()
    })
}

fn window(index: u64, class: &str, ms: f64) -> (&'static str, Value) {
    let total = json!({"total": ms});
    let data = json!({"index": index, "class": class, "samples": 5, "p95": total, "p99": total});
    ("slo.window", data)
}

#[test]
fn a_window_is_a_line_with_the_latency_the_mode_and_the_counts() {
    let mut line = Timeline::default();
    let mut teller = Teller::default();
    line.push(batch(550));
    line.push(read(&[]));
    assert_eq!(teller.lines(&seen(&line, &[], &[])), []);
    // The same read goes on, and finds something.
    let entered = (
        "slo.degrade.entered",
        json!({"reason": "total p95 555 ms > 500 ms"}),
    );
    line.push(read(&[window(1, "breach", 555.0), entered]));
    let lines = teller.lines(&seen(&line, &[], &[]));
    assert_eq!(
        lines[0].text,
        "  1  injected  550 ms  p95   555.0 ms  p99   555.0 ms  5 samples  breach   normal      1 \
         breached, 0 healthy in a row"
    );
    assert_eq!(
        (lines[1].verb, lines[1].text.as_str()),
        ("Entered", "total p95 555 ms > 500 ms")
    );
    line.push(batch(1));
    line.push(read(&[window(2, "healthy", 3.0)]));
    let lines = teller.lines(&seen(&line, &[], &[]));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].text.contains("injected    0 ms"), "{lines:?}");
    assert!(
        lines[0].text.contains("recovering  0 breached, 1 healthy"),
        "{lines:?}"
    );
}

#[test]
fn a_race_is_a_line_with_racers_winner_conflicts_and_executions() {
    let args = marked("m-1");
    let asked = |verb: Verb, status: u16| Asked {
        verb,
        actor: "op-1".to_owned(),
        fence: Shown::Nothing,
        invoked_us: 100,
        returned_us: Some(200),
        status,
        code: String::new(),
        verdict: "approved".to_owned(),
        decided_by: "op-1".to_owned(),
        execution: "succeeded".to_owned(),
    };
    let round = Round {
        decision: Minted {
            route: Route::EvaOs,
            id: "apr_1".to_owned(),
            fence: 7,
            args: args.clone(),
            minted_us: 0,
            shown_us: 0,
        },
        tool_ms: 0,
        race: vec![asked(Verb::Approve, 200), asked(Verb::Deny, 409)],
        repeats: Vec::new(),
        runs: Some(vec![Run {
            at_us: 150,
            tool: "file.write".to_owned(),
            args,
        }]),
    };
    let mut teller = Teller::default();
    let lines = teller.lines(&seen(
        &Timeline::default(),
        std::slice::from_ref(&round),
        &[],
    ));
    assert_eq!(
        lines[0].text,
        "  1  eva-os          2 racers (1 to approve)  approved by op-1  1 conflicts  1 executions  \
         1 overlapping pairs"
    );
    let again = teller.lines(&seen(&Timeline::default(), &[round], &[]));
    assert_eq!(again, []);
}

#[test]
fn a_kill_that_met_nobody_says_so() {
    let lane = Lane {
        kills: vec![Kill {
            moment: crate::chaos::crash::Moment::Committed,
            reached_us: None,
            locked: None,
            killed_us: 1_000,
            ready_us: Some(201_000),
        }],
        ..Lane::default()
    };
    let lines = Teller::default().lines(&seen(&Timeline::default(), &[], &[lane]));
    assert_eq!(
        lines[0].text,
        "  1  committed   0 in flight, 0 cut  0 acknowledged before, 0 came back  0 of the cut \
         answered from the store, 0 second effects  ready after 200 ms"
    );
}
