//! What a link can be told to do to bytes, in Toxiproxy's vocabulary: its names, its units, its JSON.
//!
//! Two things are ours. A toxicity may count for each request instead of once for a connection, and
//! what cannot be meant (an unknown attribute, a toxicity of 7) is refused and not taken for nothing.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::Direction;

/// Which way the bytes go that a toxic is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// From who connected, towards the upstream.
    Upstream,
    /// From the upstream back.
    #[default]
    Downstream,
}

impl Stream {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
        }
    }
}

impl From<Direction> for Stream {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::ToUpstream => Self::Upstream,
            Direction::ToClient => Self::Downstream,
        }
    }
}

/// What a toxicity is drawn for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Once for a connection, as Toxiproxy does.
    #[default]
    Connection,
    /// Anew for each request of a connection. A request begins with the first bytes from the client
    /// after bytes from the upstream, and what the upstream says then is its answer. So it fits
    /// protocols that take turns (HTTP/1 with keep-alive), and no pipelines.
    Request,
}

impl Per {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    fn is_connection(&self) -> bool {
        *self == Self::Connection
    }
}

/// What a toxic does. Attributes that are left out are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    content = "attributes",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum ToxicKind {
    /// Each chunk arrives later. Latencies of several toxics add up; chunks in flight do not wait
    /// for one another.
    Latency {
        /// Milliseconds.
        #[serde(rename = "latency", default)]
        latency_ms: u64,
        /// Up to this much more or less, evenly drawn, but never less than nothing.
        #[serde(rename = "jitter", default)]
        jitter_ms: u64,
    },
    /// Bytes arrive at a rate at most; a sender who is faster is slowed down. At 0 nothing passes.
    Bandwidth {
        /// Thousands of bytes a second.
        #[serde(rename = "rate", default)]
        rate_kb_s: u64,
    },
    /// Chunks are cut into small pieces.
    Slicer {
        /// How long a piece is on average, in bytes; at least 1.
        #[serde(rename = "average_size", default)]
        average_bytes: u64,
        /// Up to this much longer or shorter, evenly drawn, but never shorter than 1.
        #[serde(rename = "size_variation", default)]
        variation_bytes: u64,
        /// Microseconds after each piece.
        #[serde(rename = "delay", default)]
        delay_us: u64,
    },
    /// The connection is closed after so many bytes; what comes later is lost.
    LimitData {
        /// How many.
        #[serde(default)]
        bytes: u64,
    },
    /// Nothing passes and what comes is lost, until the connection is closed: when nothing came for
    /// so long, or the toxic is taken away.
    Timeout {
        /// Milliseconds; 0 never closes.
        #[serde(rename = "timeout", default)]
        timeout_ms: u64,
    },
    /// The connection is reset so long after the first chunk, which does not pass.
    ResetPeer {
        /// Milliseconds.
        #[serde(rename = "timeout", default)]
        timeout_ms: u64,
    },
    /// The end of the stream arrives later.
    SlowClose {
        /// Milliseconds.
        #[serde(rename = "delay", default)]
        delay_ms: u64,
    },
}

impl ToxicKind {
    /// The words that name a kind.
    pub const TYPES: [&'static str; 7] = [
        "latency",
        "bandwidth",
        "slicer",
        "limit_data",
        "timeout",
        "reset_peer",
        "slow_close",
    ];

