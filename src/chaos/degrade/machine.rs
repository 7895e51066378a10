//! The machine of modes as section 7 of the contract words it: a pure step over closed windows,
//! and the set of states that a record leaves possible when some windows may be of either class.
//!
//! It is the specification that the gates judge by. What a target does is never asked here.

use std::collections::BTreeSet;

/// Consecutive breached windows that degrade, when the configuration does not say.
pub const DEFAULT_BREACH_WINDOWS: u32 = 3;
/// Consecutive healthy windows that end degrade mode, when the configuration does not say.
pub const DEFAULT_RECOVER_WINDOWS: u32 = 5;

/// What a closed window says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A p95 or p99 is past its threshold.
    Breach,
    /// None is.
    Healthy,
    /// Too few samples: it counts neither way.
    Neutral,
}

/// The mode a target is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Everything is served.
    Normal,
    /// Shedding, and the last window that counted was breached.
    Degraded,
    /// Shedding, and the last windows that counted were healthy, but not yet enough of them.
    Recovering,
}

impl Mode {
    /// The mode as `current_mode` names it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Normal => "normal",
            Mode::Degraded => "degraded",
            Mode::Recovering => "recovering",
        }
    }
}

/// A change of mode that must be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// `slo.degrade.entered`.
    Entered,
    /// `slo.degrade.exited`.
    Exited,
}

impl Change {
    /// The type of the event that announces it.
    pub fn event(self) -> &'static str {
        match self {
            Change::Entered => "slo.degrade.entered",
            Change::Exited => "slo.degrade.exited",
        }
    }
}

/// How many windows in a row change the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Exactly at this many.
    At(u32),
    /// At any from this many on, or later: for a judge whose claim is not about the number.
    From(u32),
}

impl Count {
    /// Whether this many may change the mode, and whether they may leave it as it is.
    fn allows(self, run: u32) -> (bool, bool) {
        match self {
            Count::At(windows) => (run >= windows, run < windows),
            Count::From(windows) => (run >= windows, true),
        }
    }
}

/// The two numbers that the machine runs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// N: consecutive breached windows that degrade.
    pub breach: Count,
    /// M: consecutive healthy windows that end it.
    pub recover: Count,
}

/// Where the machine stands after a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The mode.
    pub mode: Mode,
    /// Breached windows in a row up to now, neutral ones left out.
    pub breaches: u32,
    /// Healthy windows in a row up to now, neutral ones left out.
    pub healthy: u32,
}

impl State {
    /// A target that has closed no window.
    pub const START: State = State {
        mode: Mode::Normal,
        breaches: 0,
        healthy: 0,
    };

    /// The same with this window in its counts.
    fn counted(self, class: Class) -> State {
        match class {
            Class::Neutral => self,
            Class::Breach => State {
                breaches: self.breaches + 1,
                healthy: 0,
                ..self
            },
            Class::Healthy => State {
                breaches: 0,
                healthy: self.healthy + 1,
                ..self
            },
        }
    }

    fn with(self, mode: Mode) -> State {
        State { mode, ..self }
    }

    /// Whether non-essential work is shed in this state.
    pub fn sheds(self) -> bool {
        self.mode != Mode::Normal
    }
}

/// What one closed window may make of a state, and the change it announces.
/// More than one answer only under [`Count::From`].
pub fn step(state: State, class: Class, rules: Rules) -> Vec<(State, Option<Change>)> {
    let next = state.counted(class);
    let (run, count, stays, changes, change) = match (class, state.sheds()) {
        (Class::Neutral, _) => return vec![(state, None)],
        // The second breach of a degradation is not a second degradation.
        (Class::Breach, true) => return vec![(next.with(Mode::Degraded), None)],
        (Class::Healthy, false) => return vec![(next, None)],
        (Class::Breach, false) => {
            let modes = (Mode::Normal, Mode::Degraded);
            (
                next.breaches,
                rules.breach,
                modes.0,
                modes.1,
                Change::Entered,
            )
        }
        (Class::Healthy, true) => {
            let modes = (Mode::Recovering, Mode::Normal);
            (
                next.healthy,
                rules.recover,
                modes.0,
                modes.1,
                Change::Exited,
            )
        }
    };
    let (may_change, may_stay) = count.allows(run);
    let stayed = may_stay.then(|| (next.with(stays), None));
    let changed = may_change.then(|| (next.with(changes), Some(change)));
    stayed.into_iter().chain(changed).collect()
}

