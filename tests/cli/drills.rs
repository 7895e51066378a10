//! Every drill that comes with the program: it passes on the reference, and fails on the target that
//! is wrong in the way that it is about.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sonia_gate::chaos::drill::SHIPPED;

use super::{Ran, command};

/// Far more than a drill takes, on a machine that does much else; a stop, not a measure.
const DEADLINE: Duration = Duration::from_secs(300);
/// The reference is asked once more when a machine too busy for it left something open.
const ATTEMPTS: usize = 3;

fn drill(folder: &Path, arguments: &[&str]) -> Ran {
    let all = [&["chaos"], arguments].concat();
    let output = assert_cmd::Command::from_std(command(folder, &all))
        .timeout(DEADLINE)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Runs it until it is decided.
fn decided(folder: &Path, arguments: &[&str]) -> Ran {
    let mut ran = drill(folder, arguments);
    for _ in 1..ATTEMPTS {
        if ran.code != Some(3) {
            break;
        }
        ran = drill(folder, arguments);
    }
    ran
}

fn check(name: &str) {
    let shipped = SHIPPED.iter().find(|shipped| shipped.name == name);
    let shipped = shipped.unwrap_or_else(|| panic!("{name} is not shipped"));
    let folder = tempfile::tempdir().unwrap();
    let good = decided(folder.path(), &[name, "--seed", "7"]);
    assert_eq!(good.code, Some(0), "{name}: {}{}", good.out, good.err);
    let left = folder.path().join("target/sonia/chaos").join(name);
    let journal: Value =
        serde_json::from_slice(&fs::read(left.join("journal.json")).unwrap()).unwrap();
    assert_eq!(journal["sonia"]["verdict"], "PASS", "{name}");
    let picture = fs::read_to_string(left.join("timeline.svg")).unwrap();
    assert!(
        picture.starts_with("<svg ") && picture.ends_with("</svg>"),
        "{name}: {picture}"
    );
    let bad = decided(
        folder.path(),
        &[name, "--seed", "7", "--mutant", shipped.mutant],
    );
    assert_eq!(
        bad.code,
        Some(1),
        "{name} on {}: {}{}",
        shipped.mutant,
        bad.out,
        bad.err
    );
}

macro_rules! drills {
    ($($test:ident $name:literal,)*) => {
        $(#[test] fn $test() { check($name); })*

        #[test]
        fn every_drill_that_is_shipped_is_run_here() {
            let run = [$($name),*];
            assert_eq!(run.as_slice(), SHIPPED.map(|shipped| shipped.name).as_slice());
        }
    };
}

drills! {
    approval_storm "approval-storm",
    clock_step "clock-step",
    connection_resets "connection-resets",
    crash_loop "crash-loop",
    crash_mid_write "crash-mid-write",
    crash_restart "crash-restart",
    degrade_cycle "degrade-cycle",
    dependency_flap "dependency-flap",
    disk_full "disk-full",
    idempotent_retry_storm "idempotent-retry-storm",
    latency_spike "latency-spike",
    partial_outage "partial-outage",
    paused_writer "paused-writer",
    queue_storm "queue-storm",
    replay_restart "replay-restart",
    slow_loris "slow-loris",
    square_wave "square-wave",
    stale_fence "stale-fence",
    tail_truncation "tail-truncation",
    task_storm "task-storm",
}

/// What was planned of races and operations: who asks for what, but not when, nor what came of it.
fn plan(folder: &Path, name: &str, seed: &str) -> (Option<i32>, Value) {
    let ran = decided(folder, &[name, "--seed", seed]);
    let record = folder
        .join("target/sonia/chaos")
        .join(name)
        .join("record.json");
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let races = record["rounds"].as_array().unwrap().iter().map(|round| {
        let asked = round["race"].as_array().unwrap().iter();
        let mut asked: Vec<String> = asked
            .map(|asked| format!("{} {}", asked["verb"], asked["actor"]))
            .collect();
        asked.sort();
        json!([round["decision"]["route"], asked])
    });
    let races: Vec<Value> = races.collect();
    let steps = record["run"].as_array().unwrap().iter();
    let steps: Vec<&Value> = steps.map(|step| &step["name"]).collect();
    (ran.code, json!([races, steps]))
}

#[test]
fn the_same_seed_gives_the_same_races_and_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let first = plan(folder.path(), "approval-storm", "0x51");
    assert_eq!(first.0, Some(0));
    assert_eq!(plan(folder.path(), "approval-storm", "0x51"), first);
    let other = plan(folder.path(), "approval-storm", "0x52");
    assert_ne!(other.1, first.1, "another seed gives other races");
}
