//! Why a history cannot be read.

/// What is wrong with a line of a history. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}, expected {expected}")]
pub struct Malformed {
    /// Where.
    pub line: usize,
    /// What is there.
    pub what: String,
    /// What should be there.
    pub expected: String,
}

impl Malformed {
    /// This is there, and that was expected.
    pub fn new(line: usize, what: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
            expected: expected.into(),
        }
    }
}

/// What of a line is shown in a message.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 60;
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("`{}…`", &text[..at]),
        None => format!("`{text}`"),
    }
}
