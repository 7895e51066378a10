//! A file on disk and made-up times: nothing here waits.

use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;

use super::*;

/// The `slo` key of a file, with one threshold.
fn file(p95: u64) -> String {
    json!({"slo": {"breach_windows": 2, "thresholds": {"total": {"p95": p95}}}}).to_string()
}

struct Desk {
    _dir: tempfile::TempDir,
    path: PathBuf,
    live: Arc<LiveConfig>,
    follower: Follower,
    events: Arc<Mutex<Vec<(&'static str, Value)>>>,
    /// Whether the store takes events.
    open: Arc<Mutex<bool>>,
    now: Duration,
}

impl Desk {
    fn new() -> Self {
        Self::refusing(Arc::new(|_| None))
    }

    fn refusing(refused: Refused) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, file(100)).unwrap();
        let live = Arc::new(LiveConfig::load(&path, Arc::new(|value| value)).unwrap());
        let (events, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(true)));
        let (written, taking) = (Arc::clone(&events), Arc::clone(&open));
        let announce: Announce = Arc::new(move |kind, data| {
            let taken = *taking.lock().unwrap();
            if taken {
                written.lock().unwrap().push((kind, data));
            }
            let answer = taken.then_some(()).ok_or_else(|| "locked".to_owned());
            Box::pin(std::future::ready(answer))
        });
        let follower = Follower::new(Arc::clone(&live), refused, announce);
        Self {
            _dir: dir,
            path,
            live,
            follower,
            events,
            open,
            now: Duration::ZERO,
        }
    }

    /// Puts this into the file and looks until it has stayed for long enough.
    async fn put(&mut self, text: impl AsRef<[u8]>) {
        std::fs::write(&self.path, text).unwrap();
        self.settle().await;
    }

    async fn settle(&mut self) {
        self.follower.look(self.now).await;
        self.now += QUIET;
        assert_eq!(self.follower.look(self.now).await, None);
        self.now += QUIET;
    }

    /// Threshold, N and generation in force.
    fn in_force(&self) -> (f64, u64, u64) {
        let (config, generation) = self.live.generation();
        let p95 = config.slo.thresholds["total"].p95.unwrap().0;
        (p95, config.slo.breach_windows, generation)
    }

    fn kinds(&self) -> Vec<&'static str> {
        let events = self.events.lock().unwrap();
        events.iter().map(|(kind, _)| *kind).collect()
    }

    fn last(&self) -> Value {
        self.events.lock().unwrap().last().unwrap().1.clone()
    }
}

#[tokio::test]
async fn another_slo_is_in_force_after_the_quiet_time_and_not_before() {
    let mut desk = Desk::new();
    assert_eq!(desk.follower.look(desk.now).await, None);
    std::fs::write(&desk.path, file(200)).unwrap();
    assert_eq!(desk.follower.look(desk.now).await, Some(QUIET));
    assert_eq!(desk.in_force(), (100.0, 2, 1));
    assert_eq!(desk.follower.look(desk.now + QUIET).await, None);
    assert_eq!(desk.in_force(), (200.0, 2, 2));
    assert_eq!(desk.kinds(), ["slo.config.applied"]);
    let wanted = json!({"config_generation": 2, "sha256": sha256(file(200).as_bytes())});
    assert_eq!(desk.last(), wanted);
}

#[tokio::test]
async fn each_broken_content_is_told_once_and_changes_nothing() {
    let mut desk = Desk::new();
    let whole = file(300);
    let broken = [
        (String::new(), "config"),
        (whole[..whole.len() / 2].to_owned(), "config"),
        (whole[..whole.len() - 1].to_owned(), "config"),
        (json!({"slo": {"treshold": 1}}).to_string(), "slo.treshold"),
        (json!({"slow": {}}).to_string(), "slow"),
        (
            json!({"slo": {"breach_windows": 0}}).to_string(),
            "slo.breach_windows",
        ),
        (
            json!({"slo": {"breach_windows": "3"}}).to_string(),
            "slo.breach_windows",
        ),
        (
            json!({"slo": {"window_ms": -1}}).to_string(),
            "slo.window_ms",
        ),
        (
            json!({"slo": {"thresholds": {"total": {"p95": 2, "p99": 1}}}}).to_string(),
            "slo.thresholds.total.p99",
        ),
    ];
    for (number, (text, path)) in broken.iter().enumerate() {
        desk.put(text).await;
        assert_eq!(desk.kinds().len(), number + 1, "{text}");
        let event = desk.last();
        assert_eq!(event["path"], *path, "{event}");
        assert_eq!(event["sha256"], sha256(text.as_bytes()));
        assert_eq!(event["config_generation"], 1);
        assert!(!event["message"].as_str().unwrap().is_empty());
        assert_eq!(desk.in_force(), (100.0, 2, 1), "{text}");
    }
    // In any order, and with good ones in between: nobody hears of them again.
    desk.put(file(100)).await;
    for (text, _) in broken.iter().rev() {
        desk.put(text).await;
    }
    assert_eq!(desk.kinds().len(), broken.len());
    desk.put(file(400)).await;
    assert_eq!(desk.in_force(), (400.0, 2, 2));
}

