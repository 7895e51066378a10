//! The machine against rows written by hand, and against a slow oracle that scans the whole
//! sequence of windows instead of keeping a state.

use proptest::prelude::*;

use super::super::window::Percentiles;
use super::*;

fn settings(breach_windows: u64, recover_windows: u64) -> Settings {
    let slo = serde_json::json!({
        "breach_windows": breach_windows,
        "recover_windows": recover_windows,
        "min_samples": 5,
        "thresholds": {"total": {"p95": 250, "p99": 400}, "model": {"p95": 300}},
    });
    super::super::settings(slo)
}

/// One window a second: B breached, H healthy, anything else neutral.
fn window(position: usize, class: char) -> Closed {
    let (samples, ms) = match class {
        'B' => (5, 322.0),
        'H' => (5, 20.0),
        _ => (4, 999.0),
    };
    let stages = BTreeMap::from([("total".to_owned(), Percentiles { p95: ms, p99: ms })]);
    Closed {
        index: position as u64 + 1,
        at_us: (position as i64 + 1) * 1_000_000,
        samples,
        stages,
    }
}

/// The modes after each window, and the positions of `entered` and `exited`.
fn drive(pattern: &str, settings: &Settings) -> (Vec<Mode>, Vec<usize>, Vec<usize>) {
    let mut state = State::default();
    let (mut modes, mut entered, mut exited) = (Vec::new(), Vec::new(), Vec::new());
    for (position, class) in pattern.chars().enumerate() {
        let (next, events) = step(&state, &window(position, class), settings);
        for event in events {
            match event {
                Event::Window { .. } => {}
                Event::Entered { .. } => entered.push(position),
                Event::Exited { .. } => exited.push(position),
            }
        }
        state = next;
        modes.push(state.mode);
        assert_eq!(state.degraded.is_some(), state.mode != Mode::Normal);
    }
    (modes, entered, exited)
}

/// The same by definition: look for N breaches in a row, then for M healthy ones in a row.
fn oracle(pattern: &str, n: usize, m: usize) -> (Vec<Mode>, Vec<usize>, Vec<usize>) {
    let counted: Vec<(usize, char)> = pattern
        .char_indices()
        .filter(|(_, class)| "BH".contains(*class))
        .collect();
    let ends_row = |class: char, length: usize, from: usize, end: usize| {
        end + 1 >= from + length
            && counted[end + 1 - length..=end]
                .iter()
                .all(|(_, seen)| *seen == class)
    };
    let (mut entered, mut exited) = (Vec::new(), Vec::new());
    let mut from = 0;
    while let Some(entry) = (from..counted.len()).find(|end| ends_row('B', n, from, *end)) {
        entered.push(counted[entry].0);
        from = entry + 1;
        let Some(exit) = (from..counted.len()).find(|end| ends_row('H', m, from, *end)) else {
            break;
        };
        exited.push(counted[exit].0);
        from = exit + 1;
    }
    let modes = (0..pattern.len()).map(|now| {
        let past = |edges: &[usize]| edges.iter().filter(|edge| **edge <= now).count();
        let last = counted.iter().rev().find(|(position, _)| *position <= now);
        match (past(&entered) > past(&exited), last) {
            (true, Some((_, 'H'))) => Mode::Recovering,
            (true, _) => Mode::Degraded,
            (false, _) => Mode::Normal,
        }
    });
    (modes.collect(), entered, exited)
}

#[test]
fn only_consecutive_breaches_enter() {
    let none: Vec<usize> = Vec::new();
    for (pattern, entered) in [
        ("BB", none.clone()),
        ("BBH", none.clone()),
        ("BBHBBHBBH", none.clone()),
        ("BBB", vec![2]),
        ("BBBBBB", vec![2]),
        ("BB.B", vec![3]),
        ("BB....", none),
    ] {
        assert_eq!(drive(pattern, &settings(3, 5)).1, entered, "{pattern}");
    }
}

#[test]
fn only_consecutive_healthy_windows_exit() {
    let none: Vec<usize> = Vec::new();
    for (pattern, exited) in [
        ("BBBHHHH", none.clone()),
        ("BBBHHHHBHHHH", none.clone()),
        ("BBBHHHHBHHHHH", vec![12]),
        ("BBBHHHHH", vec![7]),
        ("BBBHH..HHH", vec![9]),
        ("BBB.......", none),
    ] {
        let (modes, entered, seen) = drive(pattern, &settings(3, 5));
        assert_eq!((entered, seen), (vec![2], exited), "{pattern}: {modes:?}");
    }
}