/// The states that what was seen leaves possible. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Possible {
    /// More than one when it is not known by which a window was counted.
    rules: Vec<Rules>,
    states: BTreeSet<State>,
}

/// No sequence of classes explains the changes that were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// What each explanation of the windows would have announced.
    pub expected: Vec<Vec<Change>>,
    /// What was announced.
    pub got: Vec<Change>,
}

impl Possible {
    /// A target just started for the first time.
    pub fn start(rules: Rules) -> Possible {
        Possible {
            rules: vec![rules],
            states: BTreeSet::from([State::START]),
        }
    }

    /// From now on each window is counted by one of these. The counts so far go on.
    pub fn under(&mut self, rules: Vec<Rules>) {
        self.rules = rules;
    }

    /// The states, in order.
    pub fn states(&self) -> impl Iterator<Item = State> + '_ {
        self.states.iter().copied()
    }

    /// Whether every possible state sheds.
    pub fn surely_sheds(&self) -> bool {
        self.states().all(State::sheds)
    }

    /// Whether no possible state sheds.
    pub fn surely_serves(&self) -> bool {
        !self.states().any(State::sheds)
    }

    /// Takes windows that closed one after the other, each of one of the given classes, and the
    /// changes announced meanwhile, in order.
    ///
    /// On an unexplained record the machine goes on from the mode that the target announced, so
    /// that one fault is reported once and not again at every later window.
    ///
    /// # Errors
    /// [`Unexplained`] when no choice of classes announces exactly these changes.
    pub fn take(&mut self, windows: &[Vec<Class>], seen: &[Change]) -> Result<(), Unexplained> {
        let mut paths: BTreeSet<(State, Vec<Change>)> =
            self.states().map(|state| (state, Vec::new())).collect();
        for classes in windows {
            paths = paths
                .iter()
                .flat_map(|path| classes.iter().map(move |class| (path, *class)))
                .flat_map(|((state, changes), class)| {
                    self.rules
                        .iter()
                        .flat_map(move |rules| step(*state, class, *rules))
                        .map(|(next, change)| {
                            let mut changes = changes.clone();
                            changes.extend(change);
                            (next, changes)
                        })
                })
                .collect();
        }
        let fits: BTreeSet<State> = paths
            .iter()
            .filter(|(_, changes)| changes == seen)
            .map(|(state, _)| *state)
            .collect();
        if !fits.is_empty() {
            self.states = fits;
            return Ok(());
        }
        let expected: BTreeSet<Vec<Change>> = paths.iter().map(|path| path.1.clone()).collect();
        self.states = paths
            .into_iter()
            .map(|(state, _)| follow(state, seen))
            .collect();
        Err(Unexplained {
            expected: expected.into_iter().collect(),
            got: seen.to_vec(),
        })
    }
}