#[tokio::test]
async fn bytes_that_are_no_text_and_too_many_of_them_are_refused() {
    let mut desk = Desk::new();
    desk.put([0xff, 0xfe]).await;
    assert!(
        desk.last()["message"]
            .as_str()
            .unwrap()
            .starts_with("not UTF-8")
    );
    desk.put(vec![b' '; (1 << 20) + 1]).await;
    assert!(
        desk.last()["message"]
            .as_str()
            .unwrap()
            .starts_with("larger than")
    );
    assert_eq!(desk.in_force(), (100.0, 2, 1));
}

#[tokio::test]
async fn going_back_is_a_change_like_any_other_and_the_same_again_is_none() {
    let mut desk = Desk::new();
    desk.put(file(200)).await;
    desk.put(file(100)).await;
    assert_eq!(desk.in_force(), (100.0, 2, 3));
    // Written another way it means the same.
    desk.put(format!("{}\n", file(100))).await;
    assert_eq!(desk.in_force(), (100.0, 2, 3));
    assert_eq!(desk.kinds(), ["slo.config.applied"; 2]);
}

#[tokio::test]
async fn a_file_that_is_deleted_leaves_what_is_in_force_and_may_come_back() {
    let mut desk = Desk::new();
    std::fs::remove_file(&desk.path).unwrap();
    desk.settle().await;
    std::fs::create_dir(&desk.path).unwrap();
    desk.settle().await;
    assert_eq!(desk.in_force(), (100.0, 2, 1));
    assert!(desk.kinds().is_empty());
    std::fs::remove_dir(&desk.path).unwrap();
    desk.put(file(200)).await;
    assert_eq!(desk.in_force(), (200.0, 2, 2));
}

#[tokio::test]
async fn other_keys_wait_for_a_start_and_slo_does_not_wait_for_them() {
    let mut desk = Desk::new();
    let mut text: Value = serde_json::from_str(&file(200)).unwrap();
    text["sessions"] = json!({"ttl_ms": 5});
    let read = desk.live.read(text.to_string().as_bytes()).unwrap();
    assert_eq!(desk.live.waiting(&read), ["sessions"]);
    let ttl_ms = desk.live.current().sessions.ttl_ms;
    desk.put(text.to_string()).await;
    assert_eq!(desk.in_force(), (200.0, 2, 2));
    assert_eq!(desk.live.current().sessions.ttl_ms, ttl_ms);
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_written_when_it_takes_it() {
    let mut desk = Desk::new();
    *desk.open.lock().unwrap() = false;
    desk.put("{").await;
    desk.put(file(200)).await;
    assert!(desk.kinds().is_empty());
    assert_eq!(desk.in_force(), (200.0, 2, 2));
    *desk.open.lock().unwrap() = true;
    desk.follower.look(desk.now).await;
    assert_eq!(desk.kinds(), ["slo.config.rejected", "slo.config.applied"]);
}

#[tokio::test]
async fn who_has_an_answer_to_a_refused_file_is_asked() {
    let mut desk = Desk::refusing(Arc::new(|slo| {
        Some(Slo {
            breach_windows: 9,
            ..slo.clone()
        })
    }));
    desk.put("{").await;
    assert_eq!(desk.in_force(), (100.0, 9, 2));
    assert_eq!(desk.kinds(), ["slo.config.rejected"]);
}

#[tokio::test]
async fn without_a_watch_and_with_one_a_change_is_found() {
    for watched in [true, false] {
        let desk = Desk::new();
        let bell = Arc::new(Notify::new());
        let eyes = match watched {
            true => watch(&desk.path, Arc::clone(&bell)),
            false => Err(notify::Error::generic("no more watches")),
        };
        let (live, path) = (Arc::clone(&desk.live), desk.path.clone());
        let Desk { follower, _dir, .. } = desk;
        let ring = Arc::clone(&bell);
        let task = tokio::spawn(async move { follower.run(eyes, &ring).await });
        // As an editor does it: another file takes the name.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, file(200)).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while live.generation().1 == 1 {
            assert!(Instant::now() < end, "watched: {watched}");
            tokio::task::yield_now().await;
        }
        task.abort();
    }
}

#[test]
fn what_was_told_is_forgotten_only_when_there_is_too_much_of_it() {
    let mut told = Told::default();
    assert!(told.first("a"));
    assert!(!told.first("a"));
    for number in 0..REMEMBERED {
        assert!(told.first(&number.to_string()));
    }
    assert!(told.first("a"));
    assert_eq!(told.known.len(), REMEMBERED);
}

#[test]
fn events_have_the_fields_of_the_contract() {
    let fixture = include_str!("../../../fixtures/contract/events.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let fields = |kind: &str| {
        let samples = fixture["events"].as_array().unwrap();
        let sample = samples
            .iter()
            .find(|sample| sample["type"] == kind)
            .unwrap();
        sample["data"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for (text, kind) in [
            ("{".to_owned(), "slo.config.rejected"),
            (file(7), "slo.config.applied"),
        ] {
            let mut desk = Desk::new();
            desk.put(text).await;
            assert_eq!(desk.kinds(), [kind]);
            let written: Vec<_> = desk.last().as_object().unwrap().keys().cloned().collect();
            assert_eq!(written, fields(kind));
        }
    });
}
