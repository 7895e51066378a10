//! The config in force. Everything but `slo` stays as it was at start.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::settling::Content;
use super::{Config, ConfigError, Slo, parse};
use crate::reference::parts::Settings;

/// The largest config file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The file, and what of it is in force.
pub struct LiveConfig {
    file: PathBuf,
    settings: Settings,
    /// What the file held at start.
    loaded: Content,
    current: RwLock<(Arc<Config>, u64)>,
}

/// What a content of the file led to.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// `slo` is in force already.
    InForce,
    /// Its `slo` was put in force, as this generation.
    Applied(u64),
}

impl LiveConfig {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// The file cannot be read, or see [`parse`].
    pub fn load(file: &Path, settings: Settings) -> Result<Self, ConfigError> {
        let loaded = look(file);
        let config = match &loaded {
            Content::Bytes(bytes) => parse(text(bytes)?, &settings)?,
            Content::Absent(why) => return Err(wrong(file.display(), why)),
        };
        let current = RwLock::new((Arc::new(config), 1));
        Ok(Self {
            file: file.to_owned(),
            settings,
            loaded,
            current,
        })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What the file held at start.
    pub fn loaded(&self) -> &Content {
        &self.loaded
    }

    /// What is in force.
    pub fn current(&self) -> Arc<Config> {
        self.generation().0
    }

    /// What is in force, and how many times something was put in force.
    pub fn generation(&self) -> (Arc<Config>, u64) {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Parses the bytes of the file with the same overlay; puts nothing in force.
    ///
    /// # Errors
    /// Not UTF-8, or see [`parse`].
    pub fn read(&self, bytes: &[u8]) -> Result<Config, ConfigError> {
        parse(text(bytes)?, &self.settings)
    }

    /// Puts another `slo` in force. The same again is no change.
    pub fn adopt(&self, slo: &Slo) -> Taken {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0.slo == *slo {
            return Taken::InForce;
        }
        let mut config = Config::clone(&current.0);
        config.slo = slo.clone();
        *current = (Arc::new(config), current.1 + 1);
        Taken::Applied(current.1)
    }

    /// The keys beside `slo` that this config has other than those in force: they wait for a start.
    pub fn waiting(&self, config: &Config) -> Vec<String> {
        let keys = |config: &Config| match serde_json::to_value(config) {
            Ok(Value::Object(keys)) => keys,
            _ => serde_json::Map::new(),
        };
        let (in_force, given) = (keys(&self.current()), keys(config));
        let differs = |(key, value): &(&String, &Value)| {
            key.as_str() != "slo" && in_force.get(key.as_str()) != Some(*value)
        };
        let differing = given.iter().filter(differs);
        differing.map(|(key, _)| key.clone()).collect()
    }
}

/// What the file holds now. Never waits for a writer: whoever looks again sees what came later.
pub(super) fn look(file: &Path) -> Content {
    let read = || {
        let metadata = std::fs::metadata(file)?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("not a file"));
        }
        let mut bytes = Vec::new();
        File::open(file)?
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Content::Bytes(bytes),
        Err(error) => Content::Absent(error.to_string()),
    }
}

fn text(bytes: &[u8]) -> Result<&str, ConfigError> {
    if bytes.len() as u64 > LARGEST {
        return Err(wrong("config", format!("larger than {LARGEST} bytes")));
    }
    std::str::from_utf8(bytes).map_err(|error| wrong("config", format!("not UTF-8: {error}")))
}

fn wrong(path: impl ToString, message: impl ToString) -> ConfigError {
    ConfigError {
        path: path.to_string(),
        message: message.to_string(),
    }
}
