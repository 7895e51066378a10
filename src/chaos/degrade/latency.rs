//! What recorded times say of the percentiles of a window that holds exactly the turns of one
//! batch. A turn took at least as long as the model had it, and at most as long as its client
//! waited; a percentile of the least and of the most are the least and the most of a percentile.

use serde_json::Value;

use super::machine::Class;
use super::timeline::{Batch, ROUNDING};

/// The stages that these turns pass: the model has the whole of what is held back.
const STAGES: [&str; 2] = ["total", "model"];

/// A time that is known up to a least and a most, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Within {
    /// Certainly not less.
    pub least: f64,
    /// Certainly not more; infinite when somebody still waits.
    pub most: f64,
}

impl Within {
    /// Whether a target that rounds to three digits can have told this.
    pub fn fits(self, told_ms: f64) -> bool {
        (self.least * (1.0 - ROUNDING)..=self.most * (1.0 + ROUNDING)).contains(&told_ms)
    }
}

impl Batch {
    /// A percentile of `total`: the smallest value with at least `percent` % at or below it.
    pub fn percentile(&self, percent: usize) -> Within {
        let of = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            let rank = (all.len() * percent).div_ceil(100);
            all.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        let (least, most) = self.took_ms();
        Within {
            least: of(least),
            most: of(most),
        }
    }

    /// The mean of `total`, at least, in milliseconds.
    pub fn least_mean_ms(&self) -> f64 {
        let (least, _) = self.took_ms();
        least.iter().sum::<f64>() / least.len().max(1) as f64
    }

    /// The mean of `total`, at most, in milliseconds.
    pub fn most_mean_ms(&self) -> f64 {
        let (_, most) = self.took_ms();
        most.iter().sum::<f64>() / most.len().max(1) as f64
    }

    /// The class of a window with exactly these turns under these `thresholds`, if the times say
    /// it.
    pub fn class(&self, thresholds: &Value) -> Option<Class> {
        let stages = thresholds.as_object()?;
        if !self.all_sampled() || !stages.keys().all(|stage| STAGES.contains(&stage.as_str())) {
            return None;
        }
        let limits = stages.values().flat_map(|limit| {
            let of = move |name: &str, percent| Some((limit[name].as_f64()?, percent));
            [of("p95", 95), of("p99", 99)].into_iter().flatten()
        });
        let mut class = Some(Class::Healthy);
        for (limit, percent) in limits {
            let Within { least, most } = self.percentile(percent);
            if least >= limit * (1.0 + ROUNDING) {
                return Some(Class::Breach);
            } else if most > limit * (1.0 - ROUNDING) {
                class = None;
            }
        }
        class
    }

    /// Whether every turn is a sample for certain: served, or failed because of the model.
    pub fn all_sampled(&self) -> bool {
        let failed = self.turns.iter().filter(|turn| turn.status != 200);
        let by_model = failed.clone().all(|turn| turn.code == MODEL_FAILED);
        let reached = failed.count() == 0 || self.model_calls.len() >= self.turns.len();
        !self.turns.is_empty() && by_model && reached
    }

    /// What the turns took at least and at most, in no particular order, in milliseconds.
    fn took_ms(&self) -> (Vec<f64>, Vec<f64>) {
        let ms = |us: u64| us as f64 / 1e3;
        let held = self.model_calls.iter();
        let mut least: Vec<f64> = held.map(|(at, out)| ms(out.saturating_sub(*at))).collect();
        least
            .iter_mut()
            .for_each(|held| *held = held.max(self.wire_delay_ms as f64));
        // A turn whose call was not seen may have taken no time at all.
        least.resize(self.turns.len(), 0.0);
        let most = self.turns.iter().map(|turn| match turn.returned_us {
            Some(returned_us) => ms(returned_us.saturating_sub(turn.invoked_us)),
            None => f64::INFINITY,
        });
        (least, most.collect())
    }
}

/// The code of a turn that failed because its model did.
const MODEL_FAILED: &str = "MODEL_UNAVAILABLE";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::timeline::Turn;
    use super::*;

    /// 100 turns of which `slow` are held for `slow_ms`, the others for 1 ms; each takes 4 ms more.
    fn window(slow: usize, slow_ms: u64) -> Batch {
        let held = |number| if number < slow { slow_ms } else { 1 };
        let turn = |number| Turn {
            invoked_us: 0,
            returned_us: Some((held(number) + 4) * 1000),
            status: 200,
            code: String::new(),
        };
        Batch {
            turns: (0..100).map(turn).collect(),
            model_calls: (0..100)
                .map(|number| (2000, 2000 + held(number) * 1000))
                .collect(),
            ..Batch::default()
        }
    }

    fn check(slow: usize, slow_ms: u64, thresholds: Value, expected: Option<Class>) {
        let window = window(slow, slow_ms);
        assert_eq!(
            window.class(&thresholds),
            expected,
            "{slow} of {slow_ms} ms, {thresholds}"
        );
    }

    #[test]
    fn a_percentile_is_a_rank_and_not_the_mean() {
        let p95 = json!({"total": {"p95": 50}});
        check(5, 2000, p95.clone(), Some(Class::Healthy));
        assert!(window(5, 2000).least_mean_ms() > 50.0);
        check(6, 60, p95.clone(), Some(Class::Breach));
        assert!(window(6, 60).most_mean_ms() < 50.0);
        check(6, 48, p95, None);
    }

    #[test]
    fn the_99th_of_100_is_not_the_last() {
        let limits = json!({"total": {"p95": 50, "p99": 100}});
        check(1, 150, limits.clone(), Some(Class::Healthy));
        check(2, 150, limits.clone(), Some(Class::Breach));
        check(2, 98, limits, None);
    }

    #[test]
    fn one_limit_is_enough_and_an_unknown_stage_says_nothing() {
        check(
            100,
            60,
            json!({"model": {"p95": 50}, "total": {"p99": 900}}),
            Some(Class::Breach),
        );
        check(100, 60, json!({"tool": {"p95": 50}}), None);
        check(100, 60, json!({}), Some(Class::Healthy));
        assert_eq!(window(1, 1).class(&Value::Null), None);
    }

    #[test]
    fn who_failed_by_the_model_is_a_sample_and_who_was_refused_is_not() {
        let limits = json!({"total": {"p95": 50}});
        let mut failed = window(100, 60);
        for turn in &mut failed.turns {
            (turn.status, turn.code) = (503, "MODEL_UNAVAILABLE".to_owned());
        }
        assert_eq!(failed.class(&limits), Some(Class::Breach));
        failed.turns[3].code = "SHED".to_owned();
        assert_eq!(failed.class(&limits), None);
        assert_eq!(Batch::default().class(&limits), None);
    }

    #[test]
    fn a_turn_without_an_answer_has_no_most() {
        let mut window = window(0, 1);
        window.turns[0].returned_us = None;
        assert_eq!(window.percentile(100).most, f64::INFINITY);
        assert!(window.percentile(95).fits(3.0) && !window.percentile(95).fits(6.0));
    }
}
