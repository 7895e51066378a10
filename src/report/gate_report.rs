//! `gate-report.json`, schema 14.0: the fields that other tools read first, ours after them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::Seed;
use crate::model::{
    Class, Facts, Partition, Plan, Ruling, Status, TargetKind, TargetSpec, Verdict,
};
use crate::runner::Row;

/// The file's name.
pub const REPORT_FILE: &str = "gate-report.json";
/// The version of what stands beyond schema 14.0.
pub const FORMAT: u32 = 1;

/// What a report says beside its rows.
#[derive(Clone, Debug)]
pub struct Context {
    /// What was planned.
    pub plan: Plan,
    /// What was judged.
    pub target: TargetSpec,
    /// Whether it was made wrong on purpose.
    pub mutated: bool,
    /// The seed.
    pub seed: Seed,
    /// Which share of the gates is run, of several.
    pub partition: Option<Partition>,
    /// SHA-256 of the binary that embedded targets run.
    pub binary_sha256: Option<String>,
    /// The digest of the sources, gates included.
    pub source_digest: String,
    /// Where the working tree stands.
    pub git: Option<GitPart>,
    /// The proof that was used.
    pub proof: ProofUsed,
}

/// What is known of the proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofUsed {
    /// SHA-256 of the kill matrix, when one was accepted.
    pub matrix_sha256: Option<String>,
    /// Why none was, when none was.
    pub why_not: Option<String>,
    /// Gates that it does not prove.
    #[serde(skip)]
    pub unproven: Vec<String>,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateReport {
    /// `14.0`.
    pub schema_version: String,
    /// `4.7.0`.
    pub version: String,
    /// PROMOTE, HOLD or PARTIAL.
    pub verdict: Verdict,
    /// When this was written, RFC 3339.
    pub timestamp: Timestamp,
    /// Seconds since the run began.
    pub elapsed_s: f64,
    /// The counts.
    pub summary: SummaryPart,
    /// A row a gate, in the order of the release.
    pub gates: Vec<GatePart>,
    /// The version of everything from here on.
    pub format: u32,
    /// The release's name: `v4.7`.
    pub release: String,
    /// The seed, as a decimal text.
    pub seed: String,
    /// Which share of the gates this is, of a run on several machines.
    pub partition: Option<Partition>,
    /// What was judged.
    pub target: TargetPart,
    /// The digest of the sources that judged.
    pub source_digest: String,
    /// Where the working tree stood.
    pub git: Option<GitPart>,
    /// The proof that was used.
    pub proof: ProofUsed,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// Gates that FAIL.
    pub blockers: Vec<String>,
    /// Gates that are UNKNOWN.
    pub undecided: Vec<String>,
    /// Gates that no mutant was seen to break.
    pub unproven: Vec<String>,
    /// Other reasons against a promotion.
    pub remarks: Vec<String>,
}

/// The counts of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryPart {
    /// PASS.
    pub pass: usize,
    /// FAIL.
    pub fail: usize,
    /// SKIP.
    pub skip: usize,
    /// All rows.
    pub total: usize,
    /// PASS among inherited gates.
    pub floor_pass: usize,
    /// FAIL among inherited gates.
    pub floor_fail: usize,
    /// All inherited gates.
    pub floor_total: usize,
    /// PASS among the release's own gates.
    pub delta_pass: usize,
    /// FAIL among the release's own gates.
    pub delta_fail: usize,
    /// All own gates of the release.
    pub delta_total: usize,
    /// Whether an inherited gate is FAIL.
    pub floor_regression: bool,
    /// UNKNOWN.
    pub unknown: usize,
    /// Gates without a proof.
    pub unproven: usize,
}

/// A gate of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatePart {
    /// The gate's name.
    pub name: String,
    /// A inherited, B own.
    pub class: Class,
    /// The epic's label.
    pub epic: String,
    /// PASS, FAIL, UNKNOWN or SKIP.
    pub status: Status,
    /// One line with numbers.
    pub detail: String,
    /// Wall time of all attempts, in seconds.
    pub duration_s: f64,
    /// `v4.7/B1`.
    pub id: String,
    /// Every violation.
    pub violations: Vec<String>,
    /// Every reason why it could not be decided.
    pub undecided: Vec<String>,
    /// What was exercised.
    pub exercised: BTreeMap<String, u64>,
    /// What had to be exercised.
    pub minimum: BTreeMap<String, u64>,
    /// Every drive.
    pub attempts: Vec<AttemptPart>,
    /// Every defect that the gate has to notice.
    pub mutants: Vec<String>,
    /// The evidence of the last attempt.
    pub evidence: Vec<EvidencePart>,
}

