//! A target that is stopped (SIGSTOP) in the middle of what it does, and goes on (SIGCONT) as if no time
//! had passed.

use serde::{Deserialize, Serialize};

use super::ms;
use crate::chaos::Judgement;

/// One pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it was stopped.
    pub from_us: u64,
    /// When it went on; none if it never did.
    pub to_us: Option<u64>,
    /// Calls of the target's that a double had and that had no answer yet.
    pub in_flight: usize,
}

/// Judges all: a pause that met nothing was no fault.
pub(super) fn judge(pauses: &[Pause], judgement: &mut Judgement) -> Option<String> {
    if pauses.is_empty() {
        return None;
    }
    let inside = pauses.iter().filter(|pause| pause.in_flight > 0).count();
    if inside == 0 {
        judgement.undecided("the target was paused while it did nothing");
    }
    if pauses.iter().any(|pause| pause.to_us.is_none()) {
        judgement.undecided("the target was paused and did not go on");
    }
    let longest = pauses
        .iter()
        .filter_map(|pause| Some(pause.to_us? - pause.from_us));
    Some(format!(
        "{} pauses, {inside} of them in the middle of a call, up to {} ms",
        pauses.len(),
        ms(longest.max().unwrap_or_default())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undecided(pauses: &[Pause]) -> Vec<String> {
        let mut judgement = Judgement::default();
        judge(pauses, &mut judgement);
        judgement.undecided
    }

    #[test]
    fn a_pause_in_the_middle_of_a_call_counts_and_any_other_is_no_fault() {
        let good = Pause {
            from_us: 1_000,
            to_us: Some(401_000),
            in_flight: 2,
        };
        assert_eq!(undecided(std::slice::from_ref(&good)), [""; 0]);
        let line = judge(std::slice::from_ref(&good), &mut Judgement::default());
        assert_eq!(
            line.unwrap(),
            "1 pauses, 1 of them in the middle of a call, up to 400 ms"
        );
        let idle = Pause {
            in_flight: 0,
            ..good.clone()
        };
        assert!(undecided(&[idle])[0].contains("did nothing"));
        let stuck = Pause {
            to_us: None,
            ..good
        };
        assert!(undecided(&[stuck])[0].contains("did not go on"));
        assert_eq!(judge(&[], &mut Judgement::default()), None);
    }
}
