//! One report of several parts of a run. A part that is missing, there twice, or of another run is
//! an objection, and an objection holds the release.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Facts, Plan, Ruling, Status};
use crate::report::{FORMAT, GatePart, GateReport, ProofUsed, SummaryPart, TargetPart};

/// Merges parts, which have the names of their folders, into the report of the plan. The proof is the
/// whole release's.
#[must_use]
pub fn merge(
    parts: &[(String, GateReport)],
    plan: &Plan,
    source_digest: &str,
    proof: ProofUsed,
) -> (Ruling, GateReport) {
    let mut objections = Vec::new();
    shares(parts, &mut objections);
    foreign(parts, plan, source_digest, &mut objections);
    let rows = rows(parts, plan, &mut objections);
    let any = |is: fn(&GateReport) -> bool| parts.iter().any(|(_, part)| is(part));
    let interrupted = any(|part| part.interrupted);
    let mutated = any(|part| part.target.mutated);
    let facts = Facts {
        rows: rows
            .iter()
            .map(|row| (row.name.as_str(), row.class, row.status))
            .collect(),
        expected: (plan.release.floor, plan.release.delta),
        whole: true,
        mutated,
        interrupted,
        unproven: proof.unproven.clone(),
        objections,
    };
    let ruling = facts.rule();
    let seconds = |part: &(String, GateReport)| part.1.elapsed_s;
    let (_, first) = &parts[0];
    let report = GateReport {
        verdict: ruling.verdict,
        timestamp: Timestamp::now(),
        // The parts ran side by side, as far as anybody knows.
        elapsed_s: parts.iter().map(seconds).fold(0.0, f64::max),
        summary: SummaryPart::of(&ruling),
        gates: rows,
        partition: None,
        target: TargetPart {
            mutated,
            ..first.target.clone()
        },
        interrupted,
        proof,
        blockers: ruling.blockers.clone(),
        undecided: ruling.undecided.clone(),
        unproven: ruling.unproven.clone(),
        remarks: ruling.remarks.clone(),
        ..first.clone()
    };
    (ruling, report)
}

/// Whether the parts are the shares of one partition, each once.
fn shares(parts: &[(String, GateReport)], objections: &mut Vec<String>) {
    let mut seen: BTreeMap<usize, &str> = BTreeMap::new();
    let mut of = None;
    for (name, part) in parts {
        let Some(share) = part.partition else {
            objections.push(format!("{name} is no part of a partitioned run"));
            continue;
        };
        if *of.get_or_insert(share.of) != share.of {
            objections.push(format!(
                "{name} is part {share}, others are of another number"
            ));
        }
        if let Some(other) = seen.insert(share.number, name) {
            objections.push(format!("{other} and {name} are both part {share}"));
        }
    }
    let of = of.unwrap_or_default();
    for number in (1..=of).filter(|number| !seen.contains_key(number)) {
        objections.push(format!("part {number}/{of} is missing"));
    }
}

/// Whether the parts are of this release and these sources, of one run and one target.
fn foreign(
    parts: &[(String, GateReport)],
    plan: &Plan,
    source_digest: &str,
    objections: &mut Vec<String>,
) {
    let (_, first) = &parts[0];
    for (name, part) in parts {
        let mut differ = |what: &str, got: &str, expected: &str| {
            if got != expected {
                objections.push(format!("{name}: {what} {got}, expected {expected}"));
            }
        };
        differ("release", &part.release, &plan.release.name);
        differ("sources", &part.source_digest, source_digest);
        differ("schema", &part.schema_version, &plan.release.schema);
        differ("version", &part.version, &plan.release.version);
        differ("format", &part.format.to_string(), &FORMAT.to_string());
        differ("seed", &part.seed, &first.seed);
        let target = |one: &GateReport| format!("{:?}", one.target);
        differ("target", &target(part), &target(first));
        let commit = |one: &GateReport| format!("{:?}", one.git);
        differ("commit", &commit(part), &commit(first));
    }
}

