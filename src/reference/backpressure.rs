//! Who waits: a queue per session for turns over its stream, one for calls of the model and one for
//! calls of tools. Each lets so many through at once and the others wait in the order they came.
//!
//! Two bounds, and past each the oldest makes room, because whoever asked last still wants to know:
//! a session's queue has a depth of its own, and all queues together have one. What is shed is told
//! so; nothing is dropped in silence. It knows nothing of what is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use serde_json::json;
use tokio::sync::oneshot;

use super::config::Config;
use super::web::Refusal;

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Turns of this session that came over a stream, one at a time.
    Stream(String),
    /// Calls of the model backend.
    Model,
    /// Calls of the tool backend.
    Tool,
}

impl Lane {
    /// Its name in `/status`; those of all sessions share one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Model => "model",
            Self::Tool => "tool",
        }
    }
}

/// What decides in the queues; a deployment may swap it.
#[derive(Clone, Copy)]
pub struct Rules {
    /// The queue that turns of this session wait in.
    pub session: fn(&str) -> String,
    /// Which of so many that wait in one queue, oldest first, makes room.
    pub victim: fn(usize) -> usize,
    /// Whether so many that wait in one queue are too many under its depth.
    pub full: fn(usize, usize) -> bool,
    /// Whether so many that wait in all queues together are too many under this cap.
    pub too_many: fn(usize, usize) -> bool,
    /// Whether a queue that has shed so many goes on with the next.
    pub goes_on: fn(u64) -> bool,
    /// Whether a stream stays open after so many of it were shed.
    pub stays_open: fn(u64) -> bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            session: str::to_owned,
            victim: |_| 0,
            full: |waiting, depth| waiting > depth,
            too_many: |waiting, cap| waiting > cap,
            goes_on: |_| true,
            stays_open: |_| true,
        }
    }
}

/// The bounds of a queue as the config has them.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many are let through at once.
    width: usize,
    /// How many may wait in this queue.
    depth: usize,
    /// How many may wait in all queues together.
    cap: usize,
}

impl Bounds {
    /// Those of one queue.
    pub fn of(lane: &Lane, config: &Config) -> Self {
        let keys = &config.backpressure;
        let (width, depth) = match lane {
            Lane::Stream(_) => (1, config.stream.queue_depth),
            Lane::Model => (keys.model_width, usize::MAX),
            Lane::Tool => (keys.tool_width, usize::MAX),
        };
        let cap = keys.global_depth;
        Self { width, depth, cap }
    }
}

/// Why somebody who waited was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The queue.
    pub queue: &'static str,
    /// Whose bound it was: `queue_full` or `global_depth`.
    pub reason: &'static str,
}

impl Shed {
    /// The code of the refusal.
    pub const CODE: &'static str = "BACKPRESSURE_SHED";

    /// In words.
    pub fn message(&self) -> String {
        format!(
            "too much waits: the oldest of the {} queue is shed",
            self.queue
        )
    }

    /// As an answer.
    pub fn refusal(&self) -> Refusal {
        let details = json!({"queue": self.queue, "reason": self.reason});
        Refusal::unavailable(Self::CODE, self.message(), 1).details(details)
    }
}

/// All queues of a process.
#[derive(Default)]
pub struct Backpressure(Mutex<Queues>);

#[derive(Default)]
struct Queues {
    lanes: BTreeMap<Lane, Queue>,
    /// Counts everybody who came.
    came: u64,
}

#[derive(Default)]
struct Queue {
    running: usize,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    shed: u64,
}

struct Waiting {
    number: u64,
    told: oneshot::Sender<Result<(), Shed>>,
}

