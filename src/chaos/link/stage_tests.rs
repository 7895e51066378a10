//! Each toxic without sockets, in a time that stands still until it is told to go on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::roster::Entry;
use super::stage::{Next, Parcel, Stage, What};
use super::toxic::{Per, Stream, Toxic, ToxicKind};
use crate::base::Seed;

const LONG: Duration = Duration::from_secs(3_600 * 24);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn toxic(kind: ToxicKind) -> Toxic {
    Toxic::new(kind, Stream::Upstream)
}

fn entry(toxic: Toxic) -> Arc<Entry> {
    Arc::new(Entry { id: 1, toxic })
}

/// A stage, and the moment when it began.
struct Bench {
    stage: Stage,
    start: Instant,
}

impl Bench {
    fn of(toxic: Toxic, seed: u64) -> Self {
        let start = Instant::now();
        let stage = Stage::new(entry(toxic), Seed(seed), start);
        Self { stage, start }
    }

    fn new(kind: ToxicKind) -> Self {
        Self::of(toxic(kind), 1)
    }

    fn parcel(&self, at_ms: u64, request: u64, what: What) -> Parcel {
        Parcel {
            came: self.start + ms(at_ms),
            request,
            what,
        }
    }

    fn bytes(&mut self, at_ms: u64, text: &'static str) {
        self.request(at_ms, 1, text);
    }

    fn request(&mut self, at_ms: u64, request: u64, text: &'static str) {
        let what = What::Bytes(Bytes::from_static(text.as_bytes()));
        self.stage.put(self.parcel(at_ms, request, what));
    }

    fn end(&mut self, at_ms: u64) {
        self.stage.put(self.parcel(at_ms, 1, What::End));
    }

    /// What it gives until then: microseconds after the start, and what.
    fn gives(&mut self, until: Duration) -> Vec<(u128, String)> {
        let now = self.start + until;
        let mut given = Vec::new();
        while let Next::Parcel(parcel) = self.stage.next(now) {
            let text = match parcel.what {
                What::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                other => format!("{other:?}"),
            };
            given.push(((parcel.came - self.start).as_micros(), text));
        }
        given
    }

    fn texts(&mut self) -> Vec<String> {
        self.gives(LONG).into_iter().map(|(_, text)| text).collect()
    }
}

#[track_caller]
fn check(got: Vec<(u128, String)>, expected: &[(u128, &str)]) {
    let got: Vec<(u128, &str)> = got.iter().map(|(at, text)| (*at, text.as_str())).collect();
    assert_eq!(got, expected);
}

fn latency(latency_ms: u64, jitter_ms: u64) -> ToxicKind {
    ToxicKind::Latency {
        latency_ms,
        jitter_ms,
    }
}

#[test]
fn latency_does_not_serialize_and_nothing_overtakes() {
    let mut bench = Bench::new(latency(50, 0));
    bench.bytes(0, "a");
    bench.bytes(1, "b");
    bench.bytes(2, "c");
    let first = bench.start + ms(50);
    assert!(matches!(bench.stage.next(bench.start + ms(49)), Next::At(at) if at == first));
    // 50 ms after each came, not 50 ms after one another.
    check(bench.gives(ms(51)), &[(50_000, "a"), (51_000, "b")]);
    bench.stage.follow(entry(toxic(latency(0, 0))));
    bench.end(3);
    check(bench.gives(ms(51)), &[]);
    check(bench.gives(ms(52)), &[(52_000, "c"), (52_000, "End")]);
}

#[test]
fn a_latency_holds_many_chunks_and_then_no_more() {
    let mut bench = Bench::new(latency(50, 0));
    let mut count = 0;
    while bench.stage.room() {
        bench.bytes(0, "a");
        count += 1;
    }
    assert_eq!(count, 1024);
    assert_eq!(bench.texts().len(), 1024);
    assert!(bench.stage.room());
}

#[test]
fn jitter_stays_within_its_bounds_and_comes_from_the_seed() {
    let draws = |seed| {
        let mut bench = Bench::of(toxic(latency(5, 10)), seed);
        for second in 0..500 {
            bench.bytes(second * 1_000, "a");
        }
        let given = bench.gives(LONG).into_iter().enumerate();
        given
            .map(|(second, (at, _))| at - second as u128 * 1_000_000)
            .collect::<Vec<_>>()
    };
    let first = draws(1);
    assert_eq!(first, draws(1));
    assert_ne!(first, draws(2));
    assert!(first.iter().all(|us| *us <= 15_000));
    assert!(first.iter().any(|us| *us > 13_000));
    assert!(first.iter().any(|us| *us < 2_000));
}

