use super::*;

const RULE: Rule = Rule {
    failures: 3,
    open_ms: 100,
    successes: 2,
};

/// A breaker, and what it told of its changes.
struct Run(State, Vec<(Phase, Phase)>);

impl Run {
    fn new() -> Self {
        Self(State::default(), Vec::new())
    }

    fn input(&mut self, input: Input, now_ms: u64) -> bool {
        let next = step(&self.0, &input, now_ms, &RULE);
        self.0 = next.state;
        self.1
            .extend(next.transition.map(|change| (change.from, change.to)));
        next.admitted
    }

    fn ask(&mut self, now_ms: u64) -> bool {
        self.input(Input::Ask, now_ms)
    }

    fn call(&mut self, now_ms: u64, went: Went) -> bool {
        let admitted = self.ask(now_ms);
        if admitted {
            self.input(Input::Over(self.0.transitions, went), now_ms);
        }
        admitted
    }

    fn opened() -> Self {
        let mut run = Self::new();
        for _ in 0..3 {
            assert!(run.call(0, wrong()));
        }
        run
    }
}

fn wrong() -> Went {
    Went::Wrong("no answer in time".to_owned())
}

#[test]
fn so_many_failures_in_a_row_open_it_and_fewer_do_not() {
    let mut run = Run::new();
    for went in [
        wrong(),
        wrong(),
        Went::Well,
        wrong(),
        wrong(),
        Went::Nowhere,
    ] {
        assert!(run.call(0, went));
    }
    assert_eq!((run.0.phase, run.0.failures), (Phase::Closed, 2));
    assert!(run.call(0, wrong()));
    assert_eq!(run.1, [(Phase::Closed, Phase::Open)]);
    assert_eq!(run.0.reason.as_deref(), Some("no answer in time"));
    assert!(!run.call(99, Went::Well), "not before open_ms are over");
}

#[test]
fn half_open_lets_one_at_a_time_through_and_closes_after_so_many() {
    let mut run = Run::opened();
    assert!(run.ask(100));
    assert!(!run.ask(100), "one is under way");
    run.input(Input::Over(run.0.transitions, Went::Well), 101);
    assert_eq!(run.0.phase, Phase::HalfOpen);
    assert!(run.call(102, Went::Well));
    let changes = [
        (Phase::Closed, Phase::Open),
        (Phase::Open, Phase::HalfOpen),
        (Phase::HalfOpen, Phase::Closed),
    ];
    assert_eq!(run.1, changes);
    assert_eq!((run.0.failures, run.0.reason.clone()), (0, None));
}

#[test]
fn a_trial_that_goes_wrong_opens_it_for_as_long_again() {
    let mut run = Run::opened();
    assert!(run.call(100, wrong()));
    assert!(!run.ask(199));
    assert!(run.ask(200), "open_ms after it opened again");
}

#[test]
fn a_trial_that_nobody_waits_for_any_more_makes_room_for_the_next() {
    let mut run = Run::opened();
    assert!(run.call(100, Went::Nowhere));
    assert!(run.call(101, Went::Well));
    assert_eq!((run.0.phase, run.0.successes), (Phase::HalfOpen, 1));
}

#[test]
fn what_is_heard_of_a_call_of_another_time_says_nothing() {
    let mut run = Run::opened();
    let before = run.0.clone();
    run.input(Input::Over(0, Went::Well), 50);
    run.input(Input::Over(0, wrong()), 50);
    assert_eq!(run.0, before);
    assert!(run.ask(100));
    let trying = run.0.clone();
    run.input(Input::Over(0, wrong()), 100);
    assert_eq!(run.0, trying, "late failures do not end the trial");
}

#[test]
fn every_change_is_told_once_and_each_begins_where_the_last_one_ended() {
    let mut run = Run::new();
    for now_ms in 0..2_000 {
        let went = if now_ms % 7 < 4 { wrong() } else { Went::Well };
        run.call(now_ms, went);
    }
    assert_eq!(run.1.len() as u64, run.0.transitions);
    assert!(run.1.len() > 10, "{} changes", run.1.len());
    let joined = |pair: &[(Phase, Phase)]| pair[0].1 == pair[1].0;
    assert!(run.1.windows(2).all(joined), "{:?}", run.1);
}
