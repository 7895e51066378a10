//! Drives that end early in every way: what they recorded is judged all the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use tokio::sync::watch;

use super::{Check, Ran};
use crate::base::{Clock, Seed};
use crate::checks::{CHECKS, Cancel, Cx, CxParts, find};
use crate::model::target_spec::{TargetKind, TargetSpec};
use crate::target::Launcher;

/// How a drive ends is told by the first argument of the fake target.
mod fake {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use crate::checks::{Cx, Judgement, Undecided};
    use crate::model::target_spec::TargetKind;

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Evidence {
        seen: u64,
    }

    pub(super) fn judge(seen: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        judgement.exercised("seen", seen.seen);
        judgement
    }

    pub(super) async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
        seen.seen = 7;
        let TargetKind::Embedded { args } = cx.launcher.spec.kind.clone() else {
            return Ok(());
        };
        match args[0].as_str() {
            "panic" => panic!("an invariant of {}", "the check"),
            "hang" => std::future::pending().await,
            "undecided" => Err(Undecided("no disk".to_owned())),
            "start" => cx.start(json!({})).await.map(drop),
            "wait" => {
                let never = || std::future::ready(None::<()>);
                cx.until("rain", std::time::Duration::from_millis(10), never)
                    .await
            }
            _ => Ok(()),
        }
    }
}

const FAKE: Check = check!("fake", "src/checks/check_tests.rs", fake);

async fn run(how: &str, refuse: bool) -> Ran {
    let (_stop, cancel) = watch::channel(false);
    run_until(how, refuse, cancel).await
}

async fn run_until(how: &str, refuse: bool, cancel: Cancel) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/target/fake.sh");
    let binary = if refuse { "/bin/false" } else { script };
    let spec = TargetSpec {
        name: "fake".to_owned(),
        kind: TargetKind::Embedded {
            args: vec![how.to_owned()],
        },
    };
    let parts = CxParts {
        seed: Seed(1),
        clock: Clock::start(),
        launcher: Launcher {
            binary: PathBuf::from(binary),
            spec,
        },
        dir: dir.path().join("work"),
        evidence_dir: dir.path().join("evidence"),
        minimum: BTreeMap::new(),
        cancel,
    };
    let mut cx = Cx::open(parts).await.unwrap();
    FAKE.run(&mut cx, Duration::from_millis(500)).await
}

#[tokio::test]
async fn what_was_recorded_survives_every_early_end() {
    for (how, why) in [
        (
            "panic",
            Some("the check panicked: an invariant of the check"),
        ),
        ("hang", Some("not done within its deadline of 0.5 s")),
        ("undecided", Some("no disk")),
        ("wait", Some("no rain within 10 ms")),
        ("start", None),
        ("none", None),
    ] {
        let ran = run(how, false).await;
        assert_eq!(ran.undecided.as_deref(), why, "{how}");
        let judgement = FAKE.judge(&ran.evidence).unwrap();
        assert_eq!(judgement.exercised["seen"], 7, "{how}");
        assert_eq!(judgement.violations, Vec::<String>::new(), "{how}");
    }
}

#[tokio::test]
async fn a_run_that_is_cut_short_stops_a_drive_and_not_one_that_is_done() {
    let (_stop, cancel) = watch::channel(true);
    for (how, why) in [("hang", Some("interrupted")), ("none", None)] {
        let ran = run_until(how, false, cancel.clone()).await;
        assert_eq!(ran.undecided.as_deref(), why, "{how}");
        let judgement = FAKE.judge(&ran.evidence).unwrap();
        assert_eq!(judgement.exercised["seen"], 7, "{how}");
    }
}

#[tokio::test]
async fn a_target_that_does_not_start_is_a_violation_of_every_gate() {
    let ran = run("start", true).await;
    assert!(
        ran.undecided
            .unwrap()
            .contains("exited before it was ready (exit status: 1)")
    );
    let violations = FAKE.judge(&ran.evidence).unwrap().violations;
    assert_eq!(violations.len(), 1);
    assert!(
        violations[0].starts_with("the target did not start"),
        "{violations:?}"
    );
}

#[test]
fn evidence_of_another_gate_or_version_is_refused() {
    let good = json!({"version": 3, "gate": "fake", "seed": "7", "stopped": null, "incidents": [], "seen": {"seen": 3}});
    assert!(FAKE.judge(&good).is_ok());
    for (field, other) in [
        ("version", json!(2)),
        ("seed", json!(7)),
        ("gate", json!("audit-chain-present")),
        ("seen", json!({"seen": "x"})),
    ] {
        let mut bad = good.clone();
        bad[field] = other;
        assert!(FAKE.judge(&bad).is_err(), "{field}");
    }
}

#[test]
fn every_check_has_its_file_and_one_name() {
    for check in CHECKS {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(check.file);
        assert!(file.is_file(), "{} is not there", check.file);
        let stem = file.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stem.replace('_', "-"), check.gate, "{}", check.file);
        let same = CHECKS
            .iter()
            .filter(|other| other.gate == check.gate)
            .count();
        assert_eq!(same, 1, "{} rows of {}", same, check.gate);
        assert_eq!(find(check.gate).map(|found| found.file), Some(check.file));
    }
    assert!(find("no-such-gate").is_none());
}