impl Backpressure {
    /// Takes a place in a queue, in the order of the calls.
    pub fn join(self: &Arc<Self>, lane: Lane, bounds: Bounds, rules: Rules) -> Ticket {
        let (told, hears) = oneshot::channel();
        let mut queues = self.queues();
        queues.came += 1;
        let number = queues.came;
        let queue = queues.lanes.entry(lane.clone()).or_default();
        queue.waiting.push_back(Waiting { number, told });
        queue.call(bounds.width, rules);
        // More than one when the depth was lowered meanwhile.
        while (rules.full)(queue.waiting.len(), bounds.depth) {
            let victim = (rules.victim)(queue.waiting.len());
            if !queue.shed(victim, lane.name(), "queue_full") {
                break;
            }
        }
        while (rules.too_many)(queues.waiting(), bounds.cap) {
            if !queues.shed_oldest() {
                break;
            }
        }
        drop(queues);
        let place = Place {
            all: Arc::clone(self),
            lane,
            bounds,
            rules,
        };
        Ticket {
            number,
            hears,
            place: Some(place),
        }
    }

    /// How many wait, by the name of their queue.
    pub fn depths(&self) -> BTreeMap<&'static str, usize> {
        let mut depths = BTreeMap::from([("stream", 0), ("model", 0), ("tool", 0)]);
        for (lane, queue) in &self.queues().lanes {
            *depths.entry(lane.name()).or_default() += queue.waiting.len();
        }
        depths
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn waiting(&self) -> usize {
        self.lanes.values().map(|queue| queue.waiting.len()).sum()
    }

    /// Sheds who has waited longest, wherever that is.
    fn shed_oldest(&mut self) -> bool {
        let first = |queue: &Queue| queue.waiting.front().map(|first| first.number);
        let waited = self
            .lanes
            .iter_mut()
            .filter(|(_, queue)| first(queue).is_some());
        match waited.min_by_key(|(_, queue)| first(queue)) {
            None => false,
            Some((lane, queue)) => queue.shed(0, lane.name(), "global_depth"),
        }
    }
}

impl Queue {
    /// Calls those in for whom there is room.
    fn call(&mut self, width: usize, rules: Rules) {
        while self.running < width && (rules.goes_on)(self.shed) {
            let Some(next) = self.waiting.pop_front() else {
                return;
            };
            // Whoever stopped waiting has left the queue before nobody heard.
            if next.told.send(Ok(())).is_ok() {
                self.running += 1;
            }
        }
    }

    /// Sheds who waits at this place; whether anybody does.
    fn shed(&mut self, place: usize, queue: &'static str, reason: &'static str) -> bool {
        let Some(victim) = self.waiting.remove(place) else {
            return false;
        };
        self.shed += 1;
        // Nobody hears it who does not wait any more.
        let _ = victim.told.send(Err(Shed { queue, reason }));
        true
    }
}

/// A place in a queue; who awaits it is let through or shed, and who drops it waits no more.
#[must_use]
pub struct Ticket {
    number: u64,
    hears: oneshot::Receiver<Result<(), Shed>>,
    /// Whose end is not known yet: it is the permit's afterwards, or nobody's.
    place: Option<Place>,
}

/// One that was let through; when it is dropped, the next is.
#[must_use]
pub struct Permit(Place);

struct Place {
    all: Arc<Backpressure>,
    lane: Lane,
    bounds: Bounds,
    rules: Rules,
}

