//! One window of samples: what is recorded, and the percentiles at its close.
//!
//! Pure: times are arguments, measured on one monotonic clock. Judging a closed window is the
//! machine's part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::reference::config::Slo as Settings;

/// The stage that every operation has: its own length.
pub const TOTAL: &str = "total";

/// Longer times than this are recorded as this.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Digits kept of a sample: 0.1 %.
const DIGITS: u8 = 3;

/// What one operation took: its length, and the stages that were measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// From begin to end, however it ended; for one still running, its age.
    /// None when only a stage is known (a stage past its limit inside a running operation).
    pub total: Option<Duration>,
    /// Stage and its length, once for each time it was passed.
    pub stages: Vec<(String, Duration)>,
    /// Whether it is a call of our own and not a client's.
    pub probe: bool,
}

/// An operation, or a stage of one, that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// When the operation began.
    pub began: Duration,
    /// The stage it is in, and since when.
    pub stage: Option<(String, Duration)>,
    /// Whether it is a call of our own and not a client's.
    pub probe: bool,
}

/// The window that takes samples.
#[derive(Debug)]
pub struct Window {
    /// Number of this window, from 1, over restarts.
    pub index: u64,
    /// When it was opened.
    pub opened: Duration,
    /// What was in force when it was opened, until it closes.
    pub settings: Arc<Settings>,
    /// Generation of the config these settings come from.
    pub generation: u64,
    stages: BTreeMap<String, Histogram<u32>>,
}

/// The percentiles of one stage, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Smallest recorded value with at least 95 % of the samples at or below it.
    pub p95: f64,
    /// The same with 99 %.
    pub p99: f64,
}

/// What is left of a window when it has closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Number of the window.
    pub index: u64,
    /// Wall time of the close, microseconds since 1970.
    pub at_us: i64,
    /// Samples of `total`.
    pub samples: u64,
    /// Percentiles of every stage that has a sample.
    pub stages: BTreeMap<String, Percentiles>,
}

impl Window {
    /// An empty window.
    pub fn open(index: u64, opened: Duration, settings: Arc<Settings>, generation: u64) -> Self {
        Self {
            index,
            opened,
            settings,
            generation,
            stages: BTreeMap::new(),
        }
    }

    /// Takes one sample.
    pub fn record(&mut self, sample: &Sample) {
        let total = sample.total.map(|took| (TOTAL, took));
        let stages = sample
            .stages
            .iter()
            .map(|(stage, took)| (stage.as_str(), *took));
        for (stage, took) in total.into_iter().chain(stages) {
            let us = microseconds(took);
            if !self.stages.contains_key(stage) {
                self.stages.insert(stage.to_owned(), histogram());
            }
            if let Some(histogram) = self.stages.get_mut(stage) {
                histogram.saturating_record(us);
            }
        }
    }

    /// How many operations it holds.
    pub fn samples(&self) -> u64 {
        self.stages.get(TOTAL).map_or(0, Histogram::len)
    }

    /// Whether nothing at all was recorded.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Whether it holds as many samples as close it.
    pub fn is_full(&self) -> bool {
        let most = self.settings.window_max_samples;
        most > 0 && self.samples() >= most
    }

    /// When it closes by time.
    pub fn due(&self) -> Duration {
        self.opened
            .saturating_add(Duration::from_millis(self.settings.window_ms.max(1)))
    }

    /// What a running operation counts for if the window closed now: its age, and that of its
    /// stage, each only when already past the p99 threshold. An outage in which nothing ever
    /// ends would otherwise be a row of neutral windows.
    pub fn overdue(&self, running: &Running, now: Duration) -> Option<Sample> {
        let past = |stage: &str, since: Duration| {
            let age = now.saturating_sub(since);
            let limit = self.settings.thresholds.get(stage)?.p99?;
            (age.as_secs_f64() * 1e3 > limit.0).then_some(age)
        };
        let total = past(TOTAL, running.began);
        let stage = running
            .stage
            .as_ref()
            .and_then(|(stage, since)| past(stage, *since).map(|age| (stage.clone(), age)));
        (total.is_some() || stage.is_some()).then(|| Sample {
            total,
            stages: stage.into_iter().collect(),
            probe: running.probe,
        })
    }

    /// The window's percentiles, after its last sample.
    pub fn close(self, at_us: i64) -> Closed {
        let samples = self.samples();
        let stages = self.stages.into_iter().map(|(stage, histogram)| {
            let of = |percent| percentile_ms(&histogram, percent);
            (
                stage,
                Percentiles {
                    p95: of(95),
                    p99: of(99),
                },
            )
        });
        Closed {
            index: self.index,
            at_us,
            samples,
            stages: stages.collect(),
        }
    }
}

/// A length as it is recorded.
pub(in crate::reference) fn microseconds(took: Duration) -> u64 {
    u64::try_from(took.min(LONGEST).as_micros()).unwrap_or(u64::MAX)
}

/// An empty one, for microseconds.
pub(in crate::reference) fn histogram() -> Histogram<u32> {
    let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1, longest, DIGITS).expect("constant bounds are valid")
}