/// One drive of a gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptPart {
    /// Its seed, as a decimal text.
    pub seed: String,
    /// What it came to.
    pub status: Status,
    /// One line with numbers.
    pub detail: String,
    /// Wall time in seconds.
    pub duration_s: f64,
}

/// A file of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidencePart {
    /// Relative to the report.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// What was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPart {
    /// Its name.
    pub name: String,
    /// Its address, when it runs elsewhere.
    pub url: Option<String>,
    /// SHA-256 of the binary, when it is a child process.
    pub binary_sha256: Option<String>,
    /// Whether it was made wrong on purpose.
    pub mutated: bool,
}

/// Where a working tree stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitPart {
    /// The commit.
    pub commit: String,
    /// Whether anything but `releases/` differed from it.
    pub dirty: bool,
}

/// The ruling on these rows, and the report that says it.
#[must_use]
pub fn report(
    context: &Context,
    rows: &[Row],
    interrupted: bool,
    elapsed: Duration,
) -> (Ruling, GateReport) {
    let release = &context.plan.release;
    let facts = Facts {
        rows: rows
            .iter()
            .map(|row| (row.name.as_str(), row.class, row.status))
            .collect(),
        expected: (release.floor, release.delta),
        whole: context.plan.whole,
        mutated: context.mutated,
        interrupted,
        unproven: context.proof.unproven.clone(),
        objections: Vec::new(),
    };
    let ruling = facts.rule();
    let url = match &context.target.kind {
        TargetKind::Remote { url } => Some(url.clone()),
        TargetKind::Embedded { .. } => None,
    };
    let report = GateReport {
        schema_version: release.schema.clone(),
        version: release.version.clone(),
        verdict: ruling.verdict,
        timestamp: Timestamp::now(),
        elapsed_s: seconds(elapsed),
        summary: SummaryPart::of(&ruling),
        gates: rows.iter().map(GatePart::of).collect(),
        format: FORMAT,
        release: release.name.clone(),
        seed: context.seed.to_string(),
        partition: context.partition,
        target: TargetPart {
            name: context.target.name.clone(),
            binary_sha256: url
                .is_none()
                .then(|| context.binary_sha256.clone())
                .flatten(),
            url,
            mutated: context.mutated,
        },
        source_digest: context.source_digest.clone(),
        git: context.git.clone(),
        proof: context.proof.clone(),
        interrupted,
        blockers: ruling.blockers.clone(),
        undecided: ruling.undecided.clone(),
        unproven: ruling.unproven.clone(),
        remarks: ruling.remarks.clone(),
    };
    (ruling, report)
}

impl SummaryPart {
    /// The counts of a ruling.
    #[must_use]
    pub fn of(ruling: &Ruling) -> Self {
        let (all, floor, delta) = (
            ruling.summary.all,
            ruling.summary.floor,
            ruling.summary.delta,
        );
        Self {
            pass: all.pass,
            fail: all.fail,
            skip: all.skip,
            total: all.total(),
            floor_pass: floor.pass,
            floor_fail: floor.fail,
            floor_total: floor.total(),
            delta_pass: delta.pass,
            delta_fail: delta.fail,
            delta_total: delta.total(),
            floor_regression: floor.fail > 0,
            unknown: all.unknown,
            unproven: ruling.unproven.len(),
        }
    }
}

impl GatePart {
    fn of(row: &Row) -> Self {
        let attempts = row.attempts.iter().map(|attempt| AttemptPart {
            seed: attempt.seed.to_string(),
            status: attempt.status,
            detail: attempt.detail.clone(),
            duration_s: seconds(attempt.duration),
        });
        let evidence = row.evidence.iter().map(|file| EvidencePart {
            path: format!("evidence/{}", file.path),
            sha256: file.sha256.clone(),
        });
        Self {
            name: row.name.clone(),
            class: row.class,
            epic: row.epic.clone(),
            status: row.status,
            detail: row.detail.clone(),
            duration_s: seconds(row.duration),
            id: row.id.clone(),
            violations: row.violations.clone(),
            undecided: row.undecided.clone(),
            exercised: row.exercised.clone(),
            minimum: row.minimum.clone(),
            attempts: attempts.collect(),
            mutants: row.mutants.clone(),
            evidence: evidence.collect(),
        }
    }
}