#[test]
fn bandwidth_gives_a_tick_at_a_time_and_meets_the_rate_when_timers_are_late() {
    // 1 KB a second is a byte a millisecond.
    let mut bench = Bench::new(ToxicKind::Bandwidth { rate_kb_s: 1 });
    let text: &str = Box::leak("x".repeat(250).into_boxed_str());
    bench.bytes(0, text);
    assert!(!bench.stage.room());
    let given = bench.gives(ms(249));
    let sizes: Vec<(u128, usize)> = given.iter().map(|(at, text)| (*at, text.len())).collect();
    assert_eq!(sizes, [(100_000, 100), (200_000, 100)]);
    check(bench.gives(ms(250)), &[(250_000, &text[..50])]);
    // It came 3 ms late because a timer did, and began when the one before was through.
    bench.bytes(253, "12345");
    // This one came after a pause.
    bench.bytes(1_000, "12345");
    bench.end(1_000);
    check(
        bench.gives(LONG),
        &[(255_000, "12345"), (1_005_000, "12345"), (1_005_000, "End")],
    );
}

#[test]
fn bandwidth_of_nothing_passes_nothing_until_it_is_raised() {
    let mut bench = Bench::new(ToxicKind::Bandwidth { rate_kb_s: 0 });
    bench.bytes(0, "abcd");
    bench.end(0);
    check(bench.gives(LONG), &[]);
    let raised = entry(toxic(ToxicKind::Bandwidth { rate_kb_s: 2 }));
    bench.stage.update(raised, bench.start + ms(10));
    check(bench.gives(LONG), &[(12_000, "abcd"), (12_000, "End")]);
}

#[test]
fn a_slicer_cuts_where_the_seed_says_however_the_bytes_came() {
    let kind = ToxicKind::Slicer {
        average_bytes: 4,
        variation_bytes: 2,
        delay_us: 10,
    };
    let text = "the quick brown fox jumps over the lazy dog, and again, and again";
    let cuts = |seed, chunks: &[&'static str]| {
        let mut bench = Bench::of(toxic(kind), seed);
        for chunk in chunks {
            bench.bytes(0, chunk);
        }
        let given = bench.texts();
        assert_eq!(given.concat(), text);
        let mut at = 0;
        let ends = given.iter().map(|piece| {
            at += piece.len();
            at
        });
        ends.collect::<Vec<usize>>()
    };
    let whole = cuts(1, &[text]);
    let inner = whole.windows(2).map(|pair| pair[1] - pair[0]);
    let lengths: Vec<usize> = inner.take(whole.len() - 2).collect();
    assert!(
        lengths.iter().all(|length| (2..=6).contains(length)),
        "{lengths:?}"
    );
    assert!(
        lengths.iter().any(|length| *length != lengths[0]),
        "{lengths:?}"
    );
    assert_eq!(whole, cuts(1, &[text]));
    assert_ne!(whole, cuts(2, &[text]));
    let parts = cuts(1, &[&text[..17], &text[17..]]);
    for cut in whole {
        assert!(parts.contains(&cut), "no cut at {cut}: {parts:?}");
    }
}

#[test]
fn a_slicer_waits_after_each_piece() {
    let mut bench = Bench::new(ToxicKind::Slicer {
        average_bytes: 2,
        variation_bytes: 0,
        delay_us: 1_500,
    });
    bench.bytes(0, "abcde");
    bench.end(0);
    check(
        bench.gives(LONG),
        &[(0, "ab"), (1_500, "cd"), (3_000, "e"), (4_500, "End")],
    );
}

#[test]
fn limit_data_passes_just_so_many_bytes_and_closes() {
    let mut bench = Bench::new(ToxicKind::LimitData { bytes: 5 });
    bench.bytes(0, "abc");
    bench.bytes(1, "defg");
    bench.bytes(2, "h");
    assert!(!bench.stage.room());
    check(
        bench.gives(LONG),
        &[(0, "abc"), (1_000, "de"), (1_000, "Close")],
    );
    let mut none = Bench::new(ToxicKind::LimitData { bytes: 0 });
    check(none.gives(LONG), &[]);
    none.bytes(7, "abc");
    check(none.gives(LONG), &[(7_000, "Close")]);
    let mut less = Bench::new(ToxicKind::LimitData { bytes: 5 });
    less.bytes(0, "abc");
    less.end(1);
    check(less.gives(LONG), &[(0, "abc"), (1_000, "End")]);
    // Lowered below what passed, the next chunk closes.
    less.stage
        .update(entry(toxic(ToxicKind::LimitData { bytes: 2 })), less.start);
    less.bytes(2, "x");
    check(less.gives(LONG), &[(2_000, "Close")]);
}

