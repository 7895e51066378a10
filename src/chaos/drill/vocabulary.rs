//! What a drill may do and look at: a closed set, with the arguments of each.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::acts::exercise::Wanted;
use super::acts::links::{Deed, MODELS, TOOLS};
use super::read::{At, Malformed};
use crate::chaos::crash::Moment;
use crate::chaos::degrade::{Change, Injection};
use crate::chaos::outages::flap::How;
use crate::chaos::tampering::Attack;
use crate::contract::routes;

/// Something that is done to a target or around it.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Latency on every turn from now on.
    InjectLatency {
        /// Where it comes from.
        at: Injection,
    },
    /// No latency any more, and no toxic on any link.
    Heal,
    /// A fault of a link, or the end of one.
    Link {
        /// What it leads to.
        name: String,
        /// What is done.
        deed: Deed,
    },
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
        /// How long the target is stopped in the middle of them (SIGSTOP); 0: not at all.
        pause_ms: u64,
    },
    /// Something that is driven on targets of its own.
    Exercise(Wanted),
    /// KILLs inside operations, each followed by a start.
    Crash {
        /// One a KILL.
        at: Vec<Moment>,
    },
    /// Bursts of writes, each ended by a KILL and followed by a start.
    Burst {
        /// How many.
        times: u64,
        /// Acknowledged writes before the KILL.
        writes: u64,
    },
    /// Makes operations ready that are sent later.
    Prepare {
        /// How many.
        operations: u64,
    },
    /// Operations under keys: those that are ready, else so many new ones.
    Work {
        /// How many.
        operations: u64,
        /// Requests with each key at once.
        racers: u64,
    },
    /// Every operation so far once more, until its answer is final.
    Repeat,
    /// Turns whose decision is known from the time before, if there was one.
    Decide,
    /// Replays a dead letter.
    Replay {
        /// How often.
        times: u64,
    },
    /// Traffic at a constant rate, whatever becomes of it.
    Load {
        /// Requests a second.
        rate: u64,
        /// For how long.
        seconds: u64,
    },
    /// Stops the target, changes the audit chain of a service, starts it, looks, and puts it back.
    Tamper {
        /// How.
        attack: Attack,
        /// The service.
        chain: String,
    },
    /// Another content for the config file, for a target that runs and for the next start.
    EditConfig {
        /// RFC 7386.
        patch: Value,
    },
    /// Looks until something is so.
    Wait {
        /// What.
        until: Condition,
        /// How long at most.
        within_ms: u64,
    },
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// Nothing can be written any more.
    FillDisk,
    /// It can.
    FreeDisk,
    /// KILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// A start on the same data, after a KILL or a stop.
    Start,
    /// KILL and start.
    Restart,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every service says that it is ready.
    Ready,
    /// This mode, by what is shed and served.
    Mode(&'static str),
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
    /// What contradicts the specifications by which the other steps are judged.
    Violations,
}

