//! One gate, as its row in a gates file states it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::target_spec::Capability;

/// A gate: a claim about a target, what is needed to check it, and what must be seen to break it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSpec {
    /// Letter and number within the release: `B1`.
    pub id: String,
    /// The release that owns it: `v4.7`.
    pub release: String,
    /// The letter of its epic in that release, empty for a gate of none.
    pub epic: String,
    /// The claim in kebab case; it never changes, and in snake case it is the check's file.
    pub name: String,
    /// The folder of `src/checks` with its check.
    pub subject: String,
    /// What a PASS says, a full sentence.
    pub claim: String,
    /// Capabilities without which it is UNKNOWN.
    pub needs: Vec<Capability>,
    /// A stop for a check that hangs; it measures nothing.
    pub deadline: Duration,
    /// What must have been exercised at least; less is UNKNOWN.
    pub exercised: BTreeMap<String, u64>,
    /// Every defect that this gate has to notice.
    pub mutants: Vec<String>,
    /// The gates file.
    pub file: String,
    /// The line of its `[[gate]]` in that file, counted from 1.
    pub line: usize,
}

impl GateSpec {
    /// The id over all releases: `v4.7/B1`.
    #[must_use]
    pub fn full_id(&self) -> String {
        format!("{}/{}", self.release, self.id)
    }

    /// Where its check is, or has to be written.
    #[must_use]
    pub fn check_file(&self) -> String {
        format!(
            "src/checks/{}/{}.rs",
            self.subject,
            self.name.replace('-', "_")
        )
    }
}