impl Future for Ticket {
    type Output = Result<Permit, Shed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let heard = ready!(Pin::new(&mut self.hears).poll(cx));
        let place = self.place.take();
        Poll::Ready(match (heard, place) {
            (Ok(Ok(())), Some(place)) => Ok(Permit(place)),
            (Ok(Err(shed)), _) => Err(shed),
            (Ok(Ok(())) | Err(_), _) => unreachable!("whoever waits is told once"),
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let mut queues = place.all.queues();
        if let Some(queue) = queues.lanes.get_mut(&place.lane) {
            queue.waiting.retain(|one| one.number != self.number);
        }
        drop(queues);
        // It was called and did not come.
        if let Ok(Ok(())) = self.hears.try_recv() {
            drop(Permit(place));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Place {
            all,
            lane,
            bounds,
            rules,
        } = &self.0;
        let mut queues = all.queues();
        let Some(queue) = queues.lanes.get_mut(lane) else {
            return;
        };
        queue.running = queue.running.saturating_sub(1);
        queue.call(bounds.width, *rules);
        if queue.running == 0 && queue.waiting.is_empty() {
            queues.lanes.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        width: 1,
        depth: 2,
        cap: 3,
    };

    fn stream(session: &str) -> Lane {
        Lane::Stream(session.to_owned())
    }

    fn shed(ticket: &mut Ticket) -> Option<&'static str> {
        ticket.hears.try_recv().ok()?.err().map(|shed| shed.reason)
    }

    #[tokio::test]
    async fn the_oldest_that_waits_makes_room_and_the_others_go_in_order() {
        let all = Arc::new(Backpressure::default());
        let join = || all.join(stream("a"), BOUNDS, Rules::default());
        let running = join().await.unwrap();
        let (mut first, second, third) = (join(), join(), join());
        assert_eq!(shed(&mut first), Some("queue_full"));
        assert_eq!(all.depths()["stream"], 2);
        drop(running);
        let second = second.await.unwrap();
        assert_eq!(all.depths()["stream"], 1);
        drop(second);
        drop(third.await.unwrap());
        assert!(all.queues().lanes.is_empty());
    }

    #[tokio::test]
    async fn past_the_cap_the_oldest_of_all_queues_makes_room() {
        let all = Arc::new(Backpressure::default());
        let join = |lane| all.join(lane, BOUNDS, Rules::default());
        let running = [join(stream("a")), join(Lane::Model), join(Lane::Tool)];
        let mut model = join(Lane::Model);
        let (a, tool, again) = (join(stream("a")), join(Lane::Tool), join(Lane::Tool));
        assert_eq!(shed(&mut model), Some("global_depth"));
        assert_eq!(
            all.depths(),
            BTreeMap::from([("stream", 1), ("model", 0), ("tool", 2)])
        );
        drop((running, a, tool, again, model));
        assert_eq!(all.depths().values().sum::<usize>(), 0);
    }

    /// Both of its ends: dropped while it waits, and dropped although it was called.
    #[tokio::test]
    async fn who_is_called_and_does_not_come_takes_nobodys_place() {
        let all = Arc::new(Backpressure::default());
        let join = || all.join(Lane::Model, BOUNDS, Rules::default());
        let (first, waits, second) = (join(), join(), join());
        drop(waits);
        assert_eq!(all.depths()["model"], 1);
        drop(first);
        drop(second.await.unwrap());
        assert!(all.queues().lanes.is_empty());
    }

    #[tokio::test]
    async fn a_place_is_given_back_once() {
        let all = Arc::new(Backpressure::default());
        let join = || all.join(Lane::Tool, BOUNDS, Rules::default());
        let permit = join().await.unwrap();
        let (mut first, mut second) = (join(), join());
        drop(permit);
        // Who was called holds the only place, awaited or not, and gives it back once.
        let permit = (&mut first).await.unwrap();
        drop(first);
        assert!(second.hears.try_recv().is_err());
        drop(permit);
        assert_eq!(second.hears.try_recv(), Ok(Ok(())));
    }

    #[tokio::test]
    async fn a_depth_that_is_lowered_sheds_all_that_are_too_many() {
        let all = Arc::new(Backpressure::default());
        let join = |depth| {
            let bounds = Bounds { depth, ..BOUNDS };
            all.join(stream("a"), bounds, Rules::default())
        };
        let running = join(3).await.unwrap();
        let mut waiting = [join(3), join(3), join(3), join(1)];
        let told = waiting.each_mut().map(shed);
        assert_eq!(
            told,
            [Some("queue_full"); 3]
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()[..]
        );
        drop(running);
    }
}
