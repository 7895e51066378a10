//! What a round is made of: a few steps that begin and end with a target that runs, in its normal mode,
//! with nothing injected. So any moves fit in any order.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

/// A few steps that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// What it is called.
    pub name: &'static str,
    /// As they stand in an experiment.
    pub steps: Vec<Value>,
}

/// How the steps of a move are drawn.
type Draw = fn(&mut ChaCha8Rng) -> Vec<Value>;

/// All moves. What is rare stands there once, what is usual more often.
const MOVES: [(&str, Draw); 19] = [
    ("turns", turns),
    ("turns", turns),
    ("load", load),
    ("keyed", keyed),
    ("keyed", keyed),
    ("decisions", decisions),
    ("decisions", decisions),
    ("paused", paused),
    ("spike", spike),
    ("degrade", degrade),
    ("envelopes", envelopes),
    ("replays", replays),
    ("restart", restart),
    ("stop", stop),
    ("kills", kills),
    ("burst", burst),
    ("tamper", tamper),
    ("disk-full", disk_full),
    ("apart", apart),
];

impl Move {
    /// One of all.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let (name, draw) = MOVES.choose(rng).expect("there are moves");
        Self {
            name,
            steps: draw(rng),
        }
    }
}

/// A step of ours.
pub(super) fn act(action: &str, arguments: Value) -> Value {
    let mut provider = json!({"type": "sonia", "action": action});
    if arguments.as_object().is_some_and(|given| !given.is_empty()) {
        provider["arguments"] = arguments;
    }
    json!({"type": "action", "name": action, "provider": provider})
}

fn plain(action: &str) -> Value {
    act(action, json!({}))
}

fn turns(rng: &mut ChaCha8Rng) -> Vec<Value> {
    vec![act("traffic", json!({"windows": rng.random_range(1..=3)}))]
}

fn load(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let rate = rng.random_range(10..=40);
    vec![act("load", json!({"rate": rate, "seconds": 1}))]
}

fn keyed(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let (operations, racers) = (rng.random_range(6..=12), rng.random_range(1..=6));
    let work = json!({"operations": operations, "racers": racers});
    vec![act("work", work), plain("repeat")]
}

fn decisions(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let (rounds, tool_ms) = (rng.random_range(12..=24), rng.random_range(0..=30));
    vec![act("storm", json!({"rounds": rounds, "tool_ms": tool_ms}))]
}

/// Stopped in the middle of a call, and then on as if nothing had been.
fn paused(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let pause_ms = rng.random_range(100..=800);
    let storm = json!({"rounds": 12, "tool_ms": 100, "pause_ms": pause_ms});
    vec![act("storm", storm)]
}

fn at(rng: &mut ChaCha8Rng) -> Value {
    let places = ["double", "link"];
    json!({"at": places[rng.random_range(0..places.len())]})
}

/// Slow, but not for long enough: one window of turns, which is in two windows of the target when other
/// turns went before.
fn spike(rng: &mut ChaCha8Rng) -> Vec<Value> {
    vec![
        act("traffic", json!({"windows": 2})),
        act("inject-latency", at(rng)),
        act("traffic", json!({"windows": 1})),
        plain("heal"),
        act("traffic", json!({"windows": 2})),
    ]
}

/// Slow until it sheds, and well until it does not.
fn degrade(rng: &mut ChaCha8Rng) -> Vec<Value> {
    vec![
        act("traffic", json!({"windows": 1})),
        act("inject-latency", at(rng)),
        act("traffic-until", json!({"mode": "degraded"})),
        plain("probe-work"),
        plain("heal"),
        act("traffic-until", json!({"mode": "normal"})),
        plain("probe-work"),
    ]
}

/// Decided on, and after a KILL again.
fn envelopes(_: &mut ChaCha8Rng) -> Vec<Value> {
    vec![plain("decide"), plain("restart"), plain("decide")]
}

fn replays(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let times = rng.random_range(1..=2);
    let replay = || act("replay", json!({"times": times}));
    vec![replay(), plain("restart"), replay()]
}

fn restart(_: &mut ChaCha8Rng) -> Vec<Value> {
    vec![plain("kill"), plain("start"), plain("repeat")]
}

fn stop(_: &mut ChaCha8Rng) -> Vec<Value> {
    vec![plain("stop"), plain("start"), plain("repeat")]
}

/// KILLs inside operations.
fn kills(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let moments = ["arrived", "committed", "unstored", "answer-due"];
    let count = rng.random_range(1..=2);
    let at: Vec<&str> = (0..count)
        .map(|_| moments[rng.random_range(0..moments.len())])
        .collect();
    vec![act("crash", json!({"at": at}))]
}

fn burst(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let (times, writes) = (rng.random_range(1..=2), rng.random_range(10..=30));
    vec![act("burst", json!({"times": times, "writes": writes}))]
}

fn tamper(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let attacks = ["cut-tail", "delete", "forge"];
    let attack = attacks[rng.random_range(0..attacks.len())];
    let attack = json!({"attack": attack, "chain": "api-gateway"});
    let work = act("work", json!({"operations": 6}));
    vec![work, act("tamper", attack), plain("repeat")]
}

fn disk_full(_: &mut ChaCha8Rng) -> Vec<Value> {
    vec![
        act("prepare", json!({"operations": 8})),
        plain("fill-disk"),
        plain("work"),
        plain("free-disk"),
        plain("repeat"),
    ]
}

/// Something that takes a target of its own.
fn apart(rng: &mut ChaCha8Rng) -> Vec<Value> {
    let step = match rng.random_range(0..5) {
        0 => act("task-storm", json!({"rounds": 12, "kills": 1})),
        1 => act("session-storm", json!({"creates": 100})),
        2 => act("fence-storm", json!({"races": 10})),
        3 => act("flap", json!({"times": 2})),
        _ => act("resets", json!({"times": 2})),
    };
    vec![step]
}
