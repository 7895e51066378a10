//! The config in force. Everything but `slo` stays as it was at start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Config, ConfigError, Slo, parse};
use crate::reference::parts::Settings;

/// The file, and what of it is in force.
pub struct LiveConfig {
    file: PathBuf,
    settings: Settings,
    current: RwLock<(Arc<Config>, u64)>,
}

impl LiveConfig {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// The file cannot be read, or see [`parse`].
    pub fn load(file: &Path, settings: Settings) -> Result<Self, ConfigError> {
        let config = parse(&text(file)?, &settings)?;
        let current = RwLock::new((Arc::new(config), 1));
        Ok(Self {
            file: file.to_owned(),
            settings,
            current,
        })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
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

    /// Parses a text of the file with the same overlay; puts nothing in force.
    ///
    /// # Errors
    /// See [`parse`].
    pub fn read(&self, text: &str) -> Result<Config, ConfigError> {
        parse(text, &self.settings)
    }

    /// Puts another `slo` in force.
    pub fn adopt(&self, slo: Slo) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut config = Config::clone(&current.0);
        config.slo = slo;
        *current = (Arc::new(config), current.1 + 1);
    }
}

fn text(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| ConfigError {
        path: file.display().to_string(),
        message: error.to_string(),
    })
}