    /// What the attributes of such a kind are called; none when there is no such kind.
    #[must_use]
    pub fn attribute_names(word: &str) -> &'static [&'static str] {
        match word {
            "latency" => &["latency", "jitter"],
            "bandwidth" => &["rate"],
            "slicer" => &["average_size", "size_variation", "delay"],
            "limit_data" => &["bytes"],
            "timeout" | "reset_peer" => &["timeout"],
            "slow_close" => &["delay"],
            _ => &[],
        }
    }

    /// As it is written in `type`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Slicer { .. } => "slicer",
            Self::LimitData { .. } => "limit_data",
            Self::Timeout { .. } => "timeout",
            Self::ResetPeer { .. } => "reset_peer",
            Self::SlowClose { .. } => "slow_close",
        }
    }

    /// A kind by its word, with these attributes.
    ///
    /// # Errors
    /// When there is no such kind, an attribute is not one of its, or its value cannot be meant.
    pub fn of(word: &str, attributes: &Map<String, Value>) -> Result<Self, ToxicError> {
        if !Self::TYPES.contains(&word) {
            return Err(ToxicError::UnknownType(word.to_owned()));
        }
        let told = json!({"type": word, "attributes": attributes});
        let kind: Self = serde_json::from_value(told)
            .map_err(|error| ToxicError::Wrong(format!("attributes of {word}: {error}")))?;
        match kind {
            Self::Slicer {
                average_bytes: 0, ..
            } => Err(ToxicError::Wrong(
                "attributes of slicer: average_size is 0, expected at least 1 byte".to_owned(),
            )),
            kind => Ok(kind),
        }
    }

    /// Its attributes by their names in JSON.
    #[must_use]
    pub fn attributes(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut whole)) => match whole.remove("attributes") {
                Some(Value::Object(attributes)) => attributes,
                _ => Map::new(),
            },
            _ => Map::new(),
        }
    }

    /// The same with these attributes instead; those that are not named stay.
    ///
    /// # Errors
    /// As [`ToxicKind::of`].
    pub fn with(&self, attributes: &Map<String, Value>) -> Result<Self, ToxicError> {
        let mut all = self.attributes();
        all.extend(attributes.clone());
        Self::of(self.word(), &all)
    }
}

/// One fault of one stream of a link. In JSON `{"attributes": {"latency": 50, "jitter": 0}, "name":
/// "slow", "type": "latency", "stream": "downstream", "toxicity": 1}`, of which only `type` has to be
/// there; what is left out has Toxiproxy's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Told", into = "Told")]
pub struct Toxic {
    /// Unique on its link. `TYPE_STREAM` when it is not told.
    pub name: String,
    /// What it does.
    pub kind: ToxicKind,
    /// To which bytes.
    pub stream: Stream,
    /// How likely it is that a connection, or a request, has it: 0 to 1.
    pub toxicity: f32,
    /// What the toxicity is drawn for. In JSON `toxicity_per`, left out for connections.
    pub per: Per,
}

impl Toxic {
    /// A toxic that every connection has, under its default name.
    #[must_use]
    pub fn new(kind: ToxicKind, stream: Stream) -> Self {
        Self {
            name: format!("{}_{}", kind.word(), stream.word()),
            kind,
            stream,
            toxicity: 1.0,
            per: Per::Connection,
        }
    }

    /// The same under this name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { name, ..self }
    }

    /// The same with this toxicity, drawn for this.
    #[must_use]
    pub fn with_toxicity(self, toxicity: f32, per: Per) -> Self {
        Self {
            toxicity,
            per,
            ..self
        }
    }

    /// Whether it can be meant.
    pub(in crate::chaos) fn check(&self) -> Result<(), ToxicError> {
        if self.name.is_empty() {
            return Err(ToxicError::Wrong("name is empty".to_owned()));
        }
        if !(0.0..=1.0).contains(&self.toxicity) {
            return Err(ToxicError::Wrong(format!(
                "toxicity is {}, expected 0 to 1",
                self.toxicity
            )));
        }
        // The same rules for a kind that was made and for one that was read.
        ToxicKind::of(self.kind.word(), &self.kind.attributes()).map(|_| ())
    }
}

/// Why a toxic was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToxicError {
    /// There is one of this name already.
    #[error("there is a toxic `{0}` already")]
    Exists(String),
    /// There is none of this name.
    #[error("there is no toxic `{0}`")]
    NotFound(String),
    /// An update may change attributes and toxicity, not what or where a toxic is.
    #[error("toxic `{0}` has another type or stream; remove it and add it anew")]
    Other(String),
    /// No kind of toxic.
    #[error("unknown type `{0}`, expected one of {types}", types = ToxicKind::TYPES.join(", "))]
    UnknownType(String),
    /// What cannot be meant, with the place.
    #[error("{0}")]
    Wrong(String),
}

/// A toxic in JSON, its keys in Toxiproxy's order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(default)]
    attributes: Map<String, Value>,
    #[serde(default)]
    name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    stream: Stream,
    #[serde(default = "always", serialize_with = "shortest")]
    toxicity: f32,
    #[serde(default, skip_serializing_if = "Per::is_connection")]
    toxicity_per: Per,
}

fn always() -> f32 {
    1.0
}

/// 1 and not 1.0, as Toxiproxy writes it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn shortest<S: Serializer>(toxicity: &f32, to: S) -> Result<S::Ok, S::Error> {
    if *toxicity == 1.0 || *toxicity == 0.0 {
        to.serialize_u8(u8::from(*toxicity == 1.0))
    } else {
        to.serialize_f32(*toxicity)
    }
}

