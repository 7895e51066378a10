//! Where the time of a drive went, made of the spans that the check noted.

use std::time::Duration;

use crate::checks::Span;

/// Beginnings of span names, and the phase that they belong to. Another name is a phase itself.
const KINDS: [(&str, &str); 4] = [
    ("start", "start-up"),
    ("wait", "windows"),
    ("windows", "windows"),
    ("storm", "storms"),
];

/// Wall time by phase. Spans of one phase that overlap count once; of two phases, in both, so the
/// parts may add up to more than the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    parts: Vec<(String, Duration)>,
}

impl Phases {
    /// The phases of a drive of this length, the judging of it included.
    #[must_use]
    pub fn of(spans: &[Span], whole: Duration, judging: Duration) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for span in spans {
            if !names.contains(&phase(span)) {
                names.push(phase(span));
            }
        }
        let time = |name: &str| covered(spans.iter().filter(|span| phase(span) == name));
        let mut parts: Vec<_> = names
            .iter()
            .map(|name| ((*name).to_owned(), time(name)))
            .collect();
        let other = whole
            .saturating_sub(covered(spans.iter()))
            .saturating_sub(judging);
        parts.push(("judging".to_owned(), judging));
        parts.push(("other".to_owned(), other));
        Self { parts }
    }

    /// The phases with their names: the check's in the order of their beginning, then judging and
    /// what no span covers.
    #[must_use]
    pub fn named(&self) -> &[(String, Duration)] {
        &self.parts
    }
}

fn phase(span: &Span) -> &str {
    let kind = KINDS
        .iter()
        .find(|(beginning, _)| span.name.starts_with(beginning));
    kind.map_or(span.name.as_str(), |(_, phase)| phase)
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
    fn overlapping_spans_of_a_phase_count_once() {
        let spans = [
            span("start", 0, 10),
            span("storm of approvals", 10, 50),
            span("storm of denials", 30, 60),
            span("kills", 60, 65),
            span("wait for degraded", 70, 90),
        ];
        let us = Duration::from_micros;
        let phases = Phases::of(&spans, us(120), us(5));
        let named: Vec<_> = phases
            .named()
            .iter()
            .map(|(name, time)| (name.as_str(), *time))
            .collect();
        // 120 in all, of which spans cover 85 and judging takes 5.
        let expected = [
            ("start-up", us(10)),
            ("storms", us(50)),
            ("kills", us(5)),
            ("windows", us(20)),
            ("judging", us(5)),
            ("other", us(30)),
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn a_drive_without_spans_is_all_other() {
        let whole = Duration::from_millis(3);
        let phases = Phases::of(&[], whole, Duration::ZERO);
        assert_eq!(phases.named().last(), Some(&("other".to_owned(), whole)));
    }
}
