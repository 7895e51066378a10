//! Reads JSON strictly: every key is known, every value has its type, and whatever is wrong is named
//! with its place (`$.method[1].provider.action`), what was got and what is allowed.

use std::fmt;

use serde_json::{Map, Value};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Malformed {
    /// `$.method[1].provider.action`, or a line and a column.
    pub place: String,
    /// Got and expected.
    pub what: String,
}

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) value: &'a Value,
    pub(super) place: String,
}

/// The fields of an object whose keys are all known.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

impl<'a> At<'a> {
    /// The whole document.
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            place: "$".to_owned(),
        }
    }

    /// Says that this is wrong.
    pub(super) fn wrong(&self, what: impl Into<String>) -> Malformed {
        Malformed {
            place: self.place.clone(),
            what: what.into(),
        }
    }

    /// Says that this should be something else.
    pub(super) fn expected(&self, what: impl fmt::Display) -> Malformed {
        self.wrong(format!("got {}, expected {what}", shown(self.value)))
    }

    /// The fields, none beside those that are allowed.
    pub(super) fn fields(&self, allowed: &[&str]) -> Result<Fields<'a>, Malformed> {
        let map = self.value.as_object();
        let map = map.ok_or_else(|| self.expected("an object"))?;
        if let Some(unknown) = map.keys().find(|key| !allowed.contains(&key.as_str())) {
            let allowed = match allowed {
                [] => "none".to_owned(),
                _ => allowed.join(", "),
            };
            return Err(self.wrong(format!("unknown key `{unknown}`; allowed here: {allowed}")));
        }
        Ok(Fields {
            map,
            place: self.place.clone(),
        })
    }

    /// The elements.
    pub(super) fn items(&self) -> Result<Vec<Self>, Malformed> {
        let items = self.value.as_array();
        let items = items.ok_or_else(|| self.expected("an array"))?;
        let at = |(index, value)| At {
            value,
            place: format!("{}[{index}]", self.place),
        };
        Ok(items.iter().enumerate().map(at).collect())
    }

    /// A text that says something.
    pub(super) fn text(&self) -> Result<&'a str, Malformed> {
        let text = self.value.as_str().filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| self.expected("a text that is not empty"))
    }

    /// One of these words, as what it stands for.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Malformed> {
        let known = words.iter().find(|(word, _)| self.value == *word);
        known.map(|(_, is)| *is).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.expected(format!("one of {}", words.join(", ")))
        })
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, bounds: std::ops::RangeInclusive<u64>) -> Result<u64, Malformed> {
        let number = self.value.as_u64().filter(|number| bounds.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            self.expected(format!("a whole number from {least} to {most}"))
        })
    }
}

impl<'a> Fields<'a> {
    /// A field that may be missing.
    pub(super) fn get(&self, name: &str) -> Option<At<'a>> {
        self.map.get(name).map(|value| At {
            value,
            place: format!("{}.{name}", self.place),
        })
    }

    /// A field that may not.
    pub(super) fn need(&self, name: &str) -> Result<At<'a>, Malformed> {
        self.get(name).ok_or_else(|| Malformed {
            place: self.place.clone(),
            what: format!("`{name}` is missing"),
        })
    }

    /// The names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let place = self.place.clone();
        self.map.iter().map(move |(name, value)| {
            let place = format!("{place}.{name}");
            (name.as_str(), At { value, place })
        })
    }
}

/// A value in an error: whole when it is short.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::String(text) if text.chars().count() > 60 => "a long text".to_owned(),
        plain => plain.to_string(),
    }
}