/// The actions, each with its arguments.
pub const ACTIONS: [(&str, &[&str]); 36] = [
    ("inject-latency", &["at"]),
    ("heal", &[]),
    ("toxic-add", &["link", "toxic"]),
    ("toxic-remove", &["link", "name"]),
    ("link-down", &["link"]),
    ("link-up", &["link"]),
    ("link-cut", &["link"]),
    ("traffic", &["windows"]),
    ("traffic-until", &["mode"]),
    ("probe-work", &[]),
    ("storm", &["rounds", "tool_ms", "pause_ms"]),
    ("task-storm", &["rounds", "kills"]),
    ("session-storm", &["creates"]),
    ("fence-storm", &["races"]),
    ("flap", &["times"]),
    ("resets", &["times"]),
    ("outages", &[]),
    ("crash", &["at"]),
    ("burst", &["times", "writes"]),
    ("prepare", &["operations"]),
    ("work", &["operations", "racers"]),
    ("repeat", &[]),
    ("decide", &[]),
    ("replay", &["times"]),
    ("load", &["rate", "seconds"]),
    ("tamper", &["attack", "chain"]),
    ("edit-config", &["patch"]),
    ("wait", &["until", "within_ms"]),
    ("pause", &[]),
    ("resume", &[]),
    ("fill-disk", &[]),
    ("free-disk", &[]),
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

const CONDITIONS: [(&str, Condition); 3] = [
    ("ready", Condition::Ready),
    ("normal", Condition::Mode("normal")),
    ("degraded", Condition::Mode("degraded")),
];

const ATTACKS: [(&str, Attack); 5] = [
    ("cut-tail", Attack::CutTail),
    ("cut-head", Attack::CutHead),
    ("delete", Attack::Delete),
    ("forge", Attack::Forge),
    ("rewrite-suffix", Attack::RewriteSuffix),
];

const COUNTED: [(&str, Counted); 6] = [
    ("entered", Counted::Entered),
    ("exited", Counted::Exited),
    ("wrong-rounds", Counted::WrongRounds),
    ("second-effects", Counted::SecondEffects),
    ("kills", Counted::Kills),
    ("violations", Counted::Violations),
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
    pub(super) fn read(name: &At<'_>, arguments: &At<'_>) -> Result<Self, Malformed> {
        let (name, given) = named(name, arguments, &ACTIONS)?;
        let given = Given {
            name,
            arguments,
            fields: &given,
        };
        if let Some(action) = Self::plain(name) {
            return Ok(action);
        }
        if let Some(wanted) = given.exercise()? {
            return Ok(Self::Exercise(wanted));
        }
        match given.deed()? {
            Some(deed) => Ok(Self::Link {
                name: given.link()?,
                deed,
            }),
            None => given.action(),
        }
    }

    /// One without arguments.
    fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "heal" => Self::Heal,
            "probe-work" => Self::ProbeWork,
            "repeat" => Self::Repeat,
            "decide" => Self::Decide,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "fill-disk" => Self::FillDisk,
            "free-disk" => Self::FreeDisk,
            "kill" => Self::Kill,
            "stop" => Self::Stop,
            "start" => Self::Start,
            "restart" => Self::Restart,
            _ => return None,
        })
    }

    /// Whether this is what a target has to survive.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            Self::InjectLatency { .. }
            | Self::Storm { .. }
            | Self::Exercise(_)
            | Self::Crash { .. }
            | Self::Burst { .. }
            | Self::Tamper { .. }
            | Self::EditConfig { .. }
            | Self::Pause
            | Self::FillDisk
            | Self::Kill
            | Self::Stop
            | Self::Restart => true,
            // Alone it is traffic; many at once with one key are a storm.
            Self::Work { racers, .. } => *racers > 1,
            Self::Link { deed, .. } => matches!(deed, Deed::Add(_) | Deed::Down | Deed::Cut),
            _ => false,
        }
    }
}

/// An action by its name, with what was given for it.
struct Given<'a> {
    name: &'static str,
    arguments: &'a At<'a>,
    fields: &'a super::read::Fields<'a>,
}

