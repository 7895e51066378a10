//! An experiment file: title, description, configuration, secrets, steady-state hypothesis, method,
//! rollbacks, and when the hypothesis is looked at and the rollbacks are done. What Chaos Toolkit
//! knows beyond that is refused by name, never ignored: a drill that runs does everything that its
//! file says. Only what says nothing of the run (`tags`, `contributions`, `extensions`) is passed over.

use std::time::Duration;

use serde_json::{Value, json};

use super::foreign::{Foreign, seconds};
use super::read::{At, Fields, Malformed};
use super::tolerance::Tolerance;
use super::variables::{Environment, Variables};
use super::vocabulary::{Action, Probe};

const TOP: [&str; 13] = [
    "version",
    "title",
    "description",
    "tags",
    "configuration",
    "secrets",
    "steady-state-hypothesis",
    "method",
    "rollbacks",
    "runtime",
    "contributions",
    "extensions",
    "controls",
];

/// What may stand beside a provider of somebody else's.
const BESIDE: [&str; 7] = [
    "type",
    "name",
    "provider",
    "background",
    "pauses",
    "tolerance",
    "controls",
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
    /// When it is looked at.
    pub looks: Looks,
    /// What is done.
    pub method: Vec<Activity>,
    /// What is done at the end.
    pub rollbacks: Vec<Activity>,
    /// When that is.
    pub rolls_back: RollsBack,
    /// The file as it was read, its title filled in.
    pub source: Value,
    pub(super) variables: Variables,
    pub(super) environment: Environment,
}

/// What has to be so.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// In words.
    pub title: String,
    /// Each with what it may say.
    pub probes: Vec<(Activity, Tolerance)>,
}

/// When a hypothesis is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Before the method.
    pub before: bool,
    /// Again and again while it goes on.
    pub during: bool,
    /// After it.
    pub after: bool,
}

/// When rollbacks are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollsBack {
    /// Unless a probe of the hypothesis failed.
    #[default]
    Usually,
    /// In any case.
    Always,
    /// In no case.
    Never,
    /// When the hypothesis was not met after the method.
    WhenDeviated,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub act: Act,
    /// Whether the next one begins before it has ended.
    pub background: bool,
    /// Before it and after it.
    pub pauses: (Duration, Duration),
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
    /// Something of somebody else's is done, or looked at.
    Foreign {
        /// What.
        what: Box<Foreign>,
        /// Whether it is an action.
        action: bool,
    },
}

impl Activity {
    /// Whether it is one of ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(self.act, Act::Foreign { .. })
    }
}

const LOOKS: [(&str, Looks); 5] = [
    ("default", looks(true, false, true)),
    ("before-method-only", looks(true, false, false)),
    ("after-method-only", looks(false, false, true)),
    ("during-method-only", looks(false, true, false)),
    ("continuously", looks(true, true, true)),
];

const fn looks(before: bool, during: bool, after: bool) -> Looks {
    Looks {
        before,
        during,
        after,
    }
}

const ROLLS_BACK: [(&str, RollsBack); 4] = [
    ("default", RollsBack::Usually),
    ("always", RollsBack::Always),
    ("never", RollsBack::Never),
    ("deviated", RollsBack::WhenDeviated),
];

