//! What clients say, read as leniently as the original reads it: one JSON value, whatever follows it;
//! names of fields in any case; null is nothing; fields that nobody knows are nobody's.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::answer::Refusal;
use crate::chaos::link::{Per, Stream, Toxic, ToxicKind};

/// A proxy as it is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct ProxyTold {
    pub(super) name: String,
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) enabled: bool,
    /// Ours: the toxics that it has from its first connection on.
    toxics: Option<Vec<Value>>,
}

impl Default for ProxyTold {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: String::new(),
            upstream: String::new(),
            enabled: true,
            toxics: None,
        }
    }
}

impl ProxyTold {
    /// The toxics that are told, if any are.
    pub(super) fn toxics(&self) -> Result<Option<Vec<Toxic>>, Refusal> {
        let Some(told) = &self.toxics else {
            return Ok(None);
        };
        let mut toxics: Vec<Toxic> = Vec::new();
        for value in told {
            let toxic = toxic(value.clone())?;
            if toxics.iter().any(|other| other.name == toxic.name) {
                return Err(Refusal::ToxicExists);
            }
            toxics.push(toxic);
        }
        Ok(Some(toxics))
    }

    /// What a proxy cannot be without; `place` says which one it is of several.
    pub(super) fn check(&self, place: &str) -> Result<(), Refusal> {
        for (field, value) in [("name", &self.name), ("upstream", &self.upstream)] {
            if value.is_empty() {
                return Err(Refusal::Missing(format!("{field}{place}")));
            }
        }
        Ok(())
    }
}

/// What is to change of a proxy; what is not told stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProxyChange {
    pub(super) listen: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) enabled: Option<bool>,
}

/// A toxic as it is told.
#[derive(Deserialize)]
#[serde(default)]
struct ToxicTold {
    attributes: Map<String, Value>,
    name: String,
    r#type: String,
    stream: String,
    toxicity: f32,
    toxicity_per: Per,
}

impl Default for ToxicTold {
    fn default() -> Self {
        Self {
            attributes: Map::new(),
            name: String::new(),
            r#type: String::new(),
            stream: Stream::default().word().to_owned(),
            toxicity: 1.0,
            toxicity_per: Per::default(),
        }
    }
}

/// What is to change of a toxic.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ToxicChange {
    attributes: Map<String, Value>,
    toxicity: Option<f32>,
    toxicity_per: Option<Per>,
}

/// The one value at the beginning of a body.
pub(super) fn value(body: &[u8]) -> Result<Value, Refusal> {
    let mut from = serde_json::Deserializer::from_slice(body);
    Value::deserialize(&mut from).map_err(|error| {
        let blank = body.iter().all(u8::is_ascii_whitespace);
        Refusal::Body(match error.classify() {
            Category::Eof if blank => "EOF".to_owned(),
            Category::Eof => "unexpected EOF".to_owned(),
            _ => error.to_string(),
        })
    })
}

/// A value as what is expected there.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(tidy(value)).map_err(|error| Refusal::Body(error.to_string()))
}

/// Names in small letters, and nothing that is null.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let told = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                told.map(|(name, value)| (name.to_lowercase(), value))
                    .collect(),
            )
        }
        other => other,
    }
}

/// The attributes that such a toxic has; the original ignores others.
fn known(word: &str, attributes: Map<String, Value>) -> Map<String, Value> {
    let names = ToxicKind::attribute_names(word);
    let Value::Object(attributes) = tidy(Value::Object(attributes)) else {
        return Map::new();
    };
    let attributes = attributes.into_iter();
    attributes
        .filter(|(name, _)| names.contains(&name.as_str()))
        .collect()
}

/// A new toxic.
pub(super) fn toxic(value: Value) -> Result<Toxic, Refusal> {
    let told: ToxicTold = read(value)?;
    let stream = match told.stream.to_lowercase().as_str() {
        "upstream" => Stream::Upstream,
        "downstream" => Stream::Downstream,
        _ => return Err(Refusal::Stream),
    };
    let kind = ToxicKind::of(&told.r#type, &known(&told.r#type, told.attributes))?;
    let toxic = Toxic::new(kind, stream).with_toxicity(told.toxicity, told.toxicity_per);
    let toxic = match told.name.is_empty() {
        true => toxic,
        false => toxic.named(told.name),
    };
    toxic.check()?;
    Ok(toxic)
}

/// A toxic with what is to change.
pub(super) fn changed(toxic: Toxic, value: Value) -> Result<Toxic, Refusal> {
    let change: ToxicChange = read(value)?;
    let kind = toxic
        .kind
        .with(&known(toxic.kind.word(), change.attributes))?;
    let toxicity = change.toxicity.unwrap_or(toxic.toxicity);
    let per = change.toxicity_per.unwrap_or(toxic.per);
    Ok(Toxic { kind, ..toxic }.with_toxicity(toxicity, per))
}
