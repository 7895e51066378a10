//! What the parts of this gate add up to, in its own line of numbers.

use std::collections::BTreeMap;

use crate::chaos::keyed::Tally;
use crate::checks::Judgement;

/// How many violations are written out; the rest is counted.
const SHOWN: usize = 24;

/// The judgement with its line of numbers; `bound` is the upper end of the 95 % confidence
/// interval of the share of cut operations with a second effect.
pub(super) fn judgement(mut tally: Tally, bound: f64) -> Judgement {
    let detail = format!(
        "{} keys, {} replays ({} after a KILL); {} kills inside an operation cut {} of them; \
         second effects: got {}, expected 0 (below {:.1} % of cut operations at 95 %); \
         {} executions after the TTL, {} rows pruned, {} refused without a store",
        tally.keys,
        tally.replays,
        tally.replays_after_kill,
        tally.kills_inside,
        tally.cut,
        tally.second_effects,
        bound * 100.0,
        tally.expired,
        tally.pruned,
        tally.refused,
    );
    let more = tally.violations.len().saturating_sub(SHOWN);
    if more > 0 {
        tally.violations.truncate(SHOWN);
        tally.violations.push(format!("and {more} more violations"));
    }
    let exercised = [
        ("kills_inside_operation", tally.kills_inside),
        ("kill_moments", tally.moments.len() as u64),
        ("operations_cut", tally.cut),
        ("replays_after_kill", tally.replays_after_kill),
        ("key_in_progress", tally.in_progress),
        ("key_reused", tally.reused),
        ("executions_after_ttl", tally.expired),
        ("rows_pruned", tally.pruned),
        ("rows_kept", tally.kept),
        ("refused_by_store", tally.refused),
    ];
    let exercised: BTreeMap<_, _> = exercised
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    Judgement {
        violations: tally.violations,
        exercised,
        undecided: tally.undecided,
        detail,
    }
}