/// The smallest recorded value, in milliseconds, with at least `percent` % at or below it.
///
/// The rank is counted in integers: 0.95 * 20 is not 19 in every floating-point unit. A value
/// stands for the lower end of its histogram cell, so that a sample exactly at its threshold
/// never exceeds it.
pub(in crate::reference) fn percentile_ms(histogram: &Histogram<u32>, percent: u64) -> f64 {
    let rank = (histogram.len() * percent).div_ceil(100);
    let mut below = 0;
    for cell in histogram.iter_recorded() {
        below += u64::from(cell.count_at_value());
        if below >= rank {
            return histogram.lowest_equivalent(cell.value_iterated_to()) as f64 / 1e3;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn window(slo: serde_json::Value) -> Window {
        let settings = Arc::new(super::super::settings(slo));
        Window::open(1, Duration::ZERO, settings, 1)
    }

    fn took(ms: u64) -> Sample {
        Sample {
            total: Some(Duration::from_millis(ms)),
            stages: Vec::new(),
            probe: false,
        }
    }

    fn percentiles(ms: impl IntoIterator<Item = u64>) -> Percentiles {
        let mut window = window(json!({}));
        ms.into_iter().for_each(|ms| window.record(&took(ms)));
        window.close(0).stages[TOTAL]
    }

    #[test]
    fn a_percentile_is_a_recorded_value_and_not_the_mean() {
        let near = |got: f64, want: f64| (got - want).abs() <= want / 1e3;
        assert!(near(percentiles([1, 1, 1, 1, 500]).p95, 500.0));
        // 95 of 100 at or below 10: the five slow ones are past p95, and p99 sees them.
        let spike = std::iter::repeat_n(10, 95).chain(std::iter::repeat_n(900, 5));
        let seen = percentiles(spike);
        assert_eq!(seen.p95, 10.0);
        assert!(near(seen.p99, 900.0), "{seen:?}");
        // One more slow one, and p95 sees them too.
        let outage = std::iter::repeat_n(10, 94).chain(std::iter::repeat_n(900, 6));
        assert!(percentiles(outage).p95 > 899.0);
    }

    #[test]
    fn a_value_at_its_threshold_is_not_past_it() {
        for ms in [5, 250, 5_000, 12_000] {
            assert!(percentiles([ms]).p95 <= ms as f64);
            assert!(percentiles([ms + 1 + ms / 500]).p95 > ms as f64);
        }
    }

    #[test]
    fn samples_are_counted_by_total_and_stages_apart() {
        let mut window = window(json!({"window_max_samples": 2}));
        let mut sample = took(9);
        sample.stages = vec![
            ("tool".into(), Duration::from_millis(2)),
            ("tool".into(), Duration::from_millis(4)),
        ];
        window.record(&sample);
        assert_eq!((window.samples(), window.is_full()), (1, false));
        window.record(&took(1));
        assert_eq!((window.samples(), window.is_full()), (2, true));
        let closed = window.close(7);
        assert_eq!((closed.samples, closed.at_us), (2, 7));
        assert_eq!(closed.stages["tool"], Percentiles { p95: 4.0, p99: 4.0 });
        assert!(!closed.stages.contains_key("model"));
    }

    #[test]
    fn without_a_maximum_no_count_fills_a_window() {
        let mut window = window(json!({"window_max_samples": 0}));
        (0..500).for_each(|_| window.record(&took(1)));
        assert!(!window.is_full());
    }

    #[test]
    fn a_running_operation_counts_only_past_its_p99() {
        let slo = json!({"thresholds": {"total": {"p95": 50, "p99": 100}, "model": {"p95": 1}}});
        let window = window(slo);
        let ms = Duration::from_millis;
        let mut running = Running {
            began: ms(1_000),
            stage: None,
            probe: false,
        };
        assert_eq!(window.overdue(&running, ms(1_100)), None);
        assert_eq!(window.overdue(&running, ms(1_101)), Some(took(101)));
        // A stage without a p99 threshold is never overdue.
        running.stage = Some(("model".into(), ms(0)));
        assert_eq!(window.overdue(&running, ms(1_090)), None);
    }

    #[test]
    fn a_running_stage_counts_without_its_operation() {
        let ms = Duration::from_millis;
        let mut window = window(json!({"thresholds": {"model": {"p99": 100}}}));
        let stage = Some(("model".into(), ms(500)));
        let running = Running {
            began: ms(0),
            stage,
            probe: false,
        };
        let sample = window.overdue(&running, ms(700)).unwrap();
        window.record(&sample);
        assert_eq!(window.samples(), 0);
        assert_eq!(window.close(0).stages["model"].p99.round(), 200.0);
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_list(mut us in prop::collection::vec(0..90_000_000u64, 1..400)) {
            let mut window = window(json!({}));
            for us in &us {
                let total = Some(Duration::from_micros(*us));
                window.record(&Sample { total, stages: Vec::new(), probe: false });
            }
            us.sort_unstable();
            let closed = window.close(0);
            for (percent, got) in [(95, closed.stages[TOTAL].p95), (99, closed.stages[TOTAL].p99)] {
                // The first of the sorted values that has percent % of all at or below it.
                let want = *us.iter().find(|value| {
                    us.iter().filter(|other| other <= value).count() * 100 >= percent * us.len()
                }).unwrap() as f64 / 1e3;
                prop_assert!(got <= want && got >= want * 0.999 - 0.001, "{got}, expected {want}");
            }
        }
    }
}
