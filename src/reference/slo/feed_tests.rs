//! The feed with a clock, a ledger and probes made for the test. Nothing here waits for time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Map, json};

use super::super::machine;
use super::*;

/// A ledger in memory that can refuse.
#[derive(Default)]
struct Kept {
    changes: Arc<Mutex<Vec<Change>>>,
    refuses: AtomicBool,
    /// Whose status is taken down while it writes.
    looked_at: Mutex<Option<Slo>>,
    seen: Arc<Mutex<Vec<Map<String, serde_json::Value>>>>,
}

impl Ledger for Kept {
    fn commit(&self, change: Change) -> BoxFuture<'static, Result<(), String>> {
        if self.refuses.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err("disk full".to_owned())));
        }
        if let Some(slo) = &*self.looked_at.lock().unwrap() {
            self.seen.lock().unwrap().push(slo.status());
        }
        let changes = Arc::clone(&self.changes);
        Box::pin(async move {
            // Somebody else runs first: an operation that does not wait would be seen.
            tokio::task::yield_now().await;
            changes.lock().unwrap().push(change);
            Ok(())
        })
    }
}

/// A backend that takes a while on the test's clock, fails, or never answers.
struct Backend {
    clock: Arc<Mutex<Duration>>,
    answer: Mutex<Option<Result<Duration, String>>>,
    calls: AtomicU64,
}

impl Probe for Backend {
    fn call(&self) -> BoxFuture<'static, Result<(), String>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.answer.lock().unwrap().clone() {
            None => {
                *self.clock.lock().unwrap() += Duration::from_millis(500);
                Box::pin(std::future::pending())
            }
            Some(Err(error)) => Box::pin(std::future::ready(Err(error))),
            Some(Ok(took)) => {
                *self.clock.lock().unwrap() += took;
                Box::pin(std::future::ready(Ok(())))
            }
        }
    }
}

struct Bench {
    slo: Slo,
    kept: Arc<Kept>,
    backend: Arc<Backend>,
    clock: Arc<Mutex<Duration>>,
    settings: Arc<Mutex<Arc<Settings>>>,
}

const START_US: i64 = 1_795_341_600_000_000;

fn settings(patch: &[(&str, serde_json::Value)]) -> Arc<Settings> {
    let mut slo = json!({
        "window_ms": 1000, "window_max_samples": 2, "min_samples": 2,
        "breach_windows": 2, "recover_windows": 2, "history_limit": 3,
        "thresholds": {"total": {"p95": 250, "p99": 400}},
    });
    for (key, value) in patch {
        slo[key] = value.clone();
    }
    Arc::new(super::super::settings(slo))
}

impl Bench {
    fn new(patch: &[(&str, serde_json::Value)]) -> Self {
        Self::restored(patch, Restored::default(), Duration::ZERO)
    }

    fn restored(patch: &[(&str, serde_json::Value)], from: Restored, at: Duration) -> Self {
        let clock = Arc::new(Mutex::new(at));
        let (kept, backend) = (Arc::new(Kept::default()), {
            let answer = Mutex::new(Some(Ok(Duration::from_millis(1))));
            Arc::new(Backend {
                clock: clock.clone(),
                answer,
                calls: AtomicU64::new(0),
            })
        });
        let settings = Arc::new(Mutex::new(settings(patch)));
        let (wall, ticks, current) = (clock.clone(), clock.clone(), settings.clone());
        let wiring = Wiring {
            current: Arc::new(move || (current.lock().unwrap().clone(), 1)),
            step: Arc::new(machine::step),
            samples: Arc::new(Some),
            ledger: kept.clone(),
            probe: backend.clone(),
            wall_us: Arc::new(move || START_US + wall.lock().unwrap().as_micros() as i64),
            monotonic: Arc::new(move || *ticks.lock().unwrap()),
        };
        Self {
            slo: Slo::new(wiring, from),
            kept,
            backend,
            clock,
            settings,
        }
    }

    fn pass(&self, ms: u64) {
        *self.clock.lock().unwrap() += Duration::from_millis(ms);
    }

