//! Runs a drill: hypothesis, method, hypothesis, rollbacks. It records and decides nothing but
//! whether going on makes sense. Whoever ends it early gets what was recorded until then.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::experiment::{Act, Activity, Experiment, Hypothesis, RollsBack};
use super::foreign::{Failed, Foreign};
use super::journal::now;
use super::read::At;
use super::record::{Looked, Record, Step};
use super::told::{Line, Teller};
use super::tolerance::Tolerance;
use super::variables::Environment;
use super::world::{Log, World};
use crate::chaos::Site;

/// How long one step of ours may take: a stop, not a measure.
const STEP_BOUND: Duration = Duration::from_secs(120);
/// How long one of somebody else's may, which has a timeout of its own where its author wants one.
const FOREIGN_BOUND: Duration = Duration::from_secs(3_600);
/// Between two looks at a hypothesis while the method goes on.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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
    experiment: &'a Experiment,
    /// None where no step is one of ours.
    world: Option<World<'r>>,
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
    let world = match experiment.needs_a_target() {
        false => None,
        true => match World::open(site, pages, experiment).await {
            Ok(world) => Some(world),
            Err(error) => {
                *log.trouble = Some(format!("{error:#}"));
                return;
            }
        },
    };
    let drill = Drill {
        experiment,
        world,
        teller: Teller::default(),
        tell,
    };
    drill.all(log).await;
}

impl Drill<'_, '_> {
    async fn all(mut self, log: Log<'_>) {
        let experiment = self.experiment;
        let hypothesis = experiment.hypothesis.as_ref();
        let (looks, mut met) = (experiment.looks, true);
        if let Some(hypothesis) = hypothesis.filter(|_| looks.before) {
            met = self.steady("before", hypothesis, log.before).await;
        }
        if met {
            let watch = hypothesis.filter(|_| looks.during);
            let watch = watch.map(|hypothesis| Watch::begin(experiment, hypothesis));
            *log.aborted = !self.method(log.run).await;
            if let Some(watch) = watch {
                *log.during = watch.end().await;
            }
            if let Some(hypothesis) = hypothesis.filter(|_| looks.after && !*log.aborted) {
                self.steady("after", hypothesis, log.after).await;
            }
        }
        let deviated = log.after.as_ref().is_some_and(|after| !after.met());
        let broken = [&*log.before, &*log.after];
        let broken = broken.into_iter().flatten().any(Looked::broken);
        let rolls_back = match experiment.rolls_back {
            RollsBack::Usually => !broken,
            RollsBack::Always => true,
            RollsBack::Never => false,
            RollsBack::WhenDeviated => deviated,
        };
        if rolls_back {
            self.steps(&experiment.rollbacks, log.rollbacks).await;
        }
    }