#[test]
fn a_timeout_loses_what_comes_and_closes_when_nothing_came_for_so_long() {
    let mut bench = Bench::new(ToxicKind::Timeout { timeout_ms: 100 });
    bench.bytes(60, "a");
    check(bench.gives(ms(159)), &[]);
    check(bench.gives(ms(160)), &[(160_000, "Close")]);
    assert!(!bench.stage.room());
    let mut silent = Bench::new(ToxicKind::Timeout { timeout_ms: 100 });
    check(silent.gives(LONG), &[(100_000, "Close")]);
    let mut forever = Bench::new(ToxicKind::Timeout { timeout_ms: 0 });
    forever.bytes(0, "a");
    check(forever.gives(LONG), &[]);
    let released = forever.stage.release(forever.start);
    assert_eq!(released.len(), 1, "a connection that lost bytes is closed");
    assert_eq!(released[0].what, What::Close);
    let spared = Bench::of(
        toxic(ToxicKind::Timeout { timeout_ms: 0 }).with_toxicity(0.0, Per::Connection),
        1,
    );
    assert!(spared.stage.release(spared.start).is_empty());
}

#[test]
fn reset_peer_resets_so_long_after_the_first_chunk() {
    let mut bench = Bench::new(ToxicKind::ResetPeer { timeout_ms: 30 });
    assert_eq!(bench.stage.resets_at(), None);
    bench.bytes(5, "a");
    bench.bytes(20, "b");
    check(bench.gives(LONG), &[]);
    assert_eq!(bench.stage.resets_at(), Some(bench.start + ms(35)));
    let later = entry(toxic(ToxicKind::ResetPeer { timeout_ms: 300 }));
    bench.stage.update(later, bench.start + ms(21));
    assert_eq!(bench.stage.resets_at(), Some(bench.start + ms(305)));
    let released = bench.stage.release(bench.start + ms(22)).into_iter();
    let held: Vec<What> = released.map(|parcel| parcel.what).collect();
    let bytes = |text: &'static str| What::Bytes(Bytes::from_static(text.as_bytes()));
    assert_eq!(
        held,
        [bytes("a"), bytes("b")],
        "taken away in time, nothing is lost"
    );
}

#[test]
fn slow_close_delays_the_end_and_nothing_else() {
    let mut bench = Bench::new(ToxicKind::SlowClose { delay_ms: 80 });
    bench.bytes(1, "a");
    check(bench.gives(ms(1)), &[(1_000, "a")]);
    bench.end(2);
    check(bench.gives(ms(81)), &[]);
    check(bench.gives(ms(82)), &[(82_000, "End")]);
}

#[test]
fn an_update_gives_what_is_under_way_the_time_that_it_would_have_had() {
    let mut bench = Bench::new(latency(3_600_000, 0));
    bench.bytes(0, "a");
    bench.bytes(40, "b");
    bench
        .stage
        .update(entry(toxic(latency(50, 0))), bench.start + ms(45));
    check(bench.gives(LONG), &[(50_000, "a"), (90_000, "b")]);
    // The link's own delay is otherwise: it keeps its word.
    let mut bench = Bench::new(latency(3_600_000, 0));
    bench.bytes(0, "a");
    bench.stage.follow(entry(toxic(latency(50, 0))));
    check(bench.gives(ms(100)), &[]);
}

#[test]
fn a_toxicity_strikes_its_share_of_connections_and_raising_it_spares_none_it_struck() {
    let struck = |toxicity: f32| {
        let strikes = |seed| {
            let toxic = toxic(latency(10, 0)).with_toxicity(toxicity, Per::Connection);
            let mut bench = Bench::of(toxic, seed);
            bench.bytes(0, "a");
            bench.bytes(20, "b");
            let given = bench.gives(LONG);
            let late = (given[0].0 == 10_000, given[1].0 == 30_000);
            assert_eq!(late.0, late.1, "once for the connection");
            late.0
        };
        (0..1_000)
            .filter(|seed| strikes(*seed))
            .collect::<Vec<u64>>()
    };
    assert_eq!(struck(0.0).len(), 0);
    assert_eq!(struck(1.0).len(), 1_000);
    let (some, more) = (struck(0.3), struck(0.6));
    assert!((240..=360).contains(&some.len()), "{}", some.len());
    assert!((540..=660).contains(&more.len()), "{}", more.len());
    assert!(some.iter().all(|seed| more.contains(seed)));
    assert_eq!(some, struck(0.3));
}

#[test]
fn a_toxicity_per_request_is_drawn_anew_for_each() {
    let struck = |seed| {
        let toxic = toxic(latency(10, 0)).with_toxicity(0.5, Per::Request);
        let mut bench = Bench::of(toxic, seed);
        for request in 0..400 {
            bench.request(request * 100, request, "a");
            bench.request(request * 100 + 20, request, "b");
        }
        let given = bench.gives(LONG);
        let late = given.iter().map(|(at, _)| *at % 20_000 != 0);
        let late: Vec<bool> = late.collect();
        let pairs = late.chunks(2).map(|pair| {
            assert_eq!(pair[0], pair[1], "all of a request or nothing");
            pair[0]
        });
        pairs.collect::<Vec<bool>>()
    };
    let first = struck(1);
    let count = first.iter().filter(|late| **late).count();
    assert!((150..=250).contains(&count), "{count} of 400");
    assert_eq!(first, struck(1));
    assert_ne!(first, struck(2));
}
