//! What is wrong with a gates file or a selection: where, what, and what to do about it.

use std::fmt;

/// An error of the gate model. It displays as `file:line: what`; the hint is kept apart, so that
/// whoever prints can give it a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    /// The gates file, if it is about one.
    pub file: Option<String>,
    /// The line in it, counted from 1.
    pub line: Option<usize>,
    /// What is wrong, lowercase and without a full stop.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl ModelError {
    /// An error that is about no file, such as a selection of nothing.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// The same error, about this line of this file.
    #[must_use]
    pub fn at(mut self, file: &str, line: usize) -> Self {
        self.file = Some(file.to_owned());
        self.line = Some(line);
        self
    }

    /// The same error, about this file as a whole.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.what),
            (Some(file), None) => write!(f, "{file}: {}", self.what),
            _ => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for ModelError {}
