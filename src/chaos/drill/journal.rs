//! The journal, in the format of Chaos Toolkit: the same keys in the same order, and one of our own
//! at the end that says what the drill came to.

use serde::Serialize;
use serde_json::Value;

use super::record::{Looked, Record, Step};
use super::{Experiment, Verdict};
use crate::base::Seed;
use crate::chaos::Judgement;

/// The file.
#[derive(Clone, Debug, Serialize)]
pub struct Journal {
    #[serde(rename = "chaoslib-version")]
    writer: String,
    platform: &'static str,
    node: String,
    experiment: Value,
    start: String,
    status: &'static str,
    deviated: bool,
    steady_states: SteadyStates,
    run: Vec<Run>,
    rollbacks: Vec<Run>,
    end: String,
    duration: f64,
    sonia: Ours,
}

#[derive(Clone, Debug, Serialize)]
struct SteadyStates {
    before: Option<SteadyState>,
    after: Option<SteadyState>,
    during: Vec<SteadyState>,
}

#[derive(Clone, Debug, Serialize)]
struct SteadyState {
    steady_state_met: bool,
    probes: Vec<Run>,
}

#[derive(Clone, Debug, Serialize)]
struct Run {
    activity: Value,
    output: Value,
    start: String,
    /// None of a step that ended in a way that the other tool has no word for.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    end: String,
    duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance_met: Option<bool>,
}

/// What Chaos Toolkit has no key for.
#[derive(Clone, Debug, Serialize)]
struct Ours {
    seed: String,
    target: String,
    verdict: &'static str,
    detail: String,
    violations: Vec<String>,
    undecided: Vec<String>,
}

/// When and where a drill ran.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The seed.
    pub seed: Seed,
    /// The target's name.
    pub target: String,
    /// RFC 3339 with microseconds.
    pub start: String,
    /// Likewise.
    pub end: String,
    /// Seconds.
    pub duration: f64,
}

impl Journal {
    /// The journal of a drill, also of one that was cut short.
    #[must_use]
    pub fn of(
        experiment: &Experiment,
        record: &Record,
        judgement: &Judgement,
        frame: Frame,
    ) -> Self {
        let deviated = record.after.as_ref().is_some_and(|after| !after.met());
        Self {
            writer: format!("sonia-gate {}", env!("CARGO_PKG_VERSION")),
            platform: std::env::consts::OS,
            node: "localhost".to_owned(),
            experiment: experiment.source.clone(),
            start: frame.start,
            status: status(record),
            deviated,
            steady_states: SteadyStates {
                before: record.before.as_ref().map(steady),
                after: record.after.as_ref().map(steady),
                during: record.during.iter().map(steady).collect(),
            },
            run: record.run.iter().map(run).collect(),
            rollbacks: record.rollbacks.iter().map(run).collect(),
            end: frame.end,
            duration: frame.duration,
            sonia: Ours {
                seed: frame.seed.to_string(),
                target: frame.target,
                verdict: Verdict::of(judgement).word(),
                detail: judgement.detail.clone(),
                violations: judgement.violations.clone(),
                undecided: judgement.undecided.clone(),
            },
        }
    }
}

/// Whether the other tool would end with 0: whatever happened, as long as it went on to the end and
/// the hypothesis was met afterwards, if anybody looked.
#[must_use]
pub fn is_fine_elsewhere(record: &Record) -> bool {
    let deviated = record.after.as_ref().is_some_and(|after| !after.met());
    status(record) == "completed" && !deviated
}

/// `failed` (a probe of the hypothesis failed, or there was no target), `aborted` (a step ended the
/// method), `interrupted`, or `completed`, which says nothing of the hypothesis.
fn status(record: &Record) -> &'static str {
    let looks = [&record.before, &record.after];
    let broken = looks.into_iter().flatten().any(Looked::broken);
    match record {
        Record {
            interrupted: true, ..
        } => "interrupted",
        Record { aborted: true, .. } => "aborted",
        Record {
            trouble: Some(_), ..
        } => "failed",
        _ if broken => "failed",
        _ => "completed",
    }
}

fn steady(looked: &Looked) -> SteadyState {
    SteadyState {
        steady_state_met: looked.met(),
        probes: looked.probes.iter().map(run).collect(),
    }
}

