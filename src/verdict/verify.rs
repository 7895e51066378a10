//! The reading itself: a folder, the gate model and what the reader trusts, and what stands against
//! a promotion. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;

use super::dossier::{Dossier, Sealed};
use super::finding::{Finding, Kind};
use super::invariants::{INVARIANTS, InvariantState};
use super::{read_bundle, rows, signed};
use crate::base::tree;
use crate::contract::bundle::Found;
use crate::model::{
    Class, Facts, Model, MutantSpec, NULL_TARGETS, Plan, Ruling, Selection, Status, TargetSpec,
    Verdict,
};
use crate::report::{FORMAT, GateReport, KillMatrix};

/// How far ahead of the reader's a report's clock may be.
const CLOCKS_APART: Duration = Duration::from_secs(300);

/// What the reader believes without the files.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The digest of the sources that are to be promoted.
    pub source_digest: String,
    /// Whose signature counts.
    pub keys: Vec<VerifyingKey>,
    /// What time it is.
    pub now: Timestamp,
    /// How old a report may be.
    pub max_age: Option<Duration>,
    /// SHA-256 of the binary that is to be promoted, when the reader has it.
    pub binary_sha256: Option<String>,
    /// The commit that is to be promoted, when the reader knows it.
    pub commit: Option<String>,
    /// The mutants that there are, as the sources declare them.
    pub declared: Vec<MutantSpec>,
    /// Whether all evidence is judged again.
    pub rederive: bool,
}

/// What a reading came to.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// PROMOTE, or HOLD.
    pub verdict: Verdict,
    /// The release, as the report names it.
    pub release: Option<String>,
    /// The counts, counted again.
    pub ruling: Option<Ruling>,
    /// Everything that stands against a promotion.
    pub findings: Vec<Finding>,
    /// Inherited gates that do not pass.
    pub regressions: Vec<String>,
    /// The invariants of the scope lock.
    pub invariants: Vec<InvariantState>,
    /// How many gates were judged again from their evidence.
    pub rederived: usize,
}

/// Reads a release as an adversary's.
#[must_use]
pub fn verify(dossier: &Dossier, model: &Model, trust: &Trust) -> Promotion {
    let mut held = Promotion {
        verdict: Verdict::Hold,
        release: None,
        ruling: None,
        findings: Vec::new(),
        regressions: Vec::new(),
        invariants: Vec::new(),
        rederived: 0,
    };
    if let Some(found) = &dossier.bundle {
        bundle(found, model, trust, &mut held.findings);
    }
    let sealed = match &dossier.report {
        Ok(sealed) => sealed,
        Err(why) => {
            held.findings.push(Finding::new(Kind::Unreadable, why));
            return held;
        }
    };
    let report = &sealed.value;
    held.release = Some(report.release.clone());
    let plan = match model.plan(&report.release, &Selection::default()) {
        Ok(plan) => plan,
        Err(error) => {
            held.findings
                .push(Finding::new(Kind::Schema, error.to_string()));
            return held;
        }
    };
    let found = &mut held.findings;
    head(report, &plan, trust, found);
    signed::check(&dossier.attestation, sealed, &trust.keys, found);
    rows::against_the_plan(report, &plan, found);
    rows::against_themselves(report, found);
    match &dossier.evidence {
        Err(why) => found.push(Finding::new(Kind::Evidence, why)),
        Ok(kept) => {
            rows::evidence(report, kept, found);
            if trust.rederive {
                held.rederived = rows::rederived(report, &plan, kept, found);
            }
        }
    }
    let unproven = proof(report, &dossier.matrix, &plan, trust, found);
    let ruling = ruled(report, &plan, unproven);
    counts(report, &ruling, found);
    statuses(&ruling, found);
    let inherited = report.gates.iter().filter(|row| row.class == Class::Floor);
    let regressed = inherited.filter(|row| row.status != Status::Pass);
    held.regressions = regressed.map(|row| row.name.clone()).collect();
    let by_name: BTreeMap<&str, Status> = report
        .gates
        .iter()
        .map(|row| (row.name.as_str(), row.status))
        .collect();
    held.invariants = INVARIANTS
        .iter()
        .map(|one| one.state(&plan, &by_name))
        .collect();
    let green = ruling.verdict == Verdict::Promote && held.findings.is_empty();
    if green && held.invariants.iter().all(|one| one.holds) {
        held.verdict = Verdict::Promote;
    }
    held.ruling = Some(ruling);
    held.findings.sort();
    held.findings.dedup();
    held
}

