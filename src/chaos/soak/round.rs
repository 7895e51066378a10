//! An experiment of some moves, with the invariants looked at after each.

use serde_json::{Value, json};

use super::moves::{Move, act};
use crate::base::Seed;

/// Moves of a round.
const MOVES: usize = 5;

/// A round: its moves, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Its number, from 1.
    pub number: u64,
    /// What decides everything in it.
    pub seed: Seed,
    /// What is done.
    pub moves: Vec<Move>,
}

impl Round {
    /// The round of this number that this seed gives.
    #[must_use]
    pub fn of(soak: Seed, number: u64) -> Self {
        let seed = soak.child(&format!("round {number}"));
        let mut rng = seed.rng();
        let moves = (0..MOVES).map(|_| Move::draw(&mut rng)).collect();
        Self {
            number,
            seed,
            moves,
        }
    }

    /// The same round with only these of its moves.
    #[must_use]
    pub fn with(&self, moves: Vec<Move>) -> Self {
        Self {
            moves,
            ..self.clone()
        }
    }

    /// What its moves are called.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.moves.iter().map(|one| one.name).collect();
        names.join(", ")
    }

    /// The experiment file.
    #[must_use]
    pub fn experiment(&self) -> Value {
        let look = |name: &str, probe: Value, tolerance: Value| json!({"type": "probe", "name": name, "tolerance": tolerance, "provider": probe});
        let count = |of: &str| json!({"type": "sonia", "probe": "count", "arguments": {"of": of}});
        let needs = json!({
            "type": "probe", "name": "needs", "provider": {"type": "sonia", "probe": "needs"},
        });
        let mut method = vec![act("traffic", json!({"windows": 1})), needs.clone()];
        for one in &self.moves {
            method.extend(one.steps.iter().cloned());
            method.push(act("audit", json!({})));
        }
        method.push(needs);
        json!({
            "version": "1.0.0",
            "title": format!("Round {} of a soak", self.number),
            "description": format!("{}; the invariants are looked at after each.", self.names()),
            "tags": ["soak"],
            "steady-state-hypothesis": {
                "title": "Every service is ready and nothing was violated.",
                "probes": [
                    look("healthy", json!({"type": "sonia", "probe": "healthy"}), json!(true)),
                    look("violations", count("violations"), json!(0)),
                    look("wrong races", count("wrong-rounds"), json!(0)),
                ],
            },
            "method": method,
            "rollbacks": [],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::chaos::drill::{Environment, Experiment};

    #[test]
    fn every_round_is_an_experiment_that_is_understood_and_has_a_fault_to_survive() {
        let mut names = BTreeSet::new();
        for number in 1..=200 {
            let round = Round::of(Seed(7), number);
            let text = round.experiment().to_string();
            let parsed = Experiment::parse(&text, &Environment::default());
            assert!(parsed.is_ok(), "{text}: {:?}", parsed.err());
            names.extend(round.moves.iter().map(|one| one.name));
        }
        assert_eq!(names.len(), 16, "{names:?}");
    }

    #[test]
    fn a_seed_gives_the_same_rounds_and_another_one_others() {
        let all = |seed| {
            (1..=5)
                .map(|number| Round::of(Seed(seed), number))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert_ne!(Round::of(Seed(7), 1).moves, Round::of(Seed(7), 2).moves);
    }
}
