//! How long the rest of a proof takes, told from what was driven so far. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// Drives that are to be done and were done, by gate: a gate takes about as long under one mutant as
/// under another, and much longer or shorter than another gate.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    todo: BTreeMap<String, u32>,
    done: BTreeMap<String, (Duration, u32)>,
}

impl Estimate {
    /// Drives of these gates, one each.
    pub(super) fn of<'a>(gates: impl IntoIterator<Item = &'a str>) -> Self {
        let mut estimate = Self::default();
        for gate in gates {
            *estimate.todo.entry(gate.to_owned()).or_default() += 1;
        }
        estimate
    }

    /// A drive has ended that took so long.
    pub(super) fn finished(&mut self, gate: &str, took: Duration) {
        if let Some(todo) = self.todo.get_mut(gate) {
            *todo = todo.saturating_sub(1);
        }
        let (all, count) = self.done.entry(gate.to_owned()).or_default();
        *all += took;
        *count += 1;
    }

    /// How long the rest takes when drives go on side by side as they did for `elapsed`; none before
    /// anything is done. A gate that was not driven yet counts as the mean of those that were.
    #[must_use]
    pub(super) fn left(&self, elapsed: Duration) -> Option<Duration> {
        let (worked, count) = self
            .done
            .values()
            .fold((0.0, 0.0), |(worked, count), (all, each)| {
                (worked + all.as_secs_f64(), count + f64::from(*each))
            });
        if worked <= 0.0 {
            return None;
        }
        let mean = |gate: &str| match self.done.get(gate) {
            Some((all, count)) => all.as_secs_f64() / f64::from(*count),
            None => worked / count,
        };
        let todo = self.todo.iter();
        let work: f64 = todo
            .map(|(gate, times)| mean(gate) * f64::from(*times))
            .sum();
        Some(Duration::from_secs_f64(
            work / worked * elapsed.as_secs_f64(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_left_is_told_by_gate_and_by_how_many_go_side_by_side() {
        let mut estimate = Estimate::of(["slow", "slow", "slow", "fast", "fast", "unseen"]);
        assert_eq!(estimate.left(SECOND), None);
        estimate.finished("slow", 9 * SECOND);
        estimate.finished("fast", SECOND);
        // Ten seconds of work in five: two side by side. Left are two slow ones, a fast one, and one
        // that counts as the mean of five: 24 seconds of work.
        assert_eq!(estimate.left(5 * SECOND), Some(12 * SECOND));
    }

    #[test]
    fn nothing_is_left_when_all_is_done() {
        let mut estimate = Estimate::of(["one"]);
        estimate.finished("one", SECOND);
        assert_eq!(estimate.left(SECOND), Some(Duration::ZERO));
    }
}