#[test]
fn modes_are_named_by_the_last_counted_window() {
    use Mode::{Degraded, Normal, Recovering};
    let (modes, ..) = drive("BBH.B.HH", &settings(2, 2));
    let want = [
        Normal, Degraded, Recovering, Recovering, Degraded, Degraded, Recovering, Normal,
    ];
    assert_eq!(modes, want);
    // With M = 1 the first healthy window ends it at once.
    assert_eq!(drive("BBH", &settings(2, 1)).0, [Normal, Degraded, Normal]);
}

#[test]
fn entry_names_the_limit_and_carries_its_windows() {
    let settings = settings(2, 1);
    let mut state = State::default();
    let mut last = Vec::new();
    for (position, class) in "BHBB".chars().enumerate() {
        (state, last) = step(&state, &window(position, class), &settings);
    }
    let Some(Event::Entered { reason, windows }) = last.get(1) else {
        panic!("{last:?}")
    };
    assert_eq!(reason, "total p95 322 ms > 250 ms");
    assert_eq!(
        windows
            .iter()
            .map(|window| window.index)
            .collect::<Vec<_>>(),
        [3, 4]
    );
    assert!(windows.iter().all(|window| window.class == Class::Breach));
    assert_eq!(state.degraded.as_ref().map(|d| d.since_us), Some(4_000_000));
    assert_eq!(time_in_degrade(&state, 6_500_000), 2.5);
    let (state, events) = step(&state, &window(6, 'H'), &settings);
    assert_eq!(
        events.last(),
        Some(&Event::Exited {
            time_in_degrade: 3.0
        })
    );
    assert_eq!(time_in_degrade(&state, 9_000_000), 0.0);
}

#[test]
fn each_limit_alone_breaches_and_being_at_it_does_not() {
    let settings = settings(1, 1);
    let class = |stage: &str, p95: f64, p99: f64| {
        let stages = BTreeMap::from([(stage.to_owned(), Percentiles { p95, p99 })]);
        let closed = Closed {
            index: 1,
            at_us: 0,
            samples: 5,
            stages,
        };
        step(&State::default(), &closed, &settings).0.mode
    };
    assert_eq!(class("total", 250.0, 400.0), Mode::Normal);
    assert_eq!(class("total", 250.1, 400.0), Mode::Degraded);
    assert_eq!(class("total", 250.0, 400.1), Mode::Degraded);
    assert_eq!(class("model", 300.0, 9_999.0), Mode::Normal);
    assert_eq!(class("model", 300.1, 300.1), Mode::Degraded);
    assert_eq!(class("tts", 9_999.0, 9_999.0), Mode::Normal);
}

#[test]
fn a_changed_n_keeps_the_count() {
    let mut state = State::default();
    for position in 0..3 {
        state = step(&state, &window(position, 'B'), &settings(9, 5)).0;
    }
    assert_eq!((state.mode, state.consecutive_breach), (Mode::Normal, 3));
    let (state, events) = step(&state, &window(3, 'B'), &settings(4, 5));
    assert_eq!(state.mode, Mode::Degraded);
    assert!(matches!(&events[1], Event::Entered { windows, .. } if windows.len() == 4));
}

#[test]
fn a_clock_set_back_gives_no_negative_time() {
    let degraded = Degraded {
        since_us: 5_000_000,
        reason: String::new(),
    };
    let state = State {
        mode: Mode::Degraded,
        degraded: Some(degraded),
        ..State::default()
    };
    assert_eq!(time_in_degrade(&state, 1_000_000), 0.0);
}

proptest! {
    #[test]
    fn it_does_what_the_definition_says(
        pattern in "[BBHH.]{0,80}", n in 1..5usize, m in 1..6usize,
    ) {
        let got = drive(&pattern, &settings(n as u64, m as u64));
        prop_assert_eq!(got, oracle(&pattern, n, m));
    }

    #[test]
    fn counters_are_the_length_of_the_last_row(pattern in "[BH.]{1,60}", n in 1..5u64, m in 1..6u64) {
        let settings = settings(n, m);
        let mut state = State::default();
        for (position, class) in pattern.chars().enumerate() {
            let before = state.clone();
            let events;
            (state, events) = step(&state, &window(position, class), &settings);
            prop_assert_eq!(events.is_empty(), class == '.');
            prop_assert!(class != '.' || state == before);
        }
        let counted: Vec<char> = pattern.chars().filter(|class| *class != '.').collect();
        let row = |of: char| counted.iter().rev().take_while(|class| **class == of).count() as u64;
        prop_assert_eq!(state.consecutive_breach, row('B'));
        prop_assert_eq!(state.consecutive_healthy, row('H'));
    }
}
