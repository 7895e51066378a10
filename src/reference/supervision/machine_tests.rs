use super::*;
use crate::reference::config::Config;

const MINUTE: i64 = 60_000_000;

fn settings() -> Settings {
    Config::default().supervisor
}

/// A service, the time, and what has been announced and asked for since the last look.
struct Story {
    state: State,
    now_us: i64,
    maintenance: bool,
    spent: Vec<i64>,
    events: Vec<Event>,
    starts: Vec<i64>,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            state: State::started(),
            now_us: 1_000 * MINUTE,
            maintenance: false,
            spent: Vec::new(),
            events: Vec::new(),
            starts: Vec::new(),
        };
        story.see(Observation::Probe(Ok(())));
        story.see(Observation::Probe(Ok(())));
        story.events.clear();
        story
    }

    /// Sees, and does what is asked for: the store is readable, and a process is made.
    fn see(&mut self, seen: Observation) {
        let next = step(
            &self.state,
            &seen,
            &settings(),
            self.maintenance,
            self.now_us,
        );
        self.state = next.state;
        self.events.extend(next.events);
        for action in next.actions {
            match action {
                Action::Consult => self.see(Observation::Budget(Ok(self.spent.clone()))),
                Action::Spend { .. } => self.spent.push(self.now_us),
                Action::Start => {
                    self.starts.push(self.now_us);
                    self.see(Observation::Made { pid: 7 });
                }
            }
        }
    }

    fn fails(&mut self, times: usize) {
        for _ in 0..times {
            self.see(Observation::Probe(Err("no answer".to_owned())));
        }
    }

    /// Goes on to when something is due.
    fn wait(&mut self) {
        match self.state.restart {
            Restart::Waiting { due_us, .. } => self.now_us = due_us,
            Restart::Exhausted { until_us } => self.now_us = until_us,
            other => panic!("{other:?}"),
        }
        self.see(Observation::Due);
    }

    fn words(&mut self) -> Vec<&'static str> {
        let word = |event: &Event| match event {
            Event::Healthy => "healthy",
            Event::Degraded { .. } => "degraded",
            Event::Unreachable { .. } => "unreachable",
            Event::Restarted { .. } => "restarted",
            Event::Exhausted { .. } => "exhausted",
            Event::Refused { .. } => "refused",
        };
        self.events.drain(..).map(|event| word(&event)).collect()
    }
}

#[test]
fn two_failures_degrade_and_two_successes_heal_and_nothing_is_restarted() {
    let mut story = Story::new();
    story.fails(2);
    assert_eq!(story.words(), ["degraded"]);
    story.see(Observation::Probe(Ok(())));
    assert_eq!(story.state.health, Health::Degraded);
    story.fails(2);
    assert_eq!(story.words(), [""; 0]);
    story.see(Observation::Probe(Ok(())));
    story.see(Observation::Probe(Ok(())));
    assert_eq!(story.words(), ["healthy"]);
    assert!(story.starts.is_empty() && story.spent.is_empty());
}

#[test]
fn the_third_failure_restarts_once_after_the_back_off() {
    let mut story = Story::new();
    story.fails(3);
    assert_eq!(story.words(), ["degraded", "unreachable"]);
    assert!(!story.state.is_probed());
    let gone = story.now_us;
    story.now_us += 1_999_999;
    story.see(Observation::Due);
    assert!(story.starts.is_empty());
    story.wait();
    assert_eq!(story.starts, [gone + 2_000_000]);
    assert_eq!(story.words(), ["restarted"]);
    story.see(Observation::Ready);
    story.see(Observation::Probe(Ok(())));
    story.see(Observation::Probe(Ok(())));
    assert_eq!(story.words(), ["healthy"]);
    assert_eq!(story.spent, [gone + 2_000_000]);
}

