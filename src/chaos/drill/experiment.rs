//! An experiment file: title, description, configuration, steady-state hypothesis, method and
//! rollbacks. What Chaos Toolkit knows beyond that is refused by name, never ignored: a drill that
//! runs does everything that its file says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::read::{At, Fields, Malformed};
use super::tolerance::Tolerance;
use super::vocabulary::{Action, Probe};

const TOP: [&str; 8] = [
    "version",
    "title",
    "description",
    "tags",
    "configuration",
    "steady-state-hypothesis",
    "method",
    "rollbacks",
];

/// An experiment that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// What it is called.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// What has to be so before and after.
    pub hypothesis: Option<Hypothesis>,
    /// What is done.
    pub method: Vec<Activity>,
    /// What is done in any case at the end.
    pub rollbacks: Vec<Activity>,
    /// The file as it was read.
    pub source: Value,
}

/// What has to be so.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// In words.
    pub title: String,
    /// Each with what it may say.
    pub probes: Vec<(Activity, Tolerance)>,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub act: Act,
    /// As it stands in the file.
    pub source: Value,
}

/// What a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Something is done.
    Do(Action),
    /// Something is looked at.
    Look(Probe),
}

impl Experiment {
    /// Reads a file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let source: Value = serde_json::from_str(text).map_err(|error| Malformed {
            place: format!("line {}, column {}", error.line(), error.column()),
            what: format!("no JSON: {error}"),
        })?;
        let configuration = configuration(&At::root(&source).fields(&TOP)?)?;
        let filled = fill(&At::root(&source), &configuration)?;
        let top = At::root(&filled).fields(&TOP)?;
        if let Some(tags) = top.get("tags") {
            tags.items()?
                .iter()
                .try_for_each(|tag| tag.text().map(drop))?;
        }
        if let Some(version) = top.get("version") {
            version.text()?;
        }
        let method = top.need("method")?.items()?;
        let method: Vec<_> = method.iter().map(activity).collect::<Result<_, _>>()?;
        let rollbacks = match top.get("rollbacks") {
            Some(rollbacks) => rollbacks
                .items()?
                .iter()
                .map(rollback)
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self {
            title: top.need("title")?.text()?.to_owned(),
            description: top.need("description")?.text()?.to_owned(),
            hypothesis: top
                .get("steady-state-hypothesis")
                .map(|at| hypothesis(&at))
                .transpose()?,
            method,
            rollbacks,
            source,
        })
    }

    /// Every action of the method, in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.method
            .iter()
            .filter_map(|activity| match &activity.act {
                Act::Do(action) => Some(action),
                Act::Look(_) => None,
            })
    }
}

/// Names and plain values.
fn configuration(top: &Fields<'_>) -> Result<BTreeMap<String, Value>, Malformed> {
    let Some(at) = top.get("configuration") else {
        return Ok(BTreeMap::new());
    };
    let names: Vec<&str> = match at.value.as_object() {
        Some(map) => map.keys().map(String::as_str).collect(),
        None => return Err(at.expected("an object of names and plain values")),
    };
    let mut configuration = BTreeMap::new();
    for (name, at) in at.fields(&names)?.all() {
        if at.value.is_object() || at.value.is_array() || at.value.is_null() {
            return Err(at.expected("a text, a number or a truth value (nothing is looked up)"));
        }
        configuration.insert(name.to_owned(), at.value.clone());
    }
    Ok(configuration)
}

/// The document with each `"${name}"` replaced by its value. Only whole strings are replaced.
fn fill(at: &At<'_>, configuration: &BTreeMap<String, Value>) -> Result<Value, Malformed> {
    Ok(match at.value {
        Value::String(text) if text.contains("${") => {
            let name = text
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'));
            let value = name.and_then(|name| configuration.get(name));
            let known: Vec<&str> = configuration.keys().map(String::as_str).collect();
            let known = known.join(", ");
            value.cloned().ok_or_else(|| {
                at.expected(format!("${{NAME}}, NAME one of the configuration: {known}"))
            })?
        }
        Value::Array(_) => {
            let items = at.items()?;
            let filled = items.iter().map(|item| fill(item, configuration));
            Value::Array(filled.collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let names: Vec<&str> = map.keys().map(String::as_str).collect();
            let fields = at.fields(&names)?;
            let filled = fields
                .all()
                .map(|(name, at)| Ok((name.to_owned(), fill(&at, configuration)?)));
            Value::Object(filled.collect::<Result<Map<_, _>, _>>()?)
        }
        plain => plain.clone(),
    })
}

fn hypothesis(at: &At<'_>) -> Result<Hypothesis, Malformed> {
    let fields = at.fields(&["title", "probes"])?;
    let mut probes = Vec::new();
    for at in fields.need("probes")?.items()? {
        let given = at.fields(&["type", "name", "tolerance", "provider"])?;
        given.need("type")?.word(&[("probe", ())])?;
        let tolerance = Tolerance::read(&given.need("tolerance")?)?;
        probes.push((step(&at, &given)?, tolerance));
    }
    Ok(Hypothesis {
        title: fields.need("title")?.text()?.to_owned(),
        probes,
    })
}

fn activity(at: &At<'_>) -> Result<Activity, Malformed> {
    step(at, &at.fields(&["type", "name", "provider"])?)
}

fn rollback(at: &At<'_>) -> Result<Activity, Malformed> {
    let given = at.fields(&["type", "name", "provider"])?;
    given.need("type")?.word(&[("action", ())])?;
    step(at, &given)
}

fn step(at: &At<'_>, given: &Fields<'_>) -> Result<Activity, Malformed> {
    let look = given
        .need("type")?
        .word(&[("action", false), ("probe", true)])?;
    let provider = given.need("provider")?;
    ours(&provider)?;
    let act = if look {
        let fields = provider.fields(&["type", "probe", "arguments"])?;
        Act::Look(Probe::read(
            &fields.need("probe")?,
            fields.get("arguments"),
        )?)
    } else {
        let fields = provider.fields(&["type", "action", "arguments"])?;
        Act::Do(Action::read(
            &fields.need("action")?,
            fields.get("arguments"),
        )?)
    };
    Ok(Activity {
        name: given.need("name")?.text()?.to_owned(),
        act,
        source: at.value.clone(),
    })
}

/// Whether the provider is ours; another one would run code of somebody else.
fn ours(provider: &At<'_>) -> Result<(), Malformed> {
    let kind = provider.value.get("type").and_then(Value::as_str);
    match kind {
        Some("sonia") => Ok(()),
        Some(foreign @ ("python" | "process" | "http")) => Err(provider.wrong(format!(
            "a provider of type `{foreign}` is not run here; use type `sonia`, which drives the \
             target itself"
        ))),
        _ => Err(provider.wrong("`type` has to be `sonia`")),
    }
}

#[cfg(test)]
#[path = "experiment_tests.rs"]
mod tests;
