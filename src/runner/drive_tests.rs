//! Checks that panic, hang, and leave too little: each becomes a row with its reason.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::*;
use crate::checks::Judgement;
use crate::checks::check::supervise;
use crate::model::{Model, Selection};

struct Bench {
    driver: Driver,
    gate: PlannedGate,
    dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let plan = Model::embedded()
        .unwrap()
        .plan("v4.7", &Selection::default())
        .unwrap();
    let mut gate = plan
        .gates
        .into_iter()
        .find(|gate| gate.spec.full_id() == "v4.7/B1")
        .unwrap();
    gate.spec.exercised = [("rounds".to_owned(), 2)].into();
    let driver = Driver {
        target: TargetSpec::reference(),
        binary: PathBuf::from("never-started"),
        seed: Seed(1),
        clock: Clock::start(),
        scratch: dir.path().join("scratch"),
        evidence: dir.path().join("evidence"),
        grace: Duration::from_secs(60),
        attempts: ATTEMPTS,
    };
    Bench { driver, gate, dir }
}

impl Bench {
    async fn drive(&self, check: &'static Check) -> Row {
        let (_stop, cancel) = watch::channel(false);
        self.driver.gate(&self.gate, check, cancel, |_| {}).await
    }
}

fn ran(evidence: Value) -> Ran {
    Ran {
        evidence,
        undecided: None,
    }
}

fn judge(evidence: &Value) -> Result<Judgement, String> {
    let mut judgement = Judgement {
        detail: "2 rounds".to_owned(),
        ..Judgement::default()
    };
    judgement.exercised("rounds", evidence["rounds"].as_u64().ok_or("no evidence")?);
    if evidence["winners"] == 2 {
        judgement.violation("2 winners, expected 1");
    }
    Ok(judgement)
}

static GOOD: Check = Check::made_of(|_, _| Box::pin(async { ran(json!({"rounds": 2})) }), judge);
static BAD: Check = Check::made_of(
    |_, _| Box::pin(async { ran(json!({"rounds": 0, "winners": 2})) }),
    judge,
);
static IDLE: Check = Check::made_of(|_, _| Box::pin(async { ran(json!({"rounds": 1})) }), judge);
static PANICS: Check = Check::made_of(|_, _| Box::pin(async { panic!("out of cheese") }), judge);
static HANGS: Check = Check::made_of(|_, _| Box::pin(std::future::pending()), judge);
static GARBLED: Check = Check::made_of(|_, _| Box::pin(async { ran(json!({})) }), judge);
static JUDGE_PANICS: Check = Check::made_of(
    |_, _| Box::pin(async { ran(json!({"rounds": 2})) }),
    |_| panic!("no judgement"),
);
/// Exercises enough only when it is driven again.
static SECOND_TIME: Check = Check::made_of(
    |cx, _| {
        let again = cx.dir.ends_with("2");
        Box::pin(async move { ran(json!({"rounds": if again { 2 } else { 0 }})) })
    },
    judge,
);

#[tokio::test]
async fn a_good_check_passes_and_leaves_its_evidence() {
    let bench = bench();
    let row = bench.drive(&GOOD).await;
    assert_eq!(
        (row.status, row.detail.as_str(), row.attempts.len()),
        (Status::Pass, "2 rounds", 1)
    );
    assert!(!row.interrupted);
    let file = &row.evidence[0];
    assert_eq!(file.path, "approval-race-safe/evidence.json");
    let bytes = fs::read(bench.dir.path().join("evidence").join(&file.path)).unwrap();
    assert_eq!(file.sha256, sha256_hex(&bytes));
    assert_eq!(
        serde_json::from_slice::<Value>(&bytes).unwrap(),
        json!({"rounds": 2})
    );
    assert!(!bench.driver.scratch.join("approval-race-safe/1").exists());
}

#[tokio::test]
async fn a_violation_is_never_driven_again() {
    let row = bench().drive(&BAD).await;
    assert_eq!((row.status, row.attempts.len()), (Status::Fail, 1));
    assert_eq!(row.detail, "2 winners, expected 1");
}

#[tokio::test]
async fn what_stays_open_is_driven_three_times_with_seeds_of_their_own() {
    let row = bench().drive(&IDLE).await;
    assert_eq!((row.status, row.attempts.len()), (Status::Unknown, 3));
    assert_eq!(row.detail, "rounds: exercised 1, expected 2 (attempt 3)");
    assert_ne!(row.attempts[0].seed, row.attempts[1].seed);
    assert_ne!(row.attempts[1].seed, row.attempts[2].seed);
    let row = bench().drive(&SECOND_TIME).await;
    assert_eq!((row.status, row.attempts.len()), (Status::Pass, 2));
}

#[tokio::test]
async fn a_check_or_a_judge_that_panics_is_unknown_with_the_reason() {
    for (check, reason) in [
        (&PANICS, "out of cheese"),
        (&JUDGE_PANICS, "no judgement"),
        (&GARBLED, "no evidence"),
    ] {
        let row = bench().drive(check).await;
        assert_eq!(row.status, Status::Unknown, "{}", row.detail);
        assert!(
            row.detail.contains(reason),
            "{}, expected {reason}",
            row.detail
        );
    }
}

