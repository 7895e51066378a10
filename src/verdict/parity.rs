//! Whether a clean room gives what this tree gives: the same lock file, the same sources, the same
//! result of every gate. Pure.

use serde::Serialize;

use super::compare;
use crate::report::GateReport;

/// What is compared of a tree.
#[derive(Clone, Debug)]
pub struct Side {
    /// SHA-256 of its Cargo.lock; none when it has none.
    pub lock_sha256: Option<String>,
    /// The digest of the sources that lie there.
    pub source_digest: String,
    /// The commit that is checked out, as git has it.
    pub commit: String,
    /// What its gates came to.
    pub report: GateReport,
}

/// Something that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about: the lock file, the sources, a gate.
    pub what: String,
    /// Here.
    pub here: String,
    /// In the clean room.
    pub clean: String,
}

/// Everything that is not the same; nothing is parity.
#[must_use]
pub fn parity(here: &Side, clean: &Side) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |what: &str, here: &str, clean: &str| {
        if here != clean {
            found.push(Difference {
                what: what.to_owned(),
                here: here.to_owned(),
                clean: clean.to_owned(),
            });
        }
    };
    let lock = |of: &Side| of.lock_sha256.clone().unwrap_or_else(|| "none".to_owned());
    differ("Cargo.lock", &lock(here), &lock(clean));
    differ("the sources", &here.source_digest, &clean.source_digest);
    // A report is one of the sources that it names, not of those that lie beside it.
    for (side, of) in [(here, "here"), (clean, "in the clean room")] {
        let what = format!("the sources of the report {of}");
        differ(&what, &side.report.source_digest, &side.source_digest);
    }
    let commit = |of: &Side| match &of.report.git {
        Some(git) if git.dirty => format!("{}, changed since", git.commit),
        Some(git) => git.commit.clone(),
        None => "none".to_owned(),
    };
    differ(
        "the commit of the report in the clean room",
        &clean.commit,
        &commit(clean),
    );
    let (one, other) = (&here.report, &clean.report);
    for (what, of) in [
        (
            "interrupted",
            (|of| of.interrupted) as fn(&GateReport) -> bool,
        ),
        ("made wrong on purpose", |of| of.target.mutated),
    ] {
        // Neither side may be: two runs that were cut short alike show nothing.
        differ(what, "no", if of(one) || of(other) { "yes" } else { "no" });
    }
    differ("the seed", &one.seed, &other.seed);
    differ(
        "unproven",
        &one.unproven.join(", "),
        &other.unproven.join(", "),
    );
    differ("the release", &one.release, &other.release);
    differ(
        "the verdict",
        &one.verdict.to_string(),
        &other.verdict.to_string(),
    );
    let all = compare(one, other);
    let changed = [&all.regressions, &all.fixes, &all.other];
    for change in changed.into_iter().flatten() {
        let clean = format!("{}  {}", change.after, change.detail);
        differ(&change.gate, &change.before.to_string(), clean.trim_end());
    }
    for gate in &all.gone {
        differ(gate, "a row", "none");
    }
    for gate in &all.new {
        differ(gate, "none", "a row");
    }
    found
}
