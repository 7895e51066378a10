//! What a drill may do and look at: a closed set, with the arguments of each.

use serde_json::json;

use super::read::{At, Malformed};
use crate::chaos::crash::Moment;
use crate::chaos::degrade::{Change, Injection};

/// Something that is done to a target or around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Latency on every turn from now on.
    InjectLatency {
        /// Where it comes from.
        at: Injection,
    },
    /// No latency any more.
    Heal,
    /// Windows of turns, one after the other.
    Traffic {
        /// How many.
        windows: u64,
    },
    /// Turns until the mode has changed, as long as it can ask for.
    TrafficUntil {
        /// To what.
        mode: Change,
    },
    /// Asks for work that may be shed and for work that may not.
    ProbeWork,
    /// Races for decisions.
    Storm {
        /// How many.
        rounds: u64,
        /// How long the tool takes.
        tool_ms: u64,
    },
    /// KILLs inside operations, each followed by a start.
    Crash {
        /// One a KILL.
        at: Vec<Moment>,
    },
    /// KILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// A start on the same data, after a KILL or a stop.
    Start,
    /// KILL and start.
    Restart,
}

/// Something that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether every service says that it is ready, under its own name.
    Healthy,
    /// `normal`, `degraded` or `mixed`: by what is shed and served.
    Mode,
    /// How often something happened so far.
    Count(Counted),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Events `slo.degrade.entered`.
    Entered,
    /// Events `slo.degrade.exited`.
    Exited,
    /// Races that contradict the specification of a decision.
    WrongRounds,
    /// Effects beyond the first of operations that a KILL cut.
    SecondEffects,
    /// KILLs.
    Kills,
}

/// The actions, each with its arguments.
pub const ACTIONS: [(&str, &[&str]); 11] = [
    ("inject-latency", &["at"]),
    ("heal", &[]),
    ("traffic", &["windows"]),
    ("traffic-until", &["mode"]),
    ("probe-work", &[]),
    ("storm", &["rounds", "tool_ms"]),
    ("crash", &["at"]),
    ("kill", &[]),
    ("stop", &[]),
    ("start", &[]),
    ("restart", &[]),
];

/// The probes, each with its arguments.
pub const PROBES: [(&str, &[&str]); 3] = [("healthy", &[]), ("mode", &[]), ("count", &["of"])];

const MODES: [(&str, Change); 2] = [("degraded", Change::Entered), ("normal", Change::Exited)];

const MOMENTS: [(&str, Moment); 4] = [
    ("arrived", Moment::Arrived),
    ("committed", Moment::Committed),
    ("unstored", Moment::Unstored),
    ("answer-due", Moment::AnswerDue),
];

const COUNTED: [(&str, Counted); 5] = [
    ("entered", Counted::Entered),
    ("exited", Counted::Exited),
    ("wrong-rounds", Counted::WrongRounds),
    ("second-effects", Counted::SecondEffects),
    ("kills", Counted::Kills),
];

/// Which of the names this is, with its fields: none but its own arguments.
type Named<'a> = (&'static str, super::read::Fields<'a>);

fn named<'a>(
    name: &At<'a>,
    arguments: &At<'a>,
    known: &'static [(&'static str, &'static [&'static str])],
) -> Result<Named<'a>, Malformed> {
    let words: Vec<_> = known.iter().map(|entry| (entry.0, *entry)).collect();
    let (name, allowed) = name.word(&words)?;
    Ok((name, arguments.fields(allowed)?))
}

impl Action {
    pub(super) fn read(name: &At<'_>, arguments: Option<At<'_>>) -> Result<Self, Malformed> {
        let none = json!({});
        let arguments = arguments.unwrap_or_else(|| At::root(&none));
        let (name, given) = named(name, &arguments, &ACTIONS)?;
        let need = |argument: &str| {
            given
                .need(argument)
                .map_err(|_| arguments.wrong(format!("`{name}` needs the argument `{argument}`")))
        };
        let mode = || need("mode")?.word(&MODES);
        Ok(match name {
            "inject-latency" => Self::InjectLatency {
                at: need("at")?
                    .word(&[("double", Injection::Double), ("link", Injection::Wire)])?,
            },
            "heal" => Self::Heal,
            "traffic" => Self::Traffic {
                windows: need("windows")?.whole(1..=100)?,
            },
            "traffic-until" => Self::TrafficUntil { mode: mode()? },
            "probe-work" => Self::ProbeWork,
            "storm" => Self::Storm {
                rounds: need("rounds")?.whole(1..=1000)?,
                tool_ms: match given.get("tool_ms") {
                    Some(tool_ms) => tool_ms.whole(0..=1000)?,
                    None => 0,
                },
            },
            "crash" => Self::Crash {
                at: moments(&need("at")?)?,
            },
            "kill" => Self::Kill,
            "stop" => Self::Stop,
            "start" => Self::Start,
            "restart" => Self::Restart,
            other => unreachable!("`{other}` is in the list of actions and nowhere else"),
        })
    }

    /// Whether this is what a target has to survive.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::InjectLatency { .. }
                | Self::Storm { .. }
                | Self::Crash { .. }
                | Self::Kill
                | Self::Stop
                | Self::Restart
        )
    }
}

fn moments(at: &At<'_>) -> Result<Vec<Moment>, Malformed> {
    let items = at.items()?;
    if items.is_empty() || items.len() > 20 {
        return Err(at.wrong(format!("got {} moments, expected 1 to 20", items.len())));
    }
    items.iter().map(|item| item.word(&MOMENTS)).collect()
}

impl Probe {
    pub(super) fn read(name: &At<'_>, arguments: Option<At<'_>>) -> Result<Self, Malformed> {
        let none = json!({});
        let arguments = arguments.unwrap_or_else(|| At::root(&none));
        let (name, given) = named(name, &arguments, &PROBES)?;
        Ok(match name {
            "healthy" => Self::Healthy,
            "mode" => Self::Mode,
            "count" => {
                let of = given.need("of");
                let of = of.map_err(|_| arguments.wrong("`count` needs the argument `of`"))?;
                Self::Count(of.word(&COUNTED)?)
            }
            other => unreachable!("`{other}` is in the list of probes and nowhere else"),
        })
    }
}

/// The word of a moment.
#[must_use]
pub fn moment(at: Moment) -> &'static str {
    let known = MOMENTS.iter().find(|(_, moment)| *moment == at);
    known.map_or("", |(word, _)| word)
}