    /// Operations one after the other, each taking this long.
    async fn traffic(&self, operations: usize, ms: u64) {
        for _ in 0..operations {
            let operation = self.slo.begin();
            self.pass(ms);
            operation.end().await;
        }
    }

    /// A whole window of slow or quick operations.
    async fn breach(&self) {
        self.traffic(2, 300).await;
    }

    async fn healthy(&self) {
        self.traffic(2, 10).await;
    }

    fn changes(&self) -> Vec<Change> {
        self.kept.changes.lock().unwrap().clone()
    }

    /// Names of all events so far.
    fn events(&self) -> Vec<&'static str> {
        let name = |event: &Event| match event {
            Event::Window {
                reason: Some(_), ..
            } => "breach",
            Event::Window { reason: None, .. } => "healthy",
            Event::Entered { .. } => "entered",
            Event::Exited { .. } => "exited",
        };
        self.changes()
            .iter()
            .flat_map(|change| change.events.iter().map(name))
            .collect()
    }

    fn kept_now(&self) -> Restored {
        let changes = self.changes();
        let last = changes.last().unwrap();
        let history = changes
            .iter()
            .filter_map(|change| change.breach.clone())
            .collect();
        Restored {
            state: last.state.clone(),
            history,
            last: Some((last.index, last.at_us)),
        }
    }
}