/// Seconds with milliseconds: more digits would only look exact.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Selection};
    use serde_json::Value;

    fn context(selection: &Selection) -> Context {
        Context {
            plan: Model::embedded().unwrap().plan("v4.7", selection).unwrap(),
            target: TargetSpec::reference(),
            mutated: false,
            seed: Seed(7),
            partition: None,
            binary_sha256: Some("b1".to_owned()),
            source_digest: "50".to_owned(),
            git: Some(GitPart {
                commit: "c0".to_owned(),
                dirty: false,
            }),
            proof: ProofUsed::default(),
        }
    }

    fn rows(context: &Context, status: impl Fn(&str) -> Status) -> Vec<Row> {
        let gates = context.plan.gates.iter();
        gates
            .map(|gate| Row::settled(gate, status(&gate.spec.name), "why"))
            .collect()
    }

    #[test]
    fn every_field_that_other_tools_read_is_there_with_its_type() {
        let context = context(&Selection::default());
        let rows = rows(&context, |name| match name {
            "wal-mode" => Status::Fail,
            "approval-race-safe" => Status::Unknown,
            _ => Status::Pass,
        });
        let (_, written) = report(&context, &rows, false, Duration::from_micros(1_234_567));
        let json = serde_json::to_value(&written).unwrap();
        assert_eq!(json["schema_version"], "14.0");
        assert_eq!(json["version"], "4.7.0");
        assert_eq!(json["verdict"], "HOLD");
        assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(json["elapsed_s"], 1.235);
        let summary: Vec<Value> = [
            "pass",
            "fail",
            "skip",
            "unknown",
            "total",
            "floor_pass",
            "floor_fail",
            "floor_total",
            "delta_pass",
            "delta_fail",
            "delta_total",
        ]
        .iter()
        .map(|field| json["summary"][field].clone())
        .collect();
        assert_eq!(summary, [82, 1, 0, 1, 84, 65, 1, 66, 17, 0, 18]);
        assert_eq!(json["summary"]["floor_regression"], true);
        let row = &json["gates"][3];
        assert_eq!(row["name"], "wal-mode");
        assert_eq!(row["class"], "A");
        assert_eq!(row["epic"], "v4.3-A");
        assert_eq!(row["status"], "FAIL");
        assert_eq!(row["detail"], "why");
        assert_eq!(row["duration_s"], 0.0);
        assert_eq!(json["blockers"], serde_json::json!(["wal-mode"]));
        assert_eq!(json["undecided"], serde_json::json!(["approval-race-safe"]));
        assert_eq!(serde_json::from_value::<GateReport>(json).unwrap(), written);
    }

    #[test]
    fn all_green_and_proven_is_promoted_and_anything_unproven_is_held() {
        let mut context = context(&Selection::default());
        let rows = rows(&context, |_| Status::Pass);
        let (ruling, _) = report(&context, &rows, false, Duration::ZERO);
        assert_eq!(ruling.verdict, Verdict::Promote);
        context.proof.unproven = vec!["wal-mode".to_owned()];
        let (ruling, written) = report(&context, &rows, false, Duration::ZERO);
        assert_eq!(
            (ruling.verdict, written.summary.unproven),
            (Verdict::Hold, 1)
        );
    }

    #[test]
    fn a_selection_keeps_every_row() {
        let one = Selection {
            gates: vec!["B1".to_owned()],
            ..Selection::default()
        };
        let context = context(&one);
        let rows = rows(&context, |name| match name {
            "approval-race-safe" => Status::Pass,
            _ => Status::Skip,
        });
        let (ruling, written) = report(&context, &rows, false, Duration::ZERO);
        assert_eq!((ruling.verdict, ruling.green), (Verdict::Partial, true));
        assert_eq!((written.summary.total, written.summary.skip), (84, 83));
    }
}