/// A row a gate: that of the part that ran it.
fn rows(
    parts: &[(String, GateReport)],
    plan: &Plan,
    objections: &mut Vec<String>,
) -> Vec<GatePart> {
    let (mut rows, mut unrun) = (Vec::new(), Vec::new());
    for gate in &plan.gates {
        let name = &gate.spec.name;
        let all = parts.iter().flat_map(|(part, report)| {
            let rows = report.gates.iter().filter(|row| row.name == *name);
            rows.map(move |row| (part, row))
        });
        let all: Vec<_> = all.collect();
        let mut ran = all.iter().filter(|(_, row)| row.status != Status::Skip);
        match (ran.next(), ran.next(), all.first()) {
            (Some((_, row)), None, _) => rows.push((*row).clone()),
            (Some((one, row)), Some((other, _)), _) => {
                objections.push(format!("{name} was run by {one} and by {other}"));
                rows.push((*row).clone());
            }
            (None, _, Some((_, row))) => {
                unrun.push(name.as_str());
                rows.push((*row).clone());
            }
            (None, _, None) => objections.push(format!("{name} has no row in any part")),
        }
    }
    if !unrun.is_empty() {
        objections.push(format!("run by no part: {}", unrun.join(", ")));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::model::{Model, Partition, Selection, TargetSpec, Verdict};
    use crate::report::{Context, report};
    use crate::runner::Row;

    const SOURCES: &str = "mine";

    fn plan() -> Plan {
        Model::embedded()
            .unwrap()
            .plan("v4.7", &Selection::default())
            .unwrap()
    }

    /// Two parts of a run in which everything passes.
    fn parts() -> Vec<(String, GateReport)> {
        let part = |number| {
            let mut plan = plan();
            let partition = Partition { number, of: 2 };
            plan.keep_share(partition, &BTreeMap::new());
            let rows: Vec<Row> = plan
                .gates
                .iter()
                .map(|gate| match gate.selected {
                    true => Row::settled(gate, Status::Pass, "seen"),
                    false => Row::settled(gate, Status::Skip, "not selected"),
                })
                .collect();
            let context = Context {
                plan,
                target: TargetSpec::reference(),
                mutated: false,
                seed: Seed(7),
                partition: Some(partition),
                binary_sha256: None,
                source_digest: SOURCES.to_owned(),
                git: None,
                proof: ProofUsed::default(),
            };
            let elapsed = std::time::Duration::from_secs(number as u64);
            (
                format!("part-{number}"),
                report(&context, &rows, false, elapsed).1,
            )
        };
        vec![part(1), part(2)]
    }

    fn merged(parts: &[(String, GateReport)]) -> (Ruling, GateReport) {
        merge(parts, &plan(), SOURCES, ProofUsed::default())
    }

    #[test]
    fn parts_of_one_run_are_a_run() {
        let (ruling, report) = merged(&parts());
        assert_eq!(
            (ruling.verdict, report.verdict),
            (Verdict::Promote, Verdict::Promote)
        );
        assert_eq!(report.gates.len(), 84);
        assert!(report.gates.iter().all(|row| row.status == Status::Pass));
        assert_eq!((report.elapsed_s, report.partition), (2.0, None));
        // The order in which they are given says nothing.
        let mut turned = parts();
        turned.reverse();
        assert_eq!(merged(&turned).1.gates, report.gates);
    }

    #[test]
    fn a_part_that_is_missing_doubled_or_foreign_holds() {
        type Spoil = fn(&mut Vec<(String, GateReport)>);
        let cases: [(Spoil, &str); 10] = [
            (|parts| drop(parts.pop()), "part 2/2 is missing"),
            (
                |parts| parts.push(parts[0].clone()),
                "part-1 and part-1 are both part 1/2",
            ),
            (
                |parts| parts[1].1.seed = "8".to_owned(),
                "part-2: seed 8, expected 7",
            ),
            (
                |parts| parts[1].1.source_digest = "theirs".to_owned(),
                "part-2: sources theirs",
            ),
            (
                |parts| parts[1].1.release = "v4.6".to_owned(),
                "part-2: release v4.6",
            ),
            (
                |parts| parts[1].1.target.name = "other".to_owned(),
                "part-2: target",
            ),
            (
                |parts| parts[1].1.partition = None,
                "part-2 is no part of a partitioned run",
            ),
            (
                |parts| parts[1].1.partition = Some(Partition { number: 2, of: 3 }),
                "part-2 is part 2/3, others are of another number",
            ),
            (
                |parts| parts[1].1.interrupted = true,
                "the run was interrupted",
            ),
            (
                |parts| parts[0].1.target.mutated = true,
                "the target was made wrong on purpose",
            ),
        ];
        for (spoil, reason) in cases {
            let mut parts = parts();
            spoil(&mut parts);
            let (ruling, report) = merged(&parts);
            assert_eq!(ruling.verdict, Verdict::Hold, "{reason}");
            let said = report
                .remarks
                .iter()
                .any(|remark| remark.starts_with(reason));
            assert!(said, "{reason}: {:?}", report.remarks);
        }
    }

    #[test]
    fn a_gate_that_nobody_ran_or_that_two_ran_holds() {
        let mut parts = parts();
        let first = &mut parts[0].1.gates;
        let ran = first.iter_mut().find(|row| row.status == Status::Pass);
        let ran = ran.unwrap();
        ran.status = Status::Skip;
        let nobody = format!("run by no part: {}", ran.name);
        let other = first
            .iter_mut()
            .find(|row| row.status == Status::Skip && !nobody.ends_with(&row.name));
        let other = other.unwrap();
        other.status = Status::Pass;
        let two = format!("{} was run by part-1 and by part-2", other.name);
        let (ruling, report) = merged(&parts);
        assert_eq!(ruling.verdict, Verdict::Hold);
        assert!(
            report.remarks.contains(&nobody) && report.remarks.contains(&two),
            "{:?}",
            report.remarks
        );
    }

    #[test]
    fn a_failure_in_a_part_is_one_of_the_whole() {
        let mut parts = parts();
        let row = parts[1]
            .1
            .gates
            .iter_mut()
            .find(|row| row.status == Status::Pass);
        let row = row.unwrap();
        row.status = Status::Fail;
        let name = row.name.clone();
        let (ruling, _) = merged(&parts);
        assert_eq!(
            (ruling.verdict, ruling.blockers),
            (Verdict::Hold, vec![name])
        );
    }
}
