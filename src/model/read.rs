//! Reads one gates file strictly: an unknown key or a wrong type is an error with its line.
//! What the values have to be is not known here; see `rules`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::complaint::ModelError;
use super::suggest::nearest;

/// A gates file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) release: Header,
    #[serde(rename = "epic", default)]
    pub(super) epics: Vec<EpicRow>,
    #[serde(rename = "gate", default)]
    pub(super) gates: Vec<Spanned<GateRow>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) name: Spanned<String>,
    pub(super) version: Spanned<String>,
    pub(super) schema: Spanned<String>,
    pub(super) inherits: Option<Spanned<String>>,
    pub(super) floor: Spanned<usize>,
    pub(super) delta: Spanned<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpicRow {
    pub(super) id: Spanned<String>,
    pub(super) title: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GateRow {
    pub(super) id: Spanned<String>,
    pub(super) name: Spanned<String>,
    pub(super) epic: Spanned<String>,
    pub(super) subject: Spanned<String>,
    pub(super) claim: Spanned<String>,
    pub(super) needs: Vec<Spanned<String>>,
    pub(super) deadline_s: Spanned<u64>,
    pub(super) exercised: Spanned<BTreeMap<String, Spanned<u64>>>,
    pub(super) mutants: Spanned<Vec<Spanned<String>>>,
}

/// A gates file with its text, so that a place in it can be told as a line.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) file: File,
}

impl Source {
    /// Parses `text`, which was read from `path`.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, ModelError> {
        match toml::from_str(text) {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                text: text.to_owned(),
                file,
            }),
            Err(error) => {
                let what = error
                    .message()
                    .lines()
                    .next()
                    .unwrap_or("not TOML")
                    .to_owned();
                let complaint = ModelError::new(&what, hint(&what));
                Err(match error.span() {
                    Some(span) => complaint.at(path, line_at(text, span.start)),
                    None => complaint.in_file(path),
                })
            }
        }
    }

    /// The line of this place, counted from 1.
    pub(super) fn line(&self, span: Range<usize>) -> usize {
        line_at(&self.text, span.start)
    }

    /// An error about this place.
    pub(super) fn complain(
        &self,
        span: Range<usize>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> ModelError {
        ModelError::new(what, hint).at(&self.path, self.line(span))
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// What to do about an error of the parser: its own words name the wrong key first and then those
/// that there are.
fn hint(what: &str) -> String {
    let quoted: Vec<&str> = what.split('`').skip(1).step_by(2).collect();
    match quoted.as_slice() {
        [wrong, known @ ..] if what.starts_with("unknown field") => {
            match nearest(wrong, known.iter().copied()) {
                Some(right) => format!("write `{right}`, or remove the line"),
                None => "remove the line, or correct the key".to_owned(),
            }
        }
        [missing, ..] if what.starts_with("missing field") => {
            format!("add a line `{missing} = ...`; any other entry of the file shows its form")
        }
        _ => "correct the line; any other entry of the file shows its form".to_owned(),
    }
}