/// What is wrong with the bundle as such.
fn bundle(bundle: &Found, model: &Model, trust: &Trust, found: &mut Vec<Finding>) {
    let reading = read_bundle(bundle, model, &trust.keys);
    let problems = reading.problems.iter();
    found.extend(problems.map(|problem| Finding::new(Kind::Bundle, problem.to_string())));
    let gates = bundle.files.iter().filter_map(|(path, bytes)| {
        let name = path
            .strip_prefix("gates/")
            .filter(|name| name.ends_with(".toml"))?;
        Some((name, bytes.as_slice()))
    });
    if tree::digest_of_contents(gates) != model.digest() {
        let text = "the gates in the bundle are not those that it is judged by";
        found.push(Finding::new(Kind::Source, text));
    }
    let unvouched = reading.unvouched.iter();
    found.extend(unvouched.map(|why| Finding::new(Kind::Signature, why)));
}

/// Schema, version, sources, age, and how the run went.
fn head(report: &GateReport, plan: &Plan, trust: &Trust, found: &mut Vec<Finding>) {
    let mut say = |kind, text: String| found.push(Finding::new(kind, text));
    for (what, got, expected) in [
        (
            "schema_version",
            &report.schema_version,
            &plan.release.schema,
        ),
        ("version", &report.version, &plan.release.version),
        ("format", &report.format.to_string(), &FORMAT.to_string()),
    ] {
        if got != expected {
            say(
                Kind::Schema,
                format!("{what} is {got}, expected {expected}"),
            );
        }
    }
    sources(report, trust, &mut say);
    run(report, &mut say);
    age(report, trust, &mut say);
}

/// Of which sources, commit and binary it is.
fn sources(report: &GateReport, trust: &Trust, say: &mut impl FnMut(Kind, String)) {
    if report.source_digest != trust.source_digest {
        let (got, expected) = (&report.source_digest, &trust.source_digest);
        say(
            Kind::Source,
            format!("the report is of the sources {got}, expected {expected}"),
        );
    }
    match &report.git {
        None => say(Kind::Source, "no commit is named".to_owned()),
        Some(git) if git.dirty => say(
            Kind::Source,
            format!("the sources were not those of commit {}", git.commit),
        ),
        Some(git) if !is_commit(&git.commit) => {
            say(Kind::Source, format!("`{}` is no commit", git.commit));
        }
        Some(git) => {
            let expected = trust
                .commit
                .as_ref()
                .filter(|expected| **expected != git.commit);
            if let Some(expected) = expected {
                let text = format!(
                    "the report is of commit {}, expected {expected}",
                    git.commit
                );
                say(Kind::Source, text);
            }
        }
    }
    let got = report.target.binary_sha256.as_ref();
    if let Some(expected) = trust.binary_sha256.as_ref()
        && got != Some(expected)
    {
        let got = got.map_or("none", String::as_str);
        let text = format!("the binary that was gated is {got}, expected {expected}");
        say(Kind::Source, text);
    }
}

/// How the run went, and on what.
fn run(report: &GateReport, say: &mut impl FnMut(Kind, String)) {
    if let Some(share) = report.partition {
        say(Kind::Run, format!("it is part {share} of a run"));
    }
    if report.target.url.is_none() && report.target.name != TargetSpec::reference().name {
        let text = format!(
            "the target is {}, and not what is released",
            report.target.name
        );
        say(Kind::Run, text);
    }
    for remark in &report.remarks {
        say(Kind::Run, remark.clone());
    }
    if report.target.mutated {
        let text = format!(
            "the target {} was made wrong on purpose",
            report.target.name
        );
        say(Kind::Run, text);
    }
    if report.target.url.is_none() && report.target.binary_sha256.is_none() {
        say(Kind::Run, "no binary is named".to_owned());
    }
    if report.interrupted {
        say(Kind::Run, "the run was interrupted".to_owned());
    }
}