#[tokio::test]
async fn who_fills_a_window_returns_after_it_was_kept() {
    let bench = Bench::new(&[]);
    bench.traffic(1, 300).await;
    assert_eq!(bench.changes(), []);
    bench.traffic(1, 300).await;
    assert_eq!(bench.events(), ["breach"]);
    assert_eq!(bench.slo.mode(), Mode::Normal);
    bench.breach().await;
    assert_eq!(bench.events(), ["breach", "breach", "entered"]);
    assert_eq!(bench.slo.mode(), Mode::Degraded);
    let kept = bench.changes();
    assert_eq!(
        kept.iter().map(|change| change.index).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(kept[1].state.mode, Mode::Degraded);
}

#[tokio::test]
async fn concurrent_operations_count_each_window_once_and_in_order() {
    let bench = Arc::new(Bench::new(&[("window_max_samples", json!(3))]));
    let operations: Vec<_> = (0..30).map(|_| bench.slo.begin()).collect();
    bench.pass(10);
    let tasks: Vec<_> = operations
        .into_iter()
        .map(|each| tokio::spawn(each.end()))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let indexes: Vec<u64> = bench.changes().iter().map(|change| change.index).collect();
    assert_eq!(indexes, (1..=10).collect::<Vec<u64>>());
    assert_eq!(bench.events(), vec!["healthy"; 10]);
}

#[tokio::test]
async fn an_operation_that_is_dropped_is_a_sample_too() {
    let bench = Bench::new(&[]);
    let dropped = bench.slo.begin();
    bench.pass(300);
    drop(dropped);
    bench.traffic(1, 1).await;
    assert_eq!(bench.events(), ["breach"]);
    let discarded = bench.slo.begin();
    bench.pass(300);
    discarded.discard();
    bench.healthy().await;
    assert_eq!(bench.events(), ["breach", "healthy"]);
}

#[tokio::test]
async fn stages_are_measured_even_when_they_are_cut_short() {
    let thresholds = json!({"model": {"p95": 50}});
    let bench = Bench::new(&[("thresholds", thresholds), ("window_max_samples", json!(1))]);
    let bench = &bench;
    let operation = bench.slo.begin();
    let mut cut = Box::pin(operation.measure("model", std::future::pending::<()>()));
    tokio::select! {
        biased;
        _ = &mut cut => unreachable!("it never ends"),
        () = std::future::ready(()) => {}
    }
    bench.pass(80);
    drop(cut);
    let (answer, took) = operation.measure("tool", async { bench.pass(5) }).await;
    assert_eq!((answer, took), ((), Duration::from_millis(5)));
    operation.stage("asr", Duration::from_millis(7));
    operation.end().await;
    let changes = bench.changes();
    let breach = changes[0].breach.as_ref();
    assert!(breach.is_none(), "one sample is fewer than min_samples");
    bench.slo.settle().await;
    *bench.settings.lock().unwrap() = settings(&[("min_samples", json!(1))]);
    // The open window keeps what it was opened with; the one after it has the new settings.
    bench.traffic(1, 300).await;
    assert_eq!(bench.events(), Vec::<&str>::new());
    bench.breach().await;
    assert_eq!(bench.events(), ["breach"]);
}

#[tokio::test]
async fn what_hangs_counts_with_its_age() {
    let bench = Bench::new(&[
        ("window_max_samples", json!(0)),
        ("breach_windows", json!(1)),
    ]);
    let hanging = [bench.slo.begin(), bench.slo.begin()];
    bench.pass(399);
    bench.slo.tick().await;
    assert_eq!(bench.slo.status()["window"]["index"], 1, "not due yet");
    bench.pass(601);
    bench.slo.tick().await;
    assert_eq!(bench.events(), ["breach", "entered"]);
    let metrics = bench.changes()[0].breach.clone().unwrap();
    assert_eq!((metrics.samples, metrics.p99["total"].round()), (2, 1000.0));
    drop(hanging);
}

#[tokio::test]
async fn a_stage_that_hangs_counts_and_one_that_has_ended_does_not() {
    let thresholds = json!({"model": {"p99": 400}});
    let patch = [("thresholds", thresholds), ("window_max_samples", json!(0))];
    for (hangs, class) in [(true, "breach"), (false, "healthy")] {
        let bench = Bench::new(&patch);
        let operation = bench.slo.begin();
        let mut stage = Box::pin(operation.measure("model", async {
            if hangs {
                std::future::pending::<()>().await;
            }
        }));
        tokio::select! {
            biased;
            _ = &mut stage => {}
            () = std::future::ready(()) => {}
        }
        bench.traffic(2, 10).await;
        bench.pass(1000);
        bench.slo.tick().await;
        assert_eq!(bench.events(), [class]);
    }
}

#[tokio::test]
async fn what_hangs_needs_no_probes_to_be_counted() {
    let bench = Bench::new(&[]);
    bench.breach().await;
    bench.breach().await;
    let _hanging = [bench.slo.begin(), bench.slo.begin()];
    bench.pass(1000);
    bench.slo.tick().await;
    assert_eq!(bench.events().last(), Some(&"breach"));
    assert_eq!(bench.backend.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_neutral_window_closes_silently() {
    let bench = Bench::new(&[]);
    bench.pass(1000);
    bench.slo.tick().await;
    assert_eq!(bench.changes(), [], "an idle service writes nothing");
    bench.traffic(1, 300).await;
    bench.pass(1000);
    bench.slo.tick().await;
    assert_eq!(bench.events(), Vec::<&str>::new());
    assert_eq!(bench.slo.status()["window"]["index"], 3);
    assert_eq!(
        bench.backend.calls.load(Ordering::Relaxed),
        0,
        "no probes while normal"
    );
}

#[tokio::test]
async fn probes_end_a_degradation_without_clients() {
    let bench = Bench::new(&[]);
    bench.breach().await;
    bench.breach().await;
    for mode in [Mode::Recovering, Mode::Normal] {
        bench.pass(1000);
        bench.slo.tick().await;
        assert_eq!(bench.slo.mode(), mode);
    }
    assert_eq!(
        bench.events(),
        [
            "breach", "breach", "entered", "healthy", "healthy", "exited"
        ]
    );
    assert_eq!(bench.backend.calls.load(Ordering::Relaxed), 4);
    // Two breached and two filled ones; the probes close theirs, and the ticker not another.
    assert_eq!(bench.slo.status()["window"]["index"], 5);
}

#[tokio::test]
async fn probes_fill_only_what_is_missing() {
    let bench = Bench::new(&[("min_samples", json!(3)), ("window_max_samples", json!(3))]);
    bench.traffic(6, 300).await;
    assert_eq!(bench.slo.mode(), Mode::Degraded);
    bench.traffic(1, 10).await;
    bench.pass(1000);
    bench.slo.tick().await;
    assert_eq!(bench.slo.mode(), Mode::Recovering);
    assert_eq!(bench.backend.calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn without_probes_neutral_windows_never_end_it() {
    let bench = Bench::new(&[("self_probe", json!(false))]);
    bench.breach().await;
    bench.breach().await;
    for _ in 0..20 {
        bench.traffic(1, 1).await;
        bench.pass(1000);
        bench.slo.tick().await;
    }
    assert_eq!(bench.slo.mode(), Mode::Degraded);
    bench.healthy().await;
    bench.healthy().await;
    assert_eq!(bench.slo.mode(), Mode::Normal);
}

#[tokio::test]
async fn a_probe_that_fails_is_no_sample() {
    let bench = Bench::new(&[]);
    bench.breach().await;
    bench.breach().await;
    *bench.backend.answer.lock().unwrap() = Some(Err("connection refused".into()));
    for _ in 0..5 {
        bench.pass(1000);
        bench.slo.tick().await;
    }
    assert_eq!(bench.slo.mode(), Mode::Degraded);
    assert_eq!(bench.events(), ["breach", "breach", "entered"]);
}

#[tokio::test]
async fn a_probe_that_is_slow_or_hangs_is_a_breach() {
    // Small limits, so that patience with the one that hangs ends soon.
    let thresholds = json!({"total": {"p95": 1, "p99": 2}});
    let bench = Bench::new(&[("thresholds", thresholds), ("window_ms", json!(3))]);
    bench.breach().await;
    bench.breach().await;
    for answer in [Some(Ok(Duration::from_millis(5))), None] {
        *bench.backend.answer.lock().unwrap() = answer;
        let before = bench.events().len();
        bench.pass(1000);
        bench.slo.tick().await;
        assert_eq!(bench.events()[before..], ["breach"]);
    }
    assert_eq!(bench.slo.mode(), Mode::Degraded);
}

#[tokio::test]
async fn only_what_the_config_names_is_shed_and_only_while_not_normal() {
    let bench = Bench::new(&[("shed", json!(["vision_frame"]))]);
    let slo = &bench.slo;
    assert!(!slo.refuses("vision_frame"));
    bench.breach().await;
    bench.breach().await;
    assert!(slo.refuses("vision_frame"));
    assert!(!slo.refuses("memory_write_low"));
    assert!(!slo.refuses("turn"));
    bench.healthy().await;
    assert!(slo.refuses("vision_frame"), "still shed while recovering");
    bench.healthy().await;
    assert!(!slo.refuses("vision_frame"));
    assert_eq!(
        slo.status()["shed"],
        json!({"vision_frame": 2, "memory_write_low": 0})
    );
}

#[tokio::test]
async fn a_window_that_cannot_be_kept_waits() {
    let bench = Bench::new(&[]);
    bench.kept.refuses.store(true, Ordering::Relaxed);
    bench.breach().await;
    bench.breach().await;
    assert_eq!((bench.slo.mode(), bench.changes().len()), (Mode::Normal, 0));
    bench.kept.refuses.store(false, Ordering::Relaxed);
    bench.slo.tick().await;
    assert_eq!(bench.slo.mode(), Mode::Degraded);
    assert_eq!(bench.events(), ["breach", "breach", "entered"]);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let bench = Bench::new(&[("recover_windows", json!(3))]);
    bench.breach().await;
    bench.breach().await;
    bench.healthy().await;
    bench.healthy().await;
    let kept = bench.kept_now();
    let at = *bench.clock.lock().unwrap() + Duration::from_millis(2_500);
    let again = Bench::restored(&[("recover_windows", json!(3))], kept, at);
    assert_eq!(again.slo.mode(), Mode::Recovering);
    // Two empty windows can have been shown since; their numbers do not come again.
    assert_eq!(again.slo.status()["window"]["index"], 7);
    assert_eq!(
        again.slo.status()["breach_history"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    again.healthy().await;
    assert_eq!(again.events(), ["healthy", "exited"]);
    let Some(Event::Exited { time_in_degrade }) = again.changes()[0].events.last().cloned() else {
        panic!("{:?}", again.changes());
    };
    // Entry at 1.2 s, two healthy windows of 20 ms, 2.5 s away, one more window.
    assert!((time_in_degrade - 2.56).abs() < 1e-6, "{time_in_degrade}");
}

#[tokio::test]
async fn the_status_is_true_at_every_moment() {
    let bench = Bench::new(&[("window_max_samples", json!(2))]);
    let status = bench.slo.status();
    assert_eq!(
        (&status["current_mode"], &status["degrade_reason"]),
        (&json!("normal"), &json!(null))
    );
    assert_eq!(
        (&status["time_in_degrade"], &status["clear_to_recover"]),
        (&json!(0.0), &json!(false))
    );
    for _ in 0..5 {
        bench.breach().await;
    }
    let status = bench.slo.status();
    assert_eq!(status["current_mode"], "degraded");
    assert_eq!(status["consecutive_breach"], 5);
    assert_eq!(status["clear_to_recover"], false);
    let at = status["time_in_degrade"].as_f64().unwrap();
    bench.pass(1_500);
    let later = bench.slo.status()["time_in_degrade"].as_f64().unwrap();
    assert!((later - at - 1.5).abs() < 1e-6, "{at} and {later}");
    // Bounded, newest last.
    let indexes: Vec<_> = status["breach_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["index"].clone())
        .collect();
    assert_eq!(indexes, [3, 4, 5]);
    assert_eq!(bench.slo.feed.applied(|applied| applied.history.len()), 3);
    bench.healthy().await;
    assert_eq!(bench.slo.status()["current_mode"], "recovering");
    assert_eq!(bench.slo.status()["clear_to_recover"], true);
    bench.breach().await;
    assert_eq!(bench.slo.status()["clear_to_recover"], false);
    bench.healthy().await;
    bench.healthy().await;
    let status = bench.slo.status();
    assert_eq!(
        (&status["current_mode"], &status["clear_to_recover"]),
        (&json!("normal"), &json!(false))
    );
    assert_eq!(
        (&status["time_in_degrade"], &status["degrade_reason"]),
        (&json!(0.0), &json!(null))
    );
}

#[tokio::test]
async fn the_status_shows_mode_and_window_of_one_moment() {
    let bench = Bench::new(&[("breach_windows", json!(1))]);
    *bench.kept.looked_at.lock().unwrap() = Some(bench.slo.clone());
    bench.breach().await;
    let during = bench.kept.seen.lock().unwrap().remove(0);
    let shown = |status: &Map<String, serde_json::Value>| {
        (
            status["current_mode"].clone(),
            status["window"]["index"].clone(),
            status["window"]["samples"].clone(),
        )
    };
    assert_eq!(shown(&during), (json!("normal"), json!(1), json!(2)));
    assert_eq!(
        shown(&bench.slo.status()),
        (json!("degraded"), json!(2), json!(0))
    );
}

#[tokio::test]
async fn the_status_has_the_fields_of_the_contract() {
    let sample = include_str!("../../../fixtures/contract/samples/slo-status.json");
    let sample: serde_json::Value = serde_json::from_str(sample).unwrap();
    let body = sample["answer"]["body"].as_object().unwrap();
    let bench = Bench::new(&[]);
    bench.breach().await;
    bench.breach().await;
    let status = bench.slo.status();
    let envelope = ["ok", "correlation_id"];
    let wanted: Vec<_> = body
        .keys()
        .filter(|key| !envelope.contains(&key.as_str()))
        .collect();
    assert_eq!(status.keys().collect::<Vec<_>>().len(), wanted.len());
    for key in wanted {
        let kind = |value: &serde_json::Value| std::mem::discriminant(value);
        assert_eq!(kind(&status[key]), kind(&body[key]), "{key}");
    }
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    for key in ["window", "shed"] {
        assert_eq!(keys(&status[key]), keys(&body[key]));
    }
    assert_eq!(
        keys(&status["breach_history"][0]),
        keys(&body["breach_history"][0])
    );
    assert_eq!(
        status["breach_history"][0]["ts"],
        "2026-11-22T10:00:00.600000Z"
    );
}
