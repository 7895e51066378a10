//! A share of a plan's gates, for as many machines as there are. Pure, and the same everywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// One share of several: `2/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Which, counted from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (1 <= number && number <= of).then_some(Self { number, of })
        };
        parse().ok_or_else(|| format!("`{text}` is no share such as 2/3"))
    }
}

impl Plan {
    /// Keeps of the selected gates only those of a share. The longest goes first to the share that
    /// has least to do so far, by recorded durations in seconds; a gate without one counts as the
    /// mean of those that have one. The same gates and durations give the same shares everywhere.
    pub fn keep_share(&mut self, share: Partition, seconds: &BTreeMap<String, f64>) {
        let mean = match seconds.len() {
            0 => 1.0,
            count => seconds.values().sum::<f64>() / count as f64,
        };
        let weight = |name: &str| seconds.get(name).copied().unwrap_or(mean);
        let selected = self.gates.iter().filter(|gate| gate.selected);
        let mut names: Vec<String> = selected.map(|gate| gate.spec.name.clone()).collect();
        names.sort_by(|one, other| {
            let longest_first = weight(other).total_cmp(&weight(one));
            longest_first.then_with(|| one.cmp(other))
        });
        let mut work: Vec<f64> = vec![0.0; share.of];
        let mut mine = Vec::new();
        for name in names {
            let least = (0..share.of).min_by(|one, other| work[*one].total_cmp(&work[*other]));
            let place = least.unwrap_or_default();
            work[place] += weight(&name);
            if place + 1 == share.number {
                mine.push(name);
            }
        }
        for gate in &mut self.gates {
            gate.selected = mine.contains(&gate.spec.name);
        }
        self.whole = self.gates.iter().all(|gate| gate.selected);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::model::{Model, Selection};

    fn share(number: usize, of: usize, seconds: &BTreeMap<String, f64>) -> Vec<String> {
        static MODEL: LazyLock<Model> = LazyLock::new(|| Model::embedded().unwrap());
        let mut plan = MODEL.plan("v4.7", &Selection::default()).unwrap();
        plan.keep_share(Partition { number, of }, seconds);
        let selected = plan.gates.iter().filter(|gate| gate.selected);
        let names: Vec<String> = selected.map(|gate| gate.spec.name.clone()).collect();
        assert_eq!(plan.whole, names.len() == plan.gates.len());
        names
    }

    #[test]
    fn every_gate_is_in_exactly_one_share() {
        for of in [1, 2, 3, 7, 84] {
            let mut all: Vec<String> = (1..=of)
                .flat_map(|number| share(number, of, &BTreeMap::new()))
                .collect();
            assert_eq!(all.len(), 84, "{of}");
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 84, "{of}");
        }
    }

    #[test]
    fn shares_take_about_as_long_and_the_longest_gate_is_alone_where_it_outweighs_the_rest() {
        let mut seconds = BTreeMap::new();
        for (place, name) in share(1, 1, &BTreeMap::new()).into_iter().enumerate() {
            seconds.insert(name, 1.0 + place as f64 / 100.0);
        }
        let total = |number: usize| -> f64 {
            share(number, 4, &seconds)
                .iter()
                .map(|name| seconds[name])
                .sum()
        };
        let totals: Vec<f64> = (1..=4).map(total).collect();
        let (least, most) = totals
            .iter()
            .fold((f64::MAX, 0.0_f64), |(least, most), one| {
                (least.min(*one), most.max(*one))
            });
        assert!(most - least < 0.1, "{totals:?}");
        seconds.insert("chaos-degrade-cycle".to_owned(), 1000.0);
        assert_eq!(share(1, 4, &seconds), ["chaos-degrade-cycle"]);
    }

    #[test]
    fn a_share_is_written_as_a_fraction() {
        let two_of_three: Partition = "2/3".parse().unwrap();
        assert_eq!(two_of_three, Partition { number: 2, of: 3 });
        assert_eq!(two_of_three.to_string(), "2/3");
        for wrong in ["", "2", "0/3", "4/3", "a/b", "-1/2", "1/0"] {
            assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
        }
    }
}
