//! Runs a drill: hypothesis, method, hypothesis, rollbacks. It records and decides nothing but
//! whether going on makes sense. Whoever ends it early gets what was recorded until then.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::experiment::{Act, Activity, Experiment, Hypothesis};
use super::journal::now;
use super::record::{Looked, Record, Step};
use super::told::{Line, Teller};
use super::world::{Log, World};
use crate::chaos::Site;

/// How long one step may take: a stop, not a measure.
const STEP_BOUND: Duration = Duration::from_secs(120);

/// What is seen of a drill while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A hypothesis was looked at.
    Looked {
        /// `before` or `after`.
        when: &'static str,
        /// In words.
        title: &'a str,
        /// What was seen.
        looked: &'a Looked,
    },
    /// A step of the method or a rollback ended.
    Done(&'a Step),
    /// Something that the steps brought about.
    Line(Line),
}

/// Runs it on a site of its own. `cancel` becomes true when it is to end early: the target goes with
/// it, and the record says that it was interrupted.
pub async fn run(
    experiment: &Experiment,
    site: &mut Site,
    record: &mut Record,
    mut cancel: watch::Receiver<bool>,
    tell: &mut (dyn FnMut(Event<'_>) + Send),
) {
    let cancelled = async {
        // Nobody left who could ask for it: it goes on to its end.
        if cancel.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        biased;
        () = drive(experiment, site, record, tell) => true,
        () = cancelled => false,
    };
    record.interrupted = !ended;
    record.incidents = site.incidents();
}

/// A drill under way.
struct Drill<'a, 'r> {
    world: World<'r>,
    teller: Teller,
    tell: &'a mut (dyn FnMut(Event<'_>) + Send),
}

async fn drive(
    experiment: &Experiment,
    site: &mut Site,
    record: &mut Record,
    tell: &mut (dyn FnMut(Event<'_>) + Send),
) {
    let (pages, log) = record.pages();
    let Log {
        before,
        run,
        after,
        rollbacks,
        trouble,
    } = log;
    let world = match World::open(site, pages).await {
        Ok(world) => world,
        Err(error) => {
            *trouble = Some(format!("{error:#}"));
            return;
        }
    };
    let mut drill = Drill {
        world,
        teller: Teller::default(),
        tell,
    };
    let hypothesis = experiment.hypothesis.as_ref();
    let met = drill.steady("before", hypothesis, before).await;
    if met && drill.steps(&experiment.method, run).await {
        drill.steady("after", hypothesis, after).await;
    }
    for activity in &experiment.rollbacks {
        drill.step(activity, rollbacks).await;
    }
}

impl Drill<'_, '_> {
    /// Looks at the hypothesis up to the first probe that is not tolerated; says whether it is met.
    async fn steady(
        &mut self,
        when: &'static str,
        hypothesis: Option<&Hypothesis>,
        into: &mut Option<Looked>,
    ) -> bool {
        let Some(Hypothesis { title, probes }) = hypothesis else {
            return true;
        };
        let looked = into.insert(Looked {
            probes: Vec::new(),
            of: probes.len(),
        });
        for (activity, tolerance) in probes {
            self.carry_out(activity, &mut looked.probes).await;
            let probe = looked.probes.last_mut().expect("the probe left a step");
            probe.tolerated = Some(probe.failed.is_none() && tolerance.holds(&probe.output));
            if probe.tolerated == Some(false) {
                break;
            }
        }
        let (looked, met) = (&*looked, looked.met());
        (self.tell)(Event::Looked {
            when,
            title,
            looked,
        });
        met
    }

    /// All of them, up to the first that fails; says whether none did.
    async fn steps(&mut self, activities: &[Activity], into: &mut Vec<Step>) -> bool {
        for activity in activities {
            if !self.step(activity, into).await {
                return false;
            }
        }
        true
    }

    async fn step(&mut self, activity: &Activity, into: &mut Vec<Step>) -> bool {
        self.carry_out(activity, into).await;
        let step = into.last().expect("the step was noted");
        (self.tell)(Event::Done(step));
        let (line, rounds, lanes) = self.world.seen();
        for line in self.teller.lines(line, rounds, lanes) {
            (self.tell)(Event::Line(line));
        }
        step.failed.is_none()
    }

    /// Notes the step before it is done, so that one that is cut short is in the record.
    async fn carry_out(&mut self, activity: &Activity, into: &mut Vec<Step>) {
        let (began, start) = (Instant::now(), now());
        into.push(Step {
            name: activity.name.clone(),
            activity: activity.source.clone(),
            end: start.clone(),
            start,
            duration: 0.0,
            output: Value::Null,
            failed: Some("cut short".to_owned()),
            tolerated: None,
        });
        let done = async {
            match &activity.act {
                Act::Do(action) => self.world.act(action).await,
                Act::Look(probe) => self.world.look(*probe).await,
            }
        };
        let outcome = match tokio::time::timeout(STEP_BOUND, done).await {
            Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
            Err(_) => Err(format!("not done within {} s", STEP_BOUND.as_secs())),
        };
        let step = into.last_mut().expect("the step was noted");
        step.end = now();
        step.duration = began.elapsed().as_secs_f64();
        step.failed = outcome.as_ref().err().cloned();
        step.output = outcome.unwrap_or(Value::Null);
    }
}
