//! What stands against a promotion.

use std::fmt;

use serde::Serialize;

/// One reason against a promotion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// What was found, with got and expected.
    pub text: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file cannot be read, or is no such file.
    Unreadable,
    /// The bundle that it came in is not whole, or not what its manifest says.
    Bundle,
    /// It is of another schema, release or version.
    Schema,
    /// The rows are not the gates of the release, each once and in order.
    Gates,
    /// A row contradicts itself.
    Row,
    /// Counts, lists or the verdict are not those that the rows give.
    Counts,
    /// Evidence is missing, changed or in excess.
    Evidence,
    /// Evidence that is judged again gives another status.
    Rederived,
    /// Evidence that is judged again gives a FAIL where the report has none.
    Refuted,
    /// The run was cut short, or its target was made wrong on purpose.
    Run,
    /// It is the report of other sources.
    Source,
    /// It is too old, or of a time to come.
    Age,
    /// The kill matrix is missing, another one, of other sources or incomplete.
    Proof,
    /// No trusted key signed what the report says.
    Signature,
    /// A gate fails.
    Fail,
    /// A gate could not be decided, or did not run.
    Undecided,
    /// No mutant was seen to break a gate.
    Unproven,
}

impl Kind {
    /// The word in what is printed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Bundle => "bundle",
            Self::Schema => "schema",
            Self::Gates => "gates",
            Self::Row => "row",
            Self::Counts => "counts",
            Self::Evidence => "evidence",
            Self::Rederived => "rederived",
            Self::Refuted => "refuted",
            Self::Run => "run",
            Self::Source => "source",
            Self::Age => "age",
            Self::Proof => "proof",
            Self::Signature => "signature",
            Self::Fail => "fail",
            Self::Undecided => "undecided",
            Self::Unproven => "unproven",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Finding {
    /// A finding.
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}