/// How old it is.
fn age(report: &GateReport, trust: &Trust, say: &mut impl FnMut(Kind, String)) {
    let age = trust.now.duration_since(report.timestamp);
    if age < -jiff::SignedDuration::try_from(CLOCKS_APART).unwrap_or_default() {
        say(
            Kind::Age,
            format!("the report is of a time to come: {}", report.timestamp),
        );
    }
    let oldest = trust.max_age.and_then(|age| age.try_into().ok());
    if oldest.is_some_and(|oldest: jiff::SignedDuration| age > oldest) {
        let text = format!("the report is {} s old", age.as_secs());
        say(Kind::Age, text);
    }
}

/// The proof, recounted; gates that it does not prove.
fn proof(
    report: &GateReport,
    matrix: &Result<Sealed<KillMatrix>, String>,
    plan: &Plan,
    trust: &Trust,
    found: &mut Vec<Finding>,
) -> Vec<String> {
    let mut say = |text: String| found.push(Finding::new(Kind::Proof, text));
    let Sealed {
        value: matrix,
        sha256,
    } = match matrix {
        Ok(matrix) => matrix,
        Err(why) => {
            say(why.clone());
            return plan
                .gates
                .iter()
                .map(|gate| gate.spec.name.clone())
                .collect();
        }
    };
    match &report.proof.matrix_sha256 {
        Some(named) if named == sha256 => {}
        Some(named) => say(format!(
            "the matrix has the digest {sha256}, expected {named}"
        )),
        None => say("the report rests on no matrix".to_owned()),
    }
    if let Some(why) = &report.proof.why_not {
        say(format!("the report says of its proof: {why}"));
    }
    if matrix.release != plan.release.name {
        say(format!("the matrix is of {}", matrix.release));
    }
    if matrix.proof_digest != trust.source_digest {
        let (got, expected) = (&matrix.proof_digest, &trust.source_digest);
        say(format!(
            "the matrix is of the sources {got}, expected {expected}"
        ));
    }
    for gate in &plan.gates {
        for name in &gate.spec.mutants {
            if let Some(why) = not_killed(matrix, &gate.spec.name, name) {
                say(format!("{name} of {} {why}", gate.spec.name));
            }
        }
    }
    for text in recount(matrix, plan, &trust.declared) {
        say(text);
    }
    for mutant in &matrix.mutants {
        let failed = mutant
            .results
            .iter()
            .filter(|(_, status)| **status == Status::Fail);
        for (gate, _) in failed.filter(|(gate, _)| !mutant.names(gate)) {
            say(format!(
                "{gate} fails under {}, which does not name it",
                mutant.name
            ));
        }
    }
    for name in NULL_TARGETS {
        match matrix.null_targets.iter().find(|null| null.name == name) {
            None => say(format!("the null target {name} was not run")),
            Some(null) => {
                for gate in &null.passed {
                    say(format!("{gate} passes on the null target {name}"));
                }
            }
        }
    }
    matrix.unproven(plan)
}

