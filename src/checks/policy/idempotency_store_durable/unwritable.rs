//! Judges a store that cannot be written: nothing runs, the client is told so, and once it can be
//! written again the same request runs once.

use serde::{Deserialize, Serialize};

use crate::chaos::keyed::Tally;
use crate::chaos::keyed::operations::{Backends, Operation};

/// What was seen while the harness held write locks, and after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The requests: the first under the lock, the second after it, then repeats.
    pub blocked: Vec<Blocked>,
    /// What the doubles got.
    pub backends: Backends,
}

/// A request to a service whose database was locked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocked {
    /// What was asked.
    pub asked: Operation,
    /// From when to when the database of the route's service was locked.
    pub locked: (u64, Option<u64>),
}

/// Judges the refusals and their controls.
pub fn judge(seen: &Evidence, tally: &mut Tally) {
    for blocked in &seen.blocked {
        tally.keys += 1;
        judge_refusal(seen, blocked, tally);
        judge_control(seen, blocked, tally);
    }
}

fn judge_refusal(seen: &Evidence, blocked: &Blocked, tally: &mut Tally) {
    let asked = &blocked.asked;
    let Some(entry) = asked.tries.first() else {
        tally
            .undecided
            .push(format!("{}: not asked under the lock", asked.line()));
        return;
    };
    let (from, until) = blocked.locked;
    // Only what was asked and answered under the lock had to be refused.
    let under =
        from <= entry.invoked_us && until.is_none_or(|until| entry.returned_us < Some(until));
    if !under {
        tally.undecided.push(format!(
            "{}: the lock ended before the answer",
            asked.line()
        ));
        return;
    }
    let well = entry.status == 503 && asked.code(entry) == "STORE_UNAVAILABLE";
    let later = entry
        .retry_after
        .as_deref()
        .is_some_and(|text| text.parse::<u64>().is_ok());
    tally.refused += u64::from(well && later);
    tally.expect(well && later, || {
        let retry = entry.retry_after.as_deref().unwrap_or("none");
        format!(
            "{}: with a store that cannot be written got {} with Retry-After {retry}, \
             expected 503 STORE_UNAVAILABLE with seconds",
            asked.line(),
            asked.outcome(entry)
        )
    });
    let inside = |at: u64| from <= at && until.is_none_or(|until| at < until);
    let lists = seen.backends.of(asked);
    let calls = lists
        .iter()
        .flatten()
        .filter(|call| inside(call.at_us))
        .count();
    tally.expect(calls == 0, || {
        format!(
            "{}: {calls} calls at the doubles while the store could not be written, expected 0",
            asked.line()
        )
    });
}

/// The same request once the store can be written: executed once, then stored.
fn judge_control(seen: &Evidence, blocked: &Blocked, tally: &mut Tally) {
    let asked = &blocked.asked;
    let line = asked.line();
    let [_, control, repeats @ ..] = asked.tries.as_slice() else {
        tally
            .undecided
            .push(format!("{line}: not asked again after the lock"));
        return;
    };
    let well = asked.succeeded(control) && !control.replayed;
    tally.expect(well, || {
        let outcome = asked.outcome(control);
        format!(
            "{line}: after the lock got {outcome}, expected a new {}",
            asked.route.success()
        )
    });
    for entry in repeats {
        let same = entry.replayed
            && entry.status == control.status
            && asked.body(entry) == asked.body(control);
        tally.replays += u64::from(same);
        tally.expect(same, || {
            format!(
                "{line}: a repeat got {}, expected the stored answer",
                asked.outcome(entry)
            )
        });
    }
    for calls in seen.backends.of(asked) {
        let got = calls.len();
        tally.second_effects += crate::chaos::keyed::operations::effects(&calls).saturating_sub(1);
        tally.expect(got == 1, || {
            format!("{line}: {got} calls at a double, expected 1")
        });
    }
}