fn run(step: &Step) -> Run {
    Run {
        activity: step.activity.clone(),
        output: step.output.clone(),
        start: step.start.clone(),
        status: match step.failed {
            None => Some("succeeded"),
            Some(_) if step.aborts && !ours(step) => None,
            Some(_) => Some("failed"),
        },
        end: step.end.clone(),
        duration: step.duration,
        exception: step
            .failed
            .as_ref()
            .filter(|_| !step.aborts || ours(step))
            .map(|why| vec![why.clone()]),
        tolerance_met: step.tolerated,
    }
}

fn ours(step: &Step) -> bool {
    step.activity["provider"]["type"] == "sonia"
}

/// Now, as journals write it: RFC 3339 with microseconds and an offset.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
        .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chaos::drill::Environment;

    fn step(failed: Option<&str>, tolerated: Option<bool>) -> Step {
        Step {
            name: "a".to_owned(),
            activity: json!({"type": "action", "name": "a", "provider": {"type": "sonia"}}),
            start: now(),
            end: now(),
            duration: 0.25,
            output: json!({"windows": 3}),
            failed: failed.map(str::to_owned),
            aborts: failed.is_some(),
            unhappy: None,
            tolerated,
        }
    }

    fn written(record: &Record) -> Value {
        let text = json!({"title": "t", "description": "d", "method": []}).to_string();
        let experiment = Experiment::parse(&text, &Environment::default()).unwrap();
        let frame = Frame {
            seed: Seed(7),
            target: "reference".to_owned(),
            start: now(),
            end: now(),
            duration: 1.5,
        };
        let journal = Journal::of(&experiment, record, &Judgement::default(), frame);
        serde_json::to_value(journal).unwrap()
    }

    #[test]
    fn the_keys_are_those_of_chaos_toolkit_in_its_order() {
        let text = json!({"title": "t", "description": "d", "method": []}).to_string();
        let experiment = Experiment::parse(&text, &Environment::default()).unwrap();
        let frame = Frame {
            seed: Seed(7),
            target: "reference".to_owned(),
            start: now(),
            end: now(),
            duration: 1.5,
        };
        let record = Record {
            run: vec![step(Some("why"), None)],
            ..Record::default()
        };
        let journal = Journal::of(&experiment, &record, &Judgement::default(), frame);
        let text = serde_json::to_string(&journal).unwrap();
        let mut from = 0;
        for key in [
            "chaoslib-version",
            "platform",
            "node",
            "experiment",
            "start",
            "status",
            "deviated",
            "steady_states",
            "run",
            "activity",
            "output",
            "start",
            "status",
            "end",
            "duration",
            "exception",
            "rollbacks",
            "end",
            "duration",
            "sonia",
        ] {
            let at = text[from..].find(&format!("\"{key}\":"));
            from += at.unwrap_or_else(|| panic!("no {key} after byte {from}: {text}"));
        }
    }

    #[test]
    fn the_status_says_how_far_it_got() {
        let unmet = Looked {
            probes: vec![step(None, Some(false))],
            of: 1,
        };
        let met = Looked {
            probes: vec![step(None, Some(true))],
            of: 1,
        };
        let before = |looked: &Looked| Record {
            before: Some(looked.clone()),
            ..Record::default()
        };
        let aborted = Record {
            run: vec![step(Some("no"), None)],
            aborted: true,
            ..before(&met)
        };
        let broken = before(&Looked {
            probes: vec![step(Some("refused"), Some(false))],
            of: 1,
        });
        let deviated = Record {
            after: Some(unmet.clone()),
            ..before(&met)
        };
        let cut = Record {
            interrupted: true,
            ..aborted.clone()
        };
        for (record, status, deviates, fine) in [
            (before(&met), "completed", false, true),
            (before(&unmet), "completed", false, true),
            (broken, "failed", false, false),
            (aborted, "aborted", false, false),
            (deviated, "completed", true, false),
            (cut, "interrupted", false, false),
        ] {
            let journal = written(&record);
            assert_eq!(journal["status"], status);
            assert_eq!(journal["deviated"], deviates);
            assert_eq!(is_fine_elsewhere(&record), fine, "{status}");
        }
        let first = &written(&before(&unmet))["steady_states"];
        assert_eq!(first["before"]["steady_state_met"], false);
        assert_eq!(first["before"]["probes"][0]["tolerance_met"], false);
        assert_eq!(first["after"], Value::Null);
    }

    #[test]
    fn times_are_rfc_3339_with_microseconds_and_an_offset() {
        let text = now();
        assert_eq!(text.len(), "2026-11-22T10:00:00.000000+00:00".len());
        assert!(text.ends_with("+00:00"), "{text}");
        text.parse::<jiff::Timestamp>().unwrap();
    }
}
