//! Operations under keys, whatever else goes on: made ready, sent by many at once, and asked for again
//! when it is over. Each happens once, and what was acknowledged is there.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::Clock;
use crate::chaos::keyed::operations::{Backends, Operation, Route, Seen, Sort, Try};
use crate::chaos::keyed::requests::{Keyed, Patience, Wanted, make_ready, operator};
use crate::chaos::keyed::survival::second_effects;
use crate::chaos::keyed::{Tally, history};
use crate::chaos::specs::Ttl;
use crate::chaos::{Judgement, Site, overlapping_pairs, storm};
use crate::doubles::Double;
use crate::target::{Client, Instance};

/// The routes, in turn.
const ROUTES: [Route; 6] = [
    Route::Execute,
    Route::Turn,
    Route::Eva,
    Route::Session,
    Route::Action,
    Route::Confirmation,
];
/// How long each operation is asked for again, as far as the harness itself runs.
const AGAIN_BOUND: Duration = Duration::from_secs(15);
/// Looks below which the harness was not scheduled well enough to speak of absence.
const ENOUGH_LOOKS: u64 = 10;
/// Operations that are asked for again at once.
const AT_ONCE: usize = 8;

/// What was seen of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Everything asked, a key each.
    pub operations: Vec<Operation>,
    /// What the doubles got.
    pub backends: Backends,
    /// How often the last answer of each was waited for.
    pub looks: Vec<u64>,
}

/// What there is to send.
#[derive(Default)]
pub(in crate::chaos::drill) struct Desk {
    keyed: Vec<Keyed>,
    /// So many of them were sent.
    sent: usize,
}

impl Desk {
    /// Makes so many more operations ready: sessions, decisions.
    pub(in crate::chaos::drill) async fn prepare(
        &mut self,
        instance: &Instance,
        operations: u64,
        work: &mut Work,
    ) -> anyhow::Result<Value> {
        let first = self.keyed.len();
        let numbers = first..first + usize::try_from(operations)?;
        let wanted = numbers.map(|number| {
            let route = ROUTES[number % ROUTES.len()];
            Wanted::new(route, format!("drill{number}-{route:?}").to_lowercase())
        });
        let wanted: Vec<Wanted> = wanted.collect();
        let keyed = make_ready(&operator(instance), &wanted).await?;
        work.operations.extend(keyed.iter().map(Keyed::operation));
        self.keyed.extend(keyed);
        Ok(json!({"ready": self.keyed.len() - self.sent}))
    }

    /// Whether something is ready and was not sent.
    pub(in crate::chaos::drill) fn is_ready(&self) -> bool {
        self.sent < self.keyed.len()
    }

    /// Sends everything that is ready, each by so many at once, all through one barrier.
    pub(in crate::chaos::drill) async fn send(
        &mut self,
        client: &Client,
        site: &Site,
        racers: u64,
        work: &mut Work,
    ) -> anyhow::Result<Value> {
        let racers = usize::try_from(racers)?;
        let (first, new) = (self.sent, &self.keyed[self.sent..]);
        let exchanges = storm(new.len() * racers, |number| {
            let (client, ask) = (client.clone(), new[number / racers].ask());
            async move { client.send(ask).await }
        });
        let exchanges = exchanges.await;
        let requests = exchanges.len();
        for (number, exchange) in exchanges.into_iter().enumerate() {
            let sort = match number % racers {
                0 => Sort::First,
                _ => Sort::Repeat,
            };
            work.operations[first + number / racers].note(sort, exchange);
        }
        self.sent = self.keyed.len();
        work.look(site);
        let answered = work.operations[first..].iter().flat_map(|one| &one.tries);
        let answered = answered.filter(|entry| entry.status != 0).count();
        Ok(json!({"requests": requests, "answered": answered}))
    }

    /// Sends everything that was sent once more, until its answer is final, or it is late.
    pub(in crate::chaos::drill) async fn again(
        &self,
        client: &Client,
        site: &Site,
        work: &mut Work,
    ) -> Value {
        let mut final_ones = 0;
        let keyed: Vec<(usize, &Keyed)> = self.keyed[..self.sent].iter().enumerate().collect();
        for some in keyed.chunks(AT_ONCE) {
            let asked = some
                .iter()
                .map(|(_, keyed)| until_final(client, site.clock, keyed));
            let asked = futures_util::future::join_all(asked).await;
            for ((index, _), (tries, looks, is_final)) in some.iter().zip(asked) {
                work.operations[*index].append(tries);
                work.looks.resize(work.operations.len().max(index + 1), 0);
                work.looks[*index] = looks;
                final_ones += usize::from(is_final);
            }
        }
        work.look(site);
        json!({"asked": self.sent, "final": final_ones})
    }
}

