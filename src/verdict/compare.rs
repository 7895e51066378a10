//! Two reports, gate by gate: what broke, what was mended, what is new or gone. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::Status;
use crate::report::{GatePart, GateReport};

/// Two reports, compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// PASS in the first, something else in the second.
    pub regressions: Vec<Change>,
    /// Something else in the first, PASS in the second.
    pub fixes: Vec<Change>,
    /// Another status, neither of them PASS.
    pub other: Vec<Change>,
    /// Gates that only the second has.
    pub new: Vec<String>,
    /// Gates that only the first has.
    pub gone: Vec<String>,
    /// Unproven in the second and not in the first.
    pub newly_unproven: Vec<String>,
    /// Gates that take much longer in the second: twice as long, and a second more.
    pub slower: Vec<Slower>,
    /// Wall time of both in seconds.
    pub elapsed_s: (f64, f64),
}

/// A gate whose status changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub gate: String,
    /// In the first.
    pub before: Status,
    /// In the second.
    pub after: Status,
    /// What the second says of it.
    pub detail: String,
}

/// A gate that takes much longer than it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slower {
    /// Its name.
    pub gate: String,
    /// Seconds in the first.
    pub before_s: f64,
    /// Seconds in the second.
    pub after_s: f64,
}

impl Slower {
    fn of(old: &GatePart, new: &GatePart) -> Option<Self> {
        let (before_s, after_s) = (old.duration_s, new.duration_s);
        let driven = old.status != Status::Skip && new.status != Status::Skip;
        (driven && after_s > 2.0 * before_s && after_s > before_s + 1.0).then(|| Self {
            gate: new.name.clone(),
            before_s,
            after_s,
        })
    }
}

/// Compares the second report with the first.
#[must_use]
pub fn compare(first: &GateReport, second: &GateReport) -> Comparison {
    let by_name = |report: &'_ GateReport| -> BTreeMap<String, GatePart> {
        let rows = report.gates.iter();
        rows.map(|row| (row.name.clone(), row.clone())).collect()
    };
    let (before, after) = (by_name(first), by_name(second));
    let mut all = Comparison {
        elapsed_s: (first.elapsed_s, second.elapsed_s),
        ..Comparison::default()
    };
    for (name, row) in &after {
        let Some(old) = before.get(name) else {
            all.new.push(name.clone());
            continue;
        };
        all.slower.extend(Slower::of(old, row));
        if old.status == row.status {
            continue;
        }
        let change = Change {
            gate: name.clone(),
            before: old.status,
            after: row.status,
            detail: row.detail.clone(),
        };
        match (old.status, row.status) {
            (Status::Pass, _) => all.regressions.push(change),
            (_, Status::Pass) => all.fixes.push(change),
            _ => all.other.push(change),
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    all.gone = gone.cloned().collect();
    let before: BTreeSet<&String> = first.unproven.iter().collect();
    let unproven = second.unproven.iter().filter(|name| !before.contains(name));
    all.newly_unproven = unproven.cloned().collect();
    all
}
