//! Which target a run is about: a child process of ours or a URL. Says nothing of how it is started.

use serde::{Deserialize, Serialize};

/// The names that are reserved for null targets: they claim everything and do nothing.
pub const NULL_TARGETS: [&str; 5] = ["empty", "liar", "echo", "refuse", "frozen"];

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

/// What a gate may need from a target beyond its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// The process is ours: it can be started, killed and started again, and its commands run.
    Restart,
    /// Its SQLite and index files can be read.
    Database,
    /// Its config file can be written.
    Config,
    /// Its backends are doubles of ours.
    Doubles,
}

impl Capability {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Restart, Self::Database, Self::Config, Self::Doubles];

    /// The name in gates files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Database => "database",
            Self::Config => "config",
            Self::Doubles => "doubles",
        }
    }

    /// The capability of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
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

    /// The null target of this name, if it is one of [`NULL_TARGETS`].
    #[must_use]
    pub fn null(name: &str) -> Option<Self> {
        NULL_TARGETS.contains(&name).then(|| Self {
            name: name.to_owned(),
            kind: TargetKind::Embedded {
                args: vec!["--null".to_owned(), name.to_owned()],
            },
        })
    }

    /// The mutant of this name, as a child process.
    #[must_use]
    pub fn mutant(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: TargetKind::Embedded {
                args: vec!["--mutant".to_owned(), name.to_owned()],
            },
        }
    }

    /// Whether the target can do this. One that is only a URL can do none of it.
    #[must_use]
    pub fn can(&self, _capability: Capability) -> bool {
        matches!(self.kind, TargetKind::Embedded { .. })
    }
}