async fn until_final(client: &Client, clock: Clock, keyed: &Keyed) -> (Operation, u64, bool) {
    let (mut asked, mut looks) = (keyed.operation(), 0);
    let mut patience = Patience::new(clock);
    let bound_us = u64::try_from(AGAIN_BOUND.as_micros()).unwrap_or(u64::MAX);
    loop {
        keyed.send(client, Sort::Repeat, &mut asked).await;
        looks += 1;
        let is_final = asked
            .tries
            .last()
            .is_some_and(|last| is_final(&asked, last));
        if is_final || patience.spent_us() >= bound_us {
            return (asked, looks, is_final);
        }
        patience.pause().await;
    }
}

/// Whether an answer is the one that the key stands for from then on.
fn is_final(asked: &Operation, entry: &Try) -> bool {
    entry.replayed || (asked.succeeded(entry) && !asked.in_progress(entry))
}

impl Work {
    fn look(&mut self, site: &Site) {
        let seen = |double: &Double| double.calls().into_iter().map(Seen::from).collect();
        self.backends = Backends {
            models: seen(&site.models),
            tools: seen(&site.tools),
        };
    }

    /// Judges it; a line of numbers when there is something.
    pub(super) fn judge(&self, judgement: &mut Judgement) -> Option<String> {
        if self.operations.is_empty() {
            return None;
        }
        let (mut acknowledged, mut seconds, mut again) = (0, 0, 0);
        let mut tally = Tally::default();
        let asked = self.operations.iter();
        let requests = asked.flat_map(|asked| {
            let tries = asked.tries.iter();
            tries.filter_map(|one| history::request(asked, one, Ttl::Running))
        });
        history::judge(requests.collect(), &mut tally);
        judgement.violations.append(&mut tally.violations);
        judgement.undecided.append(&mut tally.undecided);
        for (index, asked) in self.operations.iter().enumerate() {
            let mut calls = self.backends.of(asked);
            // A turn that failed is no answer that is kept: whoever sends it again has the model asked
            // again, and no tool run again.
            if asked.tries.iter().any(|entry| entry.status >= 500) {
                calls.truncate(asked.paths.len());
            }
            let second = second_effects(&calls);
            seconds += second;
            judgement.expect(second == 0, || {
                format!("{}: {second} second effects, expected 0", asked.line())
            });
            let succeeded = |entry: &&Try| asked.succeeded(entry);
            acknowledged += u64::from(asked.tries.iter().any(|one| succeeded(&one)));
            let looks = self.looks.get(index).copied().unwrap_or_default();
            again += u64::from(judge_end(asked, looks, judgement));
        }
        if self.operations.iter().all(|asked| asked.tries.is_empty()) {
            judgement.undecided("operations were made ready, and none was sent");
        }
        let tries = || self.operations.iter().flat_map(|asked| &asked.tries);
        let intervals: Vec<_> = tries()
            .filter_map(|entry| Some((entry.invoked_us, entry.returned_us?)))
            .collect();
        Some(format!(
            "{} keys, {} requests, {} overlapping pairs: {acknowledged} acknowledged, {again} there \
             afterwards, {seconds} second effects",
            self.operations.len(),
            tries().count(),
            overlapping_pairs(&intervals),
        ))
    }
}

/// Judges what its key stands for at last; whether it stands for an answer.
fn judge_end(asked: &Operation, looks: u64, judgement: &mut Judgement) -> bool {
    let Some(last) = asked.tries.last() else {
        return false;
    };
    let line = asked.line();
    if looks == 0 {
        judgement.undecided(format!("{line} was not asked for again afterwards"));
        return false;
    }
    let acknowledged = asked.tries.iter().find(|entry| asked.succeeded(entry));
    let outcome = asked.outcome(last);
    match acknowledged {
        Some(_) if asked.succeeded(last) => true,
        Some(first) if last.status != 0 => {
            let first = asked.outcome(first);
            judgement.violation(format!(
                "{line}: got {outcome} after {first}, expected the answer that it had got"
            ));
            false
        }
        None if is_final(asked, last) => true,
        _ => {
            let text =
                format!("{line}: got {outcome} after {looks} looks, expected a final answer");
            match looks >= ENOUGH_LOOKS {
                true => judgement.violation(text),
                false => judgement.undecided(text),
            }
            false
        }
    }
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