#[tokio::test]
async fn a_check_that_hangs_past_its_deadline_is_unknown_with_the_reason() {
    let mut bench = bench();
    bench.gate.spec.deadline = Duration::from_millis(1);
    bench.driver.grace = Duration::from_millis(1);
    let row = bench.drive(&HANGS).await;
    assert_eq!((row.status, row.attempts.len()), (Status::Unknown, 3));
    assert!(row.detail.contains("the check hangs"), "{}", row.detail);
}

#[tokio::test]
async fn a_pass_without_a_place_for_its_evidence_is_unknown() {
    let bench = bench();
    fs::write(
        bench.dir.path().join("evidence"),
        "a file where a folder should be",
    )
    .unwrap();
    let row = bench.drive(&GOOD).await;
    assert_eq!(row.status, Status::Unknown);
    assert!(row.detail.contains("cannot make"), "{}", row.detail);
}

/// Set when the target of a check that hangs is let go of.
static DROPPED: AtomicBool = AtomicBool::new(false);

/// Told when that check has its target.
static HANGING: Notify = Notify::const_new();

struct Target;

impl Drop for Target {
    fn drop(&mut self) {
        DROPPED.store(true, Ordering::SeqCst);
    }
}

static HANGS_WITH_A_TARGET: Check = Check::made_of(
    |_, _| {
        Box::pin(async {
            let _target = Target;
            HANGING.notify_one();
            std::future::pending().await
        })
    },
    judge,
);

/// Told when these have recorded what they saw.
static SEEN: Notify = Notify::const_new();
static WAITING: Notify = Notify::const_new();

/// Records this, as a drive that then waits for something that does not come.
async fn waits(cx: &mut Cx, deadline: Duration, seen: Value, told: &Notify) -> Ran {
    let mut evidence = json!({"rounds": 0});
    let drive = async {
        evidence = seen;
        told.notify_one();
        std::future::pending().await
    };
    let undecided = supervise(deadline, cx.cancel.clone(), drive).await;
    Ran {
        evidence,
        undecided,
    }
}

static SEES_AND_WAITS: Check = Check::made_of(
    |cx, deadline| {
        Box::pin(waits(
            cx,
            deadline,
            json!({"rounds": 1, "winners": 2}),
            &SEEN,
        ))
    },
    judge,
);
static WAITS: Check = Check::made_of(
    |cx, deadline| Box::pin(waits(cx, deadline, json!({"rounds": 1}), &WAITING)),
    judge,
);

/// Drives it, and cuts the run short once it says that it waits.
async fn cut_short(bench: &Bench, check: &'static Check, told: &Notify) -> Row {
    let (stop, cancel) = watch::channel(false);
    let driven = bench.driver.gate(&bench.gate, check, cancel, |_| {});
    let cut = async {
        told.notified().await;
        stop.send(true).unwrap();
    };
    tokio::join!(driven, cut).0
}

#[tokio::test]
async fn what_a_drive_saw_is_judged_and_kept_when_the_run_is_cut_short() {
    let bench = bench();
    let row = cut_short(&bench, &SEES_AND_WAITS, &SEEN).await;
    assert_eq!(
        (row.status, row.detail.as_str(), row.attempts.len()),
        (Status::Fail, "2 winners, expected 1", 1)
    );
    assert!(row.interrupted);
    let bytes = fs::read(bench.driver.evidence.join(&row.evidence[0].path)).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&bytes).unwrap(),
        json!({"rounds": 1, "winners": 2})
    );
}

#[tokio::test]
async fn a_drive_that_saw_nothing_wrong_is_unknown_when_the_run_is_cut_short() {
    let bench = bench();
    let row = cut_short(&bench, &WAITS, &WAITING).await;
    assert_eq!(
        (row.status, row.detail.as_str(), row.attempts.len()),
        (Status::Unknown, "interrupted", 1)
    );
    assert!(row.interrupted);
    assert_eq!(row.undecided.len(), 2, "{:?}", row.undecided);
    assert_eq!((row.exercised["rounds"], row.evidence.len()), (1, 1));
}

#[tokio::test]
async fn a_run_that_is_cut_short_lets_go_of_its_targets_and_drives_nothing_more() {
    let mut bench = bench();
    bench.driver.grace = Duration::from_millis(1);
    let row = cut_short(&bench, &HANGS_WITH_A_TARGET, &HANGING).await;
    assert_eq!(
        (row.status, row.detail.as_str()),
        (Status::Unknown, "interrupted")
    );
    assert_eq!(row.attempts.len(), 1);
    assert!(DROPPED.load(Ordering::SeqCst));
    let (_stop, cancel) = watch::channel(true);
    let next = bench.driver.gate(&bench.gate, &GOOD, cancel, |_| {}).await;
    assert_eq!(
        (next.status, next.detail.as_str()),
        (Status::Unknown, "interrupted")
    );
    assert!(row.interrupted && next.interrupted);
    assert!(next.attempts.is_empty() && !next.driven);
}
