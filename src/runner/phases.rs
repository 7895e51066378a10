//! Where the time of a drive went, made of the spans that the check noted.

use std::time::Duration;

use crate::checks::Span;

/// Wall time by kind. Spans of one kind that overlap count once; of two kinds, in both, so the
/// parts may add up to more than the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Starting targets.
    pub start_up: Duration,
    /// Waiting for a condition, such as the end of a window.
    pub windows: Duration,
    /// Storms.
    pub storms: Duration,
    /// Judging what was recorded.
    pub judging: Duration,
    /// The rest.
    pub other: Duration,
}

impl Phases {
    /// The phases of a drive of this length.
    #[must_use]
    pub fn of(spans: &[Span], whole: Duration, judging: Duration) -> Self {
        let by = |word: &str| covered(spans.iter().filter(|span| span.name.starts_with(word)));
        Self {
            start_up: by("start"),
            windows: by("wait"),
            storms: by("storm"),
            judging,
            other: whole
                .saturating_sub(covered(spans.iter()))
                .saturating_sub(judging),
        }
    }

    /// The phases with their names, in the order in which they are shown.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("start-up", self.start_up),
            ("windows", self.windows),
            ("storms", self.storms),
            ("judging", self.judging),
            ("other", self.other),
        ]
    }
}

/// How much time at least one of the spans covers.
fn covered<'a>(spans: impl Iterator<Item = &'a Span>) -> Duration {
    let mut edges: Vec<(u64, u64)> = spans.map(|span| (span.from_us, span.to_us)).collect();
    edges.sort_unstable();
    let (mut total, mut reached) = (0, 0);
    for (from, to) in edges {
        total += to.saturating_sub(from.max(reached));
        reached = reached.max(to);
    }
    Duration::from_micros(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, from_us: u64, to_us: u64) -> Span {
        Span {
            name: name.to_owned(),
            from_us,
            to_us,
        }
    }

    #[test]
    fn overlapping_spans_of_a_kind_count_once() {
        let spans = [
            span("start", 0, 10),
            span("storm of approvals", 10, 50),
            span("storm of denials", 30, 60),
            span("wait for degraded", 70, 90),
        ];
        let us = Duration::from_micros;
        let phases = Phases::of(&spans, us(120), us(5));
        assert_eq!(phases.start_up, us(10));
        assert_eq!(phases.storms, us(50));
        assert_eq!(phases.windows, us(20));
        // 120 in all, of which 80 are covered and 5 are judging.
        assert_eq!(phases.other, us(35));
    }
}