    /// Looks at the hypothesis up to the first probe that is not tolerated; says whether it is met.
    async fn steady(
        &mut self,
        when: &'static str,
        Hypothesis { title, probes }: &Hypothesis,
        into: &mut Option<Looked>,
    ) -> bool {
        let looked = into.insert(Looked {
            probes: Vec::new(),
            of: probes.len(),
        });
        for (activity, tolerance) in probes {
            self.carry_out(activity, &mut looked.probes).await;
            let probe = looked.probes.last_mut().expect("the probe left a step");
            tolerated(self.experiment, tolerance, probe).await;
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

    /// The method: what goes on in the background is waited for at its end. Steps stand in the order
    /// in which they began. Says whether nothing aborted it.
    async fn method(&mut self, into: &mut Vec<Step>) -> bool {
        self.steps(&self.experiment.method, into).await
    }

    /// All of them, up to the first that aborts; says whether none did.
    async fn steps(&mut self, activities: &[Activity], into: &mut Vec<Step>) -> bool {
        let mut behind = JoinSet::new();
        let mut whole = true;
        for activity in activities {
            match &activity.act {
                Act::Foreign { what, .. } if activity.background => {
                    let place = into.len();
                    into.push(begun(activity));
                    let (activity, what) = (activity.clone(), what.clone());
                    let environment = self.experiment.environment.clone();
                    behind.spawn(async move {
                        let step = foreign(&activity, &what, &environment).await;
                        tokio::time::sleep(activity.pauses.1).await;
                        (place, step)
                    });
                }
                _ => whole = self.step(activity, into).await,
            }
            if !whole {
                break;
            }
        }
        while let Some(done) = behind.join_next().await {
            if let Ok((place, step)) = done {
                (self.tell)(Event::Done(&step));
                whole &= !step.aborts;
                into[place] = step;
            }
        }
        into.sort_by(|one, other| one.start.cmp(&other.start));
        whole
    }

    async fn step(&mut self, activity: &Activity, into: &mut Vec<Step>) -> bool {
        self.carry_out(activity, into).await;
        let step = into.last().expect("the step was noted");
        (self.tell)(Event::Done(step));
        if let Some(world) = &self.world {
            for line in self.teller.lines(&world.seen()) {
                (self.tell)(Event::Line(line));
            }
        }
        !step.aborts
    }

    /// Notes the step before it is done, so that one that is cut short is in the record.
    async fn carry_out(&mut self, activity: &Activity, into: &mut Vec<Step>) {
        into.push(begun(activity));
        let noted = into.last_mut().expect("the step was noted");
        let (before, after) = activity.pauses;
        let step = match (&activity.act, &mut self.world) {
            (Act::Foreign { what, .. }, _) => {
                foreign(activity, what, &self.experiment.environment).await
            }
            (_, None) => unreachable!("a step of ours is what a target was started for"),
            (act, Some(world)) => {
                tokio::time::sleep(before).await;
                let step = begun(activity);
                let began = Instant::now();
                let outcome = match tokio::time::timeout(STEP_BOUND, world.carry_out(act)).await {
                    Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
                    Err(_) => Err(format!("not done within {} s", STEP_BOUND.as_secs())),
                };
                // Whatever comes next builds on it.
                ended(step, began, outcome.map_err(Failed::Aborts))
            }
        };
        *noted = step;
        tokio::time::sleep(after).await;
    }
}

/// A step of somebody else's, its first pause included.
async fn foreign(activity: &Activity, what: &Foreign, environment: &Environment) -> Step {
    tokio::time::sleep(activity.pauses.0).await;
    let (step, began) = (begun(activity), Instant::now());
    let outcome = match tokio::time::timeout(FOREIGN_BOUND, what.run(environment)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failed::Step(format!(
            "not done within {} s",
            FOREIGN_BOUND.as_secs()
        ))),
    };
    let mut step = ended(step, began, outcome);
    if matches!(activity.act, Act::Foreign { action: true, .. }) && step.failed.is_none() {
        step.unhappy = what.unhappy(&step.output);
    }
    step
}

/// A step as it is until it has ended.
fn begun(activity: &Activity) -> Step {
    let start = now();
    Step {
        name: activity.name.clone(),
        activity: activity.source.clone(),
        end: start.clone(),
        start,
        duration: 0.0,
        output: Value::Null,
        failed: Some("cut short".to_owned()),
        aborts: false,
        unhappy: None,
        tolerated: None,
    }
}

fn ended(mut step: Step, began: Instant, outcome: Result<Value, Failed>) -> Step {
    step.end = now();
    step.duration = began.elapsed().as_secs_f64();
    step.failed = outcome.as_ref().err().map(|failed| failed.why().to_owned());
    step.aborts = matches!(outcome, Err(Failed::Aborts(_)));
    step.output = outcome.unwrap_or(Value::Null);
    step
}

/// Notes whether the output of a probe is tolerated.
async fn tolerated(experiment: &Experiment, tolerance: &Tolerance, probe: &mut Step) {
    let holds = match tolerance {
        _ if probe.failed.is_some() => false,
        Tolerance::Probe(other) => asked(experiment, other, &probe.output).await,
        other => other.holds(&probe.output),
    };
    probe.tolerated = Some(holds);
}

/// Whether another probe ends well on this value.
async fn asked(experiment: &Experiment, probe: &Value, value: &Value) -> bool {
    let mut provider = probe["provider"].clone();
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    provider["arguments"]["value"] = Value::String(text);
    let (variables, environment) = (&experiment.variables, &experiment.environment);
    match Foreign::read(&At::root(&provider), variables, environment) {
        Ok(Some(what)) => match tokio::time::timeout(FOREIGN_BOUND, what.run(environment)).await {
            Ok(Ok(output)) => what.unhappy(&output).is_none(),
            _ => false,
        },
        _ => false,
    }
}

/// A hypothesis that is looked at again and again while the method goes on.
struct Watch {
    over: watch::Sender<bool>,
    looks: tokio::task::JoinHandle<Vec<Looked>>,
}

impl Watch {
    fn begin(experiment: &Experiment, hypothesis: &Hypothesis) -> Self {
        let (over, mut is_over) = watch::channel(false);
        let (experiment, hypothesis) = (experiment.clone(), hypothesis.clone());
        let looks = tokio::spawn(async move {
            let mut looks = Vec::new();
            while !*is_over.borrow() {
                looks.push(look(&experiment, &hypothesis).await);
                // Over, or time for the next: either is a reason to go on.
                let _ = tokio::time::timeout(LOOK_INTERVAL, is_over.changed()).await;
            }
            looks
        });
        Self { over, looks }
    }

    async fn end(self) -> Vec<Looked> {
        self.over.send_replace(true);
        self.looks.await.unwrap_or_default()
    }
}

async fn look(experiment: &Experiment, hypothesis: &Hypothesis) -> Looked {
    let mut looked = Looked {
        probes: Vec::new(),
        of: hypothesis.probes.len(),
    };
    for (activity, tolerance) in &hypothesis.probes {
        let Act::Foreign { what, .. } = &activity.act else {
            break;
        };
        let mut probe = foreign(activity, what, &experiment.environment).await;
        tokio::time::sleep(activity.pauses.1).await;
        tolerated(experiment, tolerance, &mut probe).await;
        let goes_on = probe.tolerated == Some(true);
        looked.probes.push(probe);
        if !goes_on {
            break;
        }
    }
    looked
}
