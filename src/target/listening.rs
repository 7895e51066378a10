//! The first line a target prints: where its services, databases and chains are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The line `{"event":"listening",...}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Always `listening`.
    pub event: String,
    /// The process that prints it.
    pub pid: u32,
    /// Base URL of each service by name.
    pub services: BTreeMap<String, String>,
    /// SQLite files by name.
    #[serde(default)]
    pub databases: BTreeMap<String, PathBuf>,
    /// Files of the vector index.
    #[serde(default)]
    pub index_files: Vec<PathBuf>,
    /// Audit chains by name, each with the public key of its checkpoints, if it signs any.
    #[serde(default)]
    pub chains: BTreeMap<String, Option<String>>,
    /// Commands of the target by name, as argument vectors.
    #[serde(default)]
    pub commands: BTreeMap<String, Vec<String>>,
}

impl Listening {
    /// A target of which only the gateway's address is known.
    #[must_use]
    pub fn remote(gateway: &str) -> Self {
        let url = gateway.trim_end_matches('/').to_owned();
        let services = BTreeMap::from([("api-gateway".to_owned(), url)]);
        Self {
            event: "listening".to_owned(),
            services,
            ..Self::default()
        }
    }

    /// Reads the line.
    ///
    /// # Errors
    /// The reason why it is not the line that the contract names.
    pub fn parse(line: &str) -> Result<Self, String> {
        let parsed: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if parsed.event != "listening" {
            return Err(format!("event is `{}`, expected `listening`", parsed.event));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::Listening;
    use serde_json::Value;

    fn sample() -> Value {
        let text = include_str!("../../fixtures/contract/process.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_contracts_sample_comes_back_whole() {
        let line = sample()["listening"].to_string();
        let parsed = Listening::parse(&line).unwrap();
        assert_eq!(
            serde_json::to_value(&parsed).unwrap(),
            sample()["listening"]
        );
        assert_eq!(parsed.services["eva-os"], "http://127.0.0.1:40002");
    }

    #[test]
    fn another_event_and_no_json_are_refused() {
        assert!(Listening::parse(&sample()["ready"].to_string()).is_err());
        assert!(Listening::parse("Listening on port 80").is_err());
    }
}