impl Given<'_> {
    fn need(&self, argument: &str) -> Result<At<'_>, Malformed> {
        let name = self.name;
        self.fields.need(argument).map_err(|_| {
            let what = format!("`{name}` needs the argument `{argument}`");
            self.arguments.wrong(what)
        })
    }

    /// A number within bounds that has to be there.
    fn whole(&self, argument: &str, bounds: RangeInclusive<u64>) -> Result<u64, Malformed> {
        self.need(argument)?.whole(bounds)
    }

    /// One that need not.
    fn whole_or(
        &self,
        argument: &str,
        usual: u64,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, Malformed> {
        match self.fields.get(argument) {
            Some(at) => at.whole(bounds),
            None => Ok(usual),
        }
    }

    fn exercise(&self) -> Result<Option<Wanted>, Malformed> {
        Ok(Some(match self.name {
            "task-storm" => Wanted::Tasks(
                self.whole("rounds", 1..=1000)?,
                self.whole_or("kills", 1, 0..=20)?,
            ),
            "session-storm" => Wanted::Sessions(self.whole("creates", 2..=1000)?),
            "fence-storm" => Wanted::Fences(self.whole("races", 1..=1000)?),
            "flap" => Wanted::Flap(self.whole("times", 1..=50)?, How::Refuses),
            "resets" => Wanted::Flap(self.whole("times", 1..=50)?, How::Resets),
            "outages" => Wanted::Partial,
            _ => return Ok(None),
        }))
    }

    fn deed(&self) -> Result<Option<Deed>, Malformed> {
        Ok(Some(match self.name {
            "toxic-add" => {
                let toxic = self.need("toxic")?;
                let read = serde_json::from_value(toxic.value.clone());
                Deed::Add(read.map_err(|error| toxic.wrong(format!("no toxic: {error}")))?)
            }
            "toxic-remove" => Deed::Remove(self.need("name")?.text()?.to_owned()),
            "link-down" => Deed::Down,
            "link-up" => Deed::Up,
            "link-cut" => Deed::Cut,
            _ => return Ok(None),
        }))
    }

    /// What a link leads to: a backend, or a service of the target's own.
    fn link(&self) -> Result<String, Malformed> {
        let backends = [MODELS, TOOLS].into_iter();
        let known = backends.chain(routes::services()).map(|name| (name, name));
        let known: Vec<(&str, &str)> = known.collect();
        Ok(self.need("link")?.word(&known)?.to_owned())
    }

    fn action(&self) -> Result<Action, Malformed> {
        Ok(match self.name {
            "inject-latency" => Action::InjectLatency {
                at: self
                    .need("at")?
                    .word(&[("double", Injection::Double), ("link", Injection::Wire)])?,
            },
            "traffic" => Action::Traffic {
                windows: self.whole("windows", 1..=100)?,
            },
            "traffic-until" => Action::TrafficUntil {
                mode: self.need("mode")?.word(&MODES)?,
            },
            "storm" => Action::Storm {
                rounds: self.whole("rounds", 1..=1000)?,
                tool_ms: self.whole_or("tool_ms", 0, 0..=1000)?,
                pause_ms: self.whole_or("pause_ms", 0, 0..=10_000)?,
            },
            "crash" => Action::Crash {
                at: moments(&self.need("at")?)?,
            },
            "burst" => Action::Burst {
                times: self.whole("times", 1..=50)?,
                writes: self.whole_or("writes", 20, 1..=10_000)?,
            },
            "prepare" => Action::Prepare {
                operations: self.whole("operations", 1..=500)?,
            },
            "work" => Action::Work {
                operations: self.whole_or("operations", 12, 1..=500)?,
                racers: self.whole_or("racers", 1, 1..=64)?,
            },
            "replay" => Action::Replay {
                times: self.whole_or("times", 1, 1..=50)?,
            },
            "load" => Action::Load {
                rate: self.whole("rate", 1..=1000)?,
                seconds: self.whole("seconds", 1..=60)?,
            },
            "tamper" => Action::Tamper {
                attack: self.need("attack")?.word(&ATTACKS)?,
                chain: self.need("chain")?.text()?.to_owned(),
            },
            "edit-config" => {
                let patch = self.need("patch")?;
                if !patch.value.is_object() {
                    return Err(patch.expected("an object of settings"));
                }
                Action::EditConfig {
                    patch: patch.value.clone(),
                }
            }
            "wait" => Action::Wait {
                until: self.need("until")?.word(&CONDITIONS)?,
                within_ms: self.whole("within_ms", 1..=60_000)?,
            },
            other => unreachable!("`{other}` is in the list of actions and nowhere else"),
        })
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
    pub(super) fn read(name: &At<'_>, arguments: &At<'_>) -> Result<Self, Malformed> {
        let (name, given) = named(name, arguments, &PROBES)?;
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