/// The state of a target that announced something else than the specification would have.
fn follow(state: State, seen: &[Change]) -> State {
    match seen.last() {
        Some(Change::Entered) => State {
            mode: Mode::Degraded,
            healthy: 0,
            ..state
        },
        Some(Change::Exited) => State {
            mode: Mode::Normal,
            breaches: 0,
            healthy: 0,
        },
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: Rules = Rules {
        breach: Count::At(3),
        recover: Count::At(5),
    };

    fn classes(text: &str) -> Vec<Vec<Class>> {
        text.chars()
            .map(|letter| match letter {
                'B' => vec![Class::Breach],
                'H' => vec![Class::Healthy],
                'N' => vec![Class::Neutral],
                _ => vec![Class::Breach, Class::Healthy],
            })
            .collect()
    }

    /// The mode after each window, and what was announced over the whole run.
    fn run(text: &str) -> (String, Vec<Change>) {
        let mut state = State::START;
        let (mut modes, mut changes) = (String::new(), Vec::new());
        for window in classes(text) {
            let next = step(state, window[0], LOCK);
            assert_eq!(next.len(), 1, "the specified machine is deterministic");
            state = next[0].0;
            changes.extend(next[0].1);
            modes.push(state.mode.name().chars().next().expect("a mode has a name"));
        }
        (modes, changes)
    }

    #[test]
    fn three_in_a_row_degrade_and_a_spike_does_not() {
        assert_eq!(run("BBB"), ("nnd".into(), vec![Change::Entered]));
        assert_eq!(run("BBHBB"), ("nnnnn".into(), vec![]));
        assert_eq!(run("BNBNB"), ("nnnnd".into(), vec![Change::Entered]));
    }

    #[test]
    fn the_fifth_healthy_window_in_a_row_ends_it() {
        let (modes, changes) = run("BBBHHHHBHHHHH");
        assert_eq!(modes, "nndrrrrdrrrrn");
        assert_eq!(changes, [Change::Entered, Change::Exited]);
    }

    #[test]
    fn neutral_windows_end_nothing_and_break_no_count() {
        assert_eq!(run("BBBNNNNNNNN").0, "nnddddddddd");
        assert_eq!(run("BBBHHNHHNH").0, "nndrrrrrrn");
    }

    #[test]
    fn after_a_recovery_it_takes_three_breaches_again() {
        assert_eq!(run("BBBHHHHHBB").0, "nndrrrrnnn");
        assert_eq!(run("BBBHHHHHBBB").0, "nndrrrrnnnd");
    }

    #[test]
    fn an_early_exit_is_unexplained_and_reported_once() {
        let mut possible = Possible::start(LOCK);
        possible
            .take(&classes("BBB"), &[Change::Entered])
            .expect("the lock's own pattern");
        let early = possible
            .take(&classes("H"), &[Change::Exited])
            .expect_err("one is not five");
        assert_eq!(early.expected, [Vec::<Change>::new()]);
        assert!(possible.surely_serves());
        assert_eq!(possible.take(&classes("HHHH"), &[]), Ok(()));
    }

    #[test]
    fn a_window_of_either_class_explains_both_outcomes() {
        for seen in [vec![], vec![Change::Entered]] {
            let mut possible = Possible::start(LOCK);
            assert_eq!(possible.take(&classes("BB?"), &seen), Ok(()), "{seen:?}");
        }
        let mut possible = Possible::start(LOCK);
        assert!(possible.take(&classes("BBH"), &[Change::Entered]).is_err());
    }

    #[test]
    fn what_was_seen_narrows_what_a_window_was() {
        let mut possible = Possible::start(LOCK);
        possible
            .take(&classes("BBB?"), &[Change::Entered])
            .expect("either class fits");
        assert_eq!(possible.states().count(), 2);
        assert!(possible.surely_sheds());
        possible
            .take(&classes("HHHH"), &[Change::Exited])
            .expect("then the fourth was healthy");
        assert_eq!(possible.states().count(), 1);
    }

    #[test]
    fn other_rules_leave_the_counts_as_they_are() {
        let four = Rules {
            breach: Count::At(4),
            ..LOCK
        };
        let mut possible = Possible::start(LOCK);
        assert_eq!(possible.take(&classes("BB"), &[]), Ok(()));
        possible.under(vec![LOCK, four]);
        // Which of the two counted this window shows only by what it announced.
        for (seen, after) in [
            (vec![], Mode::Normal),
            (vec![Change::Entered], Mode::Degraded),
        ] {
            let mut possible = possible.clone();
            assert_eq!(possible.take(&classes("B"), &seen), Ok(()));
            assert!(possible.states().all(|state| state.mode == after));
        }
        possible.under(vec![four]);
        assert_eq!(possible.take(&classes("BB"), &[Change::Entered]), Ok(()));
    }

    #[test]
    fn a_loose_recovery_takes_any_healthy_window_but_no_breached_one() {
        let loose = Rules {
            recover: Count::From(1),
            ..LOCK
        };
        for healthy in ["H", "HHHHH", "HHHHHHHHH"] {
            let mut possible = Possible::start(loose);
            possible
                .take(&classes("BBB"), &[Change::Entered])
                .expect("sustained");
            assert_eq!(
                possible.take(&classes(healthy), &[Change::Exited]),
                Ok(()),
                "{healthy}"
            );
        }
        let mut possible = Possible::start(loose);
        possible
            .take(&classes("BBB"), &[Change::Entered])
            .expect("sustained");
        assert!(possible.take(&classes("B"), &[Change::Exited]).is_err());
    }

    #[test]
    fn a_loose_entry_takes_any_longer_run_but_no_spike() {
        let loose = Rules {
            breach: Count::From(2),
            ..LOCK
        };
        for sustained in ["BB", "BBB", "BBBBBB"] {
            let mut possible = Possible::start(loose);
            assert_eq!(
                possible.take(&classes(sustained), &[Change::Entered]),
                Ok(())
            );
        }
        let mut possible = Possible::start(loose);
        assert!(
            possible
                .take(&classes("HBHBH"), &[Change::Entered])
                .is_err()
        );
    }
}