impl Experiment {
    /// Reads a file, in this environment.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Malformed> {
        let mut source: Value = serde_json::from_str(text).map_err(|error| Malformed {
            place: format!("line {}, column {}", error.line(), error.column()),
            what: format!("no JSON: {error}"),
        })?;
        let given = source.clone();
        let top = At::root(&given).fields(&TOP)?;
        let variables = Variables::read(&top, environment)?;
        no_controls(&top)?;
        words(&top)?;
        let reader = Reader {
            whole: &given,
            variables: &variables,
            environment,
        };
        let (looks, rolls_back) = runtime(&top)?;
        let hypothesis = top.get("steady-state-hypothesis");
        let hypothesis = hypothesis.map(|at| reader.hypothesis(&at)).transpose()?;
        if let Some(at) = top.get("steady-state-hypothesis").filter(|_| looks.during) {
            let mut probes = hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes);
            if probes.any(|(probe, _)| probe.is_ours()) {
                return Err(at.wrong(
                    "a probe of type `sonia` is not looked at while the method goes on: use types \
                     `http` and `process`, or another strategy",
                ));
            }
        }
        let method = top.need("method")?.items()?;
        let method = method.iter().map(|at| reader.activity(at));
        let method: Vec<_> = method.collect::<Result<_, _>>()?;
        let rollbacks = match top.get("rollbacks") {
            Some(rollbacks) => rollbacks.items()?,
            None => Vec::new(),
        };
        let rollbacks = rollbacks.iter().map(|at| reader.rollback(at));
        let rollbacks = rollbacks.collect::<Result<_, _>>()?;
        let title = top.need("title")?;
        title.text()?;
        let title = match variables.fill(title.value) {
            Value::String(title) => title,
            other => other.to_string(),
        };
        let description = top.need("description")?.text()?.to_owned();
        source["title"] = json!(title);
        Ok(Self {
            title,
            description,
            hypothesis,
            looks,
            method,
            rollbacks,
            rolls_back,
            source,
            variables,
            environment: environment.clone(),
        })
    }

    /// Every action of ours in the method, in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.method
            .iter()
            .filter_map(|activity| match &activity.act {
                Act::Do(action) => Some(action),
                _ => None,
            })
    }

    /// The links that its steps name, rollbacks included.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        let steps = self.method.iter().chain(&self.rollbacks);
        steps.filter_map(|activity| match &activity.act {
            Act::Do(Action::Link { name, .. }) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether any step is one of ours, so that a target is needed.
    #[must_use]
    pub fn needs_a_target(&self) -> bool {
        let probes = self.hypothesis.iter().flat_map(|one| &one.probes);
        let probes = probes.map(|(probe, _)| probe);
        let mut all = probes.chain(&self.method).chain(&self.rollbacks);
        all.any(Activity::is_ours)
    }
}

fn words(top: &Fields<'_>) -> Result<(), Malformed> {
    if let Some(tags) = top.get("tags") {
        tags.items()?
            .iter()
            .try_for_each(|tag| tag.text().map(drop))?;
    }
    if let Some(version) = top.get("version") {
        version.text()?;
    }
    Ok(())
}

/// Controls are code that runs inside another tool.
fn no_controls(fields: &Fields<'_>) -> Result<(), Malformed> {
    match fields.get("controls") {
        Some(at) if at.value != &json!([]) => Err(at.wrong(
            "controls are Python that runs inside another tool, and are not run here: take them out",
        )),
        _ => Ok(()),
    }
}

fn runtime(top: &Fields<'_>) -> Result<(Looks, RollsBack), Malformed> {
    let (mut looks, mut rolls_back) = (LOOKS[0].1, RollsBack::Usually);
    if let Some(at) = top.get("runtime") {
        let fields = at.fields(&["hypothesis", "rollbacks"])?;
        if let Some(at) = fields.get("hypothesis") {
            let strategy = at.fields(&["strategy"])?.need("strategy")?;
            looks = strategy.word(&LOOKS)?;
        }
        if let Some(at) = fields.get("rollbacks") {
            let strategy = at.fields(&["strategy"])?.need("strategy")?;
            rolls_back = strategy.word(&ROLLS_BACK)?;
        }
    }
    Ok((looks, rolls_back))
}

/// Reads steps of one file.
struct Reader<'a> {
    whole: &'a Value,
    variables: &'a Variables,
    environment: &'a Environment,
}

