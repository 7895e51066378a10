//! What a mutant promises: which gates notice it. How it is made wrong is not known here.

use serde::{Deserialize, Serialize};

use super::target_spec::TargetSpec;

/// A target made wrong on purpose, as the runner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutantSpec {
    /// What is wrong, in kebab case.
    pub name: String,
    /// How it is pulled: sql, part, config, route, wire or disk.
    pub lever: String,
    /// Gates that have to FAIL under it.
    pub must: Vec<String>,
    /// Gates whose claim it necessarily breaks too.
    pub may: Vec<May>,
    /// The target to run.
    pub target: TargetSpec,
}

/// A gate that may fail under a mutant, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct May {
    /// The gate's name.
    pub gate: String,
    /// Why its claim cannot hold under this defect.
    pub reason: String,
}

impl MutantSpec {
    /// Whether this gate has to fail.
    #[must_use]
    pub fn must_fail(&self, gate: &str) -> bool {
        self.must.iter().any(|name| name == gate)
    }

    /// Whether this gate is named at all.
    #[must_use]
    pub fn names(&self, gate: &str) -> bool {
        self.must_fail(gate) || self.may.iter().any(|may| may.gate == gate)
    }
}
