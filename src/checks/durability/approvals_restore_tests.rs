use super::{Evidence, Fate, judge};
use crate::checks::durability::standing;

fn good() -> Evidence {
    Evidence {
        short_ttl_ms: 800,
        standing: vec![
            standing::tests::story("apr_1", Fate::Open),
            standing::tests::story("apr_2", Fate::Expired),
        ],
        killed_us: vec![500_000, 2_000_000],
    }
}

#[test]
fn what_was_approved_once_and_what_expired_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("approved_after_kill", 1),
        ("expired_while_down", 1),
        ("kills", 2),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_kill_that_came_too_late_proves_no_expiry_while_down() {
    let mut seen = good();
    seen.killed_us[0] = 900_000;
    assert_eq!(judge(&seen).exercised["expired_while_down"], 0);
}

#[test]
fn an_expired_one_that_can_be_approved_is_a_violation() {
    let mut seen = good();
    seen.standing[1].after = standing::tests::story("apr_1", Fate::Open).after;
    seen.standing[1].runs = Some(1);
    assert_eq!(judge(&seen).violations.len(), 3);
}