/// Whether this may be the name of a commit.
fn is_commit(name: &str) -> bool {
    [40, 64].contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where a matrix is not that of the mutants that there are, or not what its own cells give.
fn recount(matrix: &KillMatrix, plan: &Plan, declared: &[MutantSpec]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut names = BTreeSet::new();
    for row in &matrix.mutants {
        if !names.insert(row.name.as_str()) {
            texts.push(format!("{} has two rows", row.name));
        }
        match declared.iter().find(|one| one.name == row.name) {
            None => texts.push(format!("there is no mutant {}", row.name)),
            Some(one) if (&one.lever, &one.must, &one.may) != (&row.lever, &row.must, &row.may) => {
                texts.push(format!("{} is declared otherwise", row.name));
            }
            Some(_) => {}
        }
    }
    for gate in &plan.gates {
        let name = &gate.spec.name;
        let rows: Vec<_> = matrix
            .gates
            .iter()
            .filter(|row| row.name == *name)
            .collect();
        let [row] = rows[..] else {
            texts.push(format!(
                "{name} has {} rows in the matrix, expected 1",
                rows.len()
            ));
            continue;
        };
        let controlled = matrix.control.get(name) == Some(&Status::Pass);
        let killed = matrix.mutants.iter().filter(|mutant| {
            controlled && mutant.names(name) && mutant.results.get(name) == Some(&Status::Fail)
        });
        let killed: BTreeSet<&str> = killed.map(|mutant| mutant.name.as_str()).collect();
        let said: BTreeSet<&str> = row.killed_by.iter().map(String::as_str).collect();
        if said != killed || !row.checked {
            texts.push(format!(
                "{name}: the matrix says other kills than its cells give"
            ));
        }
    }
    let planned = |name: &str| plan.gates.iter().any(|gate| gate.spec.name == name);
    let gates = matrix.gates.iter().map(|row| &row.name);
    for name in gates
        .chain(matrix.control.keys())
        .filter(|name| !planned(name))
    {
        texts.push(format!("{name} is no gate of {}", plan.release.name));
    }
    texts
}

/// Why a mutant of a gate's row does not prove it.
fn not_killed(matrix: &KillMatrix, gate: &str, name: &str) -> Option<String> {
    let Some(mutant) = matrix.mutants.iter().find(|mutant| mutant.name == name) else {
        return Some("is not in the matrix".to_owned());
    };
    if !mutant.must_fail(gate) {
        return Some("does not have to fail there".to_owned());
    }
    match mutant.results.get(gate) {
        Some(Status::Fail) => None,
        Some(status) => Some(format!("came to {status}, expected FAIL")),
        None => Some("was not run".to_owned()),
    }
}

/// The ruling on the rows, by the rule of the run.
fn ruled(report: &GateReport, plan: &Plan, unproven: Vec<String>) -> Ruling {
    let facts = Facts {
        rows: report
            .gates
            .iter()
            .map(|row| (row.name.as_str(), row.class, row.status))
            .collect(),
        expected: (plan.release.floor, plan.release.delta),
        whole: true,
        mutated: report.target.mutated,
        interrupted: report.interrupted,
        unproven,
        objections: Vec::new(),
    };
    facts.rule()
}

/// What the report says of its rows, against what they give.
fn counts(report: &GateReport, ruling: &Ruling, found: &mut Vec<Finding>) {
    let mut differ = |what: &str, got: String, expected: String| {
        if got != expected {
            let text = format!("{what}: the report says {got}, its rows give {expected}");
            found.push(Finding::new(Kind::Counts, text));
        }
    };
    let (said, counted) = (&report.summary, crate::report::SummaryPart::of(ruling));
    differ("summary", format!("{said:?}"), format!("{counted:?}"));
    differ(
        "verdict",
        report.verdict.to_string(),
        ruling.verdict.to_string(),
    );
    for (what, got, expected) in [
        ("blockers", &report.blockers, &ruling.blockers),
        ("undecided", &report.undecided, &ruling.undecided),
        ("unproven", &report.unproven, &ruling.unproven),
        ("remarks", &report.remarks, &ruling.remarks),
    ] {
        differ(what, got.join(" "), expected.join(" "));
    }
}

/// Every gate that is not green, once.
fn statuses(ruling: &Ruling, found: &mut Vec<Finding>) {
    let lists = [
        (Kind::Fail, &ruling.blockers),
        (Kind::Undecided, &ruling.undecided),
        (Kind::Unproven, &ruling.unproven),
    ];
    for (kind, gates) in lists {
        found.extend(gates.iter().map(|gate| Finding::new(kind, gate)));
    }
}