#[test]
fn three_restarts_spaced_by_the_back_off_then_none_until_the_window_ends() {
    let mut story = Story::new();
    story.fails(3);
    let mut ended = story.now_us;
    for back_off in [2_000_000, 4_000_000, 8_000_000] {
        story.wait();
        assert_eq!(story.starts.last(), Some(&(ended + back_off)));
        story.see(Observation::NotReady("ended".to_owned()));
        ended = story.now_us;
    }
    assert_eq!(story.starts.len(), 3);
    let words = story.words();
    assert_eq!(words.iter().filter(|word| **word == "exhausted").count(), 1);
    assert_eq!(words.last(), Some(&"exhausted"));
    let until_us = story.starts[0] + 300_000_000;
    assert_eq!(story.state.restart, Restart::Exhausted { until_us });
    // It is still probed, and neither a failure nor a look before the end changes anything.
    story.fails(5);
    story.now_us = until_us - 1;
    story.see(Observation::Due);
    assert_eq!((story.starts.len(), story.words().len()), (3, 0));
    story.wait();
    story.wait();
    assert_eq!(story.starts[3], until_us + 8_000_000);
}

#[test]
fn a_window_never_holds_more_than_is_allowed() {
    let mut story = Story::new();
    story.fails(3);
    for _ in 0..40 {
        story.wait();
        if matches!(story.state.restart, Restart::Starting { .. }) {
            story.see(Observation::NotReady("ended".to_owned()));
        }
    }
    assert!(story.starts.len() > 10);
    for four in story.starts.windows(4) {
        assert!(four[3] - four[0] >= 300_000_000, "{four:?}");
    }
}

#[test]
fn a_spent_budget_is_known_from_the_store_alone() {
    let mut story = Story::new();
    story.spent = [3, 2, 1].map(|ago| story.now_us - ago * MINUTE).into();
    story.fails(3);
    assert_eq!(story.words(), ["degraded", "unreachable", "exhausted"]);
    assert!(story.starts.is_empty());
    // One of the future, as a clock that was set back shows it, is spent too.
    let mut story = Story::new();
    story.spent = vec![story.now_us + MINUTE; 3];
    story.fails(3);
    assert_eq!(story.words().last(), Some(&"exhausted"));
    // What is older than the window is nobody's.
    let mut story = Story::new();
    story.spent = vec![story.now_us - 5 * MINUTE; 3];
    story.fails(3);
    story.wait();
    assert_eq!(story.starts.len(), 1);
}

#[test]
fn a_store_that_cannot_be_read_refuses_and_a_service_that_comes_back_is_well() {
    let unreadable = Observation::Budget(Err("malformed".to_owned()));
    let mut story = Story::new();
    let next = step(&story.state, &unreadable, &settings(), false, story.now_us);
    assert_eq!(next.state.restart, Restart::Refused);
    assert_eq!(next.events.len(), 1);
    assert!(next.actions.is_empty());
    story.state = next.state;
    let again = step(&story.state, &unreadable, &settings(), false, story.now_us);
    assert!(again.events.is_empty());
    story.state.health = Health::Unreachable;
    story.see(Observation::Probe(Ok(())));
    story.see(Observation::Probe(Ok(())));
    assert_eq!(story.state.restart, Restart::Armed);
}

#[test]
fn in_maintenance_nothing_is_restarted_but_what_is_asked_for() {
    let mut story = Story::new();
    story.maintenance = true;
    story.fails(9);
    assert_eq!(story.words(), ["degraded", "unreachable"]);
    assert!(story.spent.is_empty() && story.starts.is_empty());
    story.maintenance = false;
    story.see(Observation::Resumed);
    story.maintenance = true;
    story.wait();
    assert!(
        story.starts.is_empty(),
        "maintenance came before it was due"
    );
    story.see(Observation::Asked);
    assert_eq!(story.starts.len(), 1);
    // Twice at once is once.
    story.see(Observation::Asked);
    assert_eq!(story.starts.len(), 1);
    let restarted = Event::Restarted {
        pid: 7,
        number: None,
    };
    assert_eq!(story.events, [restarted]);
}