impl Reader<'_> {
    fn hypothesis(&self, at: &At<'_>) -> Result<Hypothesis, Malformed> {
        let fields = at.fields(&["title", "probes", "controls"])?;
        no_controls(&fields)?;
        let mut probes = Vec::new();
        for at in fields.need("probes")?.items()? {
            kind(&at)?.word(&[("probe", ())])?;
            let activity = self.step(&at, &["tolerance"])?;
            let tolerance = field(&at, "tolerance")?;
            let tolerance = Tolerance::read(&tolerance, self.variables, activity.is_ours())?;
            if let Tolerance::Probe(probe) = &tolerance {
                self.foreign_probe(&at, probe)?;
            }
            probes.push((activity, tolerance));
        }
        Ok(Hypothesis {
            title: fields.need("title")?.text()?.to_owned(),
            probes,
        })
    }

    /// A tolerance that is a probe has to be one that can be run.
    fn foreign_probe(&self, at: &At<'_>, probe: &Value) -> Result<(), Malformed> {
        let provider = &probe["provider"];
        let place = format!("{}.tolerance.provider", at.place);
        let provider = At {
            value: provider,
            place,
        };
        match Foreign::read(&provider, self.variables, self.environment)? {
            Some(_) => Ok(()),
            None => Err(provider.wrong("`type` has to be `process` or `http`")),
        }
    }

    fn activity(&self, at: &At<'_>) -> Result<Activity, Malformed> {
        match at.value.get("ref") {
            Some(_) => self.referred(at),
            None => self.step(at, &[]),
        }
    }

    fn rollback(&self, at: &At<'_>) -> Result<Activity, Malformed> {
        if at.value.get("ref").is_some() {
            return self.referred(at);
        }
        kind(at)?.word(&[("action", ())])?;
        self.step(at, &[])
    }

    /// The step of this name, wherever it stands.
    fn referred(&self, at: &At<'_>) -> Result<Activity, Malformed> {
        let wanted = at.fields(&["ref"])?.need("ref")?;
        wanted.text()?;
        let probes = self.whole["steady-state-hypothesis"]["probes"].as_array();
        let lists = [
            probes,
            self.whole["method"].as_array(),
            self.whole["rollbacks"].as_array(),
        ];
        let mut all = lists.into_iter().flatten().flatten();
        let found = all.find(|one| one["name"] == *wanted.value);
        let found = found.ok_or_else(|| wanted.expected("the name of a step in this file"))?;
        let place = at.place.clone();
        self.step(
            &At {
                value: found,
                place,
            },
            &["tolerance"],
        )
    }

    /// A step; `more` is what may stand in one of ours.
    fn step(&self, at: &At<'_>, more: &[&str]) -> Result<Activity, Malformed> {
        let provider = field(at, "provider")?;
        let what = Foreign::read(&provider, self.variables, self.environment)?;
        let known = match &what {
            Some(_) => BESIDE.to_vec(),
            None => [&["type", "name", "provider", "pauses"], more].concat(),
        };
        let given = at.fields(&known)?;
        no_controls(&given)?;
        let action = given
            .need("type")?
            .word(&[("action", true), ("probe", false)])?;
        let act = match what {
            Some(what) => Act::Foreign {
                what: Box::new(what),
                action,
            },
            None => self.ours(&provider, action)?,
        };
        let background = match given.get("background") {
            Some(at) => at
                .value
                .as_bool()
                .ok_or_else(|| at.expected("true or false"))?,
            None => false,
        };
        Ok(Activity {
            name: given.need("name")?.text()?.to_owned(),
            act,
            background,
            pauses: match given.get("pauses") {
                Some(at) => self.pauses(&at)?,
                None => (Duration::ZERO, Duration::ZERO),
            },
            source: at.value.clone(),
        })
    }

    fn ours(&self, provider: &At<'_>, action: bool) -> Result<Act, Malformed> {
        if provider.value["type"] != "sonia" {
            return Err(provider.wrong("`type` has to be `sonia`, `http` or `process`"));
        }
        let kind = if action { "action" } else { "probe" };
        let fields = provider.fields(&["type", kind, "arguments"])?;
        let name = fields.need(kind)?;
        let given = fields.get("arguments");
        let filled = match &given {
            Some(at) => self.variables.fill_all(at)?,
            None => json!({}),
        };
        let arguments = At {
            value: &filled,
            place: format!("{}.arguments", provider.place),
        };
        Ok(match action {
            true => Act::Do(Action::read(&name, &arguments)?),
            false => Act::Look(Probe::read(&name, &arguments)?),
        })
    }

    fn pauses(&self, at: &At<'_>) -> Result<(Duration, Duration), Malformed> {
        let fields = at.fields(&["before", "after"])?;
        let pause = |name: &str| match fields.get(name) {
            None => Ok(Duration::ZERO),
            Some(at) => {
                let value = &self.variables.fill(at.value);
                seconds(&At { value, ..at })
            }
        };
        Ok((pause("before")?, pause("after")?))
    }
}

fn field<'a>(at: &At<'a>, name: &str) -> Result<At<'a>, Malformed> {
    let map = at.value.as_object();
    let map = map.ok_or_else(|| at.expected("an object"))?;
    let names: Vec<&str> = map.keys().map(String::as_str).collect();
    at.fields(&names)?.need(name)
}

fn kind<'a>(at: &At<'a>) -> Result<At<'a>, Malformed> {
    field(at, "type")
}

#[cfg(test)]
#[path = "experiment_tests.rs"]
mod tests;
