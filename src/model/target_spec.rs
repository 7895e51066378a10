//! Which target a run is about: a child process of ours or a URL. Says nothing of how it is started.

use serde::{Deserialize, Serialize};

/// A target by name. A mutant and a null target are such a specification too: who runs gates
/// cannot tell the difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// The name in reports.
    pub name: String,
    /// What it is.
    pub kind: TargetKind,
}

/// The kinds of target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TargetKind {
    /// A child process of our own binary; `args` follow `serve`.
    Embedded {
        /// Extra arguments, such as `--mutant NAME`.
        args: Vec<String>,
    },
    /// A stack that runs elsewhere; `url` is its gateway's.
    Remote {
        /// The address of the api-gateway.
        url: String,
    },
}

impl TargetSpec {
    /// The reference as a child process, unchanged.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            name: "reference".to_owned(),
            kind: TargetKind::Embedded { args: Vec::new() },
        }
    }
}
