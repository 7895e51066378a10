//! Who acted, as the audit logs in the databases say: looked up by the correlation id.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stored;
use crate::checks::Undecided;
use crate::target::{Instance, Setup};

/// What of an audit entry tells who did what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The chain, which is the service.
    pub chain: String,
    /// What was done.
    pub action: String,
    /// Who.
    pub actor_id: String,
    /// In which role.
    pub actor_role: String,
    /// Through whom.
    pub via: Option<String>,
    /// `ok`, `refused` or `failed`.
    pub outcome: String,
}

/// The logs of a target at one moment.
#[derive(Default)]
pub struct Logs {
    chains: BTreeSet<String>,
    by_id: BTreeMap<String, Vec<Entry>>,
}

impl Logs {
    /// Reads every chain that the target lists, from copies of its databases.
    ///
    /// # Errors
    /// When a chain has no database, or one that cannot be read.
    pub fn read(target: &Instance) -> Result<Self, Undecided> {
        let listening = target.listening();
        let mut logs = Self::default();
        for chain in listening.chains.keys() {
            let path = listening
                .databases
                .get(chain)
                .ok_or_else(|| Undecided(format!("the target names no database of {chain}")))?;
            let copy = Setup::data(&target.setup().dir).join(format!("copy of {chain}.db"));
            stored::copy(path, &copy).map_err(Undecided)?;
            for row in stored::rows(&copy, chain).map_err(Undecided)? {
                // What is replayed keeps the correlation id of the first time; the request that
                // asked for it is named besides.
                let ids = ["correlation_id", "request_id"].map(|field| text(&row, field));
                for id in BTreeSet::from(ids) {
                    logs.by_id.entry(id).or_default().push(entry(chain, &row));
                }
            }
            logs.chains.insert(chain.clone());
        }
        Ok(logs)
    }

    /// The entries about a request to this service, of all chains; none when the service's own was
    /// not read.
    #[must_use]
    pub fn about(&self, service: &str, id: &str) -> Option<Vec<Entry>> {
        let known = self.chains.contains(service);
        known.then(|| self.by_id.get(id).cloned().unwrap_or_default())
    }
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

fn entry(chain: &str, row: &Value) -> Entry {
    Entry {
        chain: chain.to_owned(),
        action: text(row, "action"),
        actor_id: text(row, "actor_id"),
        actor_role: text(row, "actor_role"),
        via: row["via"].as_str().map(str::to_owned),
        outcome: text(row, "outcome"),
    }
}