impl TryFrom<Told> for Toxic {
    type Error = ToxicError;

    fn try_from(told: Told) -> Result<Self, ToxicError> {
        let kind = ToxicKind::of(&told.kind, &told.attributes)?;
        let toxic = Self::new(kind, told.stream).with_toxicity(told.toxicity, told.toxicity_per);
        let toxic = match told.name.filter(|name| !name.is_empty()) {
            Some(name) => toxic.named(name),
            None => toxic,
        };
        toxic.check()?;
        Ok(toxic)
    }
}

impl From<Toxic> for Told {
    fn from(toxic: Toxic) -> Self {
        Self {
            attributes: toxic.kind.attributes(),
            name: Some(toxic.name),
            kind: toxic.kind.word().to_owned(),
            stream: toxic.stream,
            toxicity: toxic.toxicity,
            toxicity_per: toxic.per,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Toxic, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_toxiproxys_defaults() {
        let toxic = read(r#"{"type": "latency", "attributes": {"latency": 50}}"#).unwrap();
        let kind = ToxicKind::Latency {
            latency_ms: 50,
            jitter_ms: 0,
        };
        assert_eq!(toxic, Toxic::new(kind, Stream::Downstream));
        assert_eq!(toxic.name, "latency_downstream");
        let written = serde_json::to_string(&toxic).unwrap();
        let rest =
            r#""name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1}"#;
        assert!(written.starts_with(r#"{"attributes":{"#), "{written}");
        assert!(written.ends_with(rest), "{written}");
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for word in ToxicKind::TYPES {
            let attributes = if word == "slicer" {
                r#"{"average_size": 7, "size_variation": 3, "delay": 9}"#
            } else {
                "{}"
            };
            let text = format!(
                r#"{{"type": "{word}", "name": "n", "stream": "upstream", "toxicity": 0.25,
                    "toxicity_per": "request", "attributes": {attributes}}}"#
            );
            let toxic = read(&text).unwrap();
            assert_eq!((toxic.kind.word(), toxic.per), (word, Per::Request));
            let mut names: Vec<String> = toxic
                .kind
                .attributes()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            let mut expected = ToxicKind::attribute_names(word).to_vec();
            names.sort();
            expected.sort();
            assert_eq!(names, expected);
            let written = serde_json::to_string(&toxic).unwrap();
            assert!(written.contains(r#""toxicity":0.25,"toxicity_per":"request""#));
            assert_eq!(read(&written).unwrap(), toxic);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_place_and_what_was_expected() {
        for (text, expected) in [
            (
                r#"{"type": "latncy"}"#,
                "unknown type `latncy`, expected one of latency,",
            ),
            (
                r#"{"type": "latency", "attributes": {"latnecy": 1}}"#,
                "attributes of latency: unknown field `latnecy`, expected `latency` or `jitter`",
            ),
            (
                r#"{"type": "latency", "attributes": {"latency": -1}}"#,
                "attributes of latency: invalid value: integer `-1`",
            ),
            (
                r#"{"type": "timeout", "toxicity": 1.5}"#,
                "toxicity is 1.5, expected 0 to 1",
            ),
            (
                r#"{"type": "timeout", "stream": "up"}"#,
                "expected `upstream` or `downstream`",
            ),
            (
                r#"{"type": "timeout", "toxcity": 1}"#,
                "unknown field `toxcity`",
            ),
            (
                r#"{"type": "slicer"}"#,
                "average_size is 0, expected at least 1 byte",
            ),
            (r#"{"attributes": {}}"#, "missing field `type`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(expected),
                "{text}: got {error}, expected {expected}"
            );
        }
    }

    #[test]
    fn an_update_changes_what_it_names_and_leaves_the_rest() {
        let kind = ToxicKind::Latency {
            latency_ms: 50,
            jitter_ms: 10,
        };
        let attributes = json!({"latency": 5});
        let updated = kind.with(attributes.as_object().unwrap()).unwrap();
        let expected = ToxicKind::Latency {
            latency_ms: 5,
            jitter_ms: 10,
        };
        assert_eq!(updated, expected);
        let wrong = json!({"rate": 5});
        assert!(kind.with(wrong.as_object().unwrap()).is_err());
    }
}
