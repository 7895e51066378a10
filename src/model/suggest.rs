//! Did you mean: the nearest of the names there are.

/// The candidate nearest to `typed`, if any is near enough to be a slip of the fingers: at most
/// a third of its letters differ.
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|name| (distance(&typed, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) between two texts, counted in bytes.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b))
                .min(rows[i][j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    const NAMES: [&str; 3] = ["approval-race-safe", "wal-mode", "queue-storm"];

    #[test]
    fn a_slip_finds_the_name() {
        for typed in [
            "aproval-race-safe",
            "approval-race-save",
            "aprpoval-race-safe",
            "WAL-mode",
        ] {
            assert!(nearest(typed, NAMES).is_some(), "{typed}");
        }
        assert_eq!(nearest("wall-mode", NAMES), Some("wal-mode"));
    }

    #[test]
    fn another_word_finds_nothing() {
        for typed in ["", "x", "something-else-entirely"] {
            assert_eq!(nearest(typed, NAMES), None, "{typed}");
        }
    }

    #[test]
    fn distances_are_those_counted_by_hand() {
        for (left, right, edits) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }
}
