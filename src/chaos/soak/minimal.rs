//! Which moves a violation needs: one after the other is left out, and stays out when the rest is
//! still enough. Who asks drives each try; nothing is believed of one that was not driven.

use super::moves::Move;
use super::round::Round;

/// A round that is being made smaller.
#[derive(Clone, Debug)]
pub struct Minimal {
    round: Round,
    /// The move that is left out next, from the end.
    next: usize,
}

/// Begins with a round that found a violation.
#[must_use]
pub fn minimal(round: &Round) -> Minimal {
    Minimal {
        next: round.moves.len(),
        round: round.clone(),
    }
}

impl Minimal {
    /// The next try: the round without one more of its moves. None when none is left to try.
    #[must_use]
    pub fn candidate(&self) -> Option<Round> {
        let out = self.next.checked_sub(1)?;
        let left = self.round.moves.iter().enumerate();
        let left: Vec<Move> = left
            .filter(|(place, _)| *place != out)
            .map(|(_, one)| one.clone())
            .collect();
        (!left.is_empty()).then(|| self.round.with(left))
    }

    /// Whether the candidate was still enough.
    pub fn answer(&mut self, fails: bool) {
        match self.candidate() {
            Some(smaller) if fails => self.round = smaller,
            _ => {}
        }
        self.next = self.next.saturating_sub(1);
    }

    /// The smallest so far.
    #[must_use]
    pub fn round(&self) -> &Round {
        &self.round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    /// Makes the round smaller, where these of its moves (by place) are what it takes.
    fn shrunk(needed: &[usize]) -> (Vec<Move>, usize) {
        let mut round = Round::of(Seed(3), 1);
        for (place, one) in round.moves.iter_mut().enumerate() {
            one.steps = vec![serde_json::json!(place)];
        }
        let wanted: Vec<Move> = needed
            .iter()
            .map(|place| round.moves[*place].clone())
            .collect();
        let (mut smaller, mut tries) = (minimal(&round), 0);
        while let Some(candidate) = smaller.candidate() {
            tries += 1;
            smaller.answer(wanted.iter().all(|one| candidate.moves.contains(one)));
        }
        assert_eq!(smaller.round().moves, wanted, "{needed:?}");
        (wanted, tries)
    }

    #[test]
    fn what_is_left_is_what_it_takes_and_nothing_else() {
        for needed in [&[0][..], &[4], &[1, 3], &[0, 2, 4], &[0, 1, 2, 3, 4]] {
            let (_, tries) = shrunk(needed);
            assert!(tries <= 5, "{needed:?}: {tries}");
        }
    }
}
