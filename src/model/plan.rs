//! A plan: every gate of a release in the order of its report, and which of them are to run.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::complaint::ModelError;
use super::gate::GateSpec;
use super::release::{Model, Release};
use super::suggest::nearest;

/// Whether a gate is inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Inherited from an older release.
    #[serde(rename = "A")]
    Floor,
    /// The release's own.
    #[serde(rename = "B")]
    Delta,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "A",
            Self::Delta => "B",
        })
    }
}

/// A gate in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGate {
    /// The gate.
    pub spec: GateSpec,
    /// Inherited or not.
    pub class: Class,
    /// `A` for a gate of the planned release, `v4.3-A` for an inherited one, empty without an epic.
    pub epic: String,
    /// Whether it is to run; a row it has in any case.
    pub selected: bool,
}

/// Which gates to run. Names and filters narrow each other; nothing given selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Gate names, ids of the release (`B1`) or of any (`v4.4/B1`).
    pub gates: Vec<String>,
    /// An epic of the release (`A`) or of an older one (`v4.3-A`).
    pub epic: Option<String>,
    /// Only the release's own gates.
    pub delta_only: bool,
    /// Only inherited gates.
    pub floor_only: bool,
}

/// Every gate of a release, and which are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The release, with its own gates.
    pub release: Release,
    /// Every gate, inherited ones first.
    pub gates: Vec<PlannedGate>,
    /// Whether all of them are to run.
    pub whole: bool,
}

impl Model {
    /// A plan of this release.
    ///
    /// # Errors
    /// An unknown release, gate or epic, and a selection of nothing.
    pub fn plan(&self, release: &str, selection: &Selection) -> Result<Plan, ModelError> {
        let release = self.release(release)?;
        let mut gates: Vec<PlannedGate> = self
            .lineage(release)
            .into_iter()
            .flat_map(|one| {
                one.gates
                    .iter()
                    .map(move |gate| planned(one, gate, release))
            })
            .collect();
        let names = selection.named(release, &gates)?;
        selection.check_epic(release, &gates)?;
        for gate in &mut gates {
            let by_name = names.is_empty() || names.contains(&gate.spec.name);
            gate.selected = by_name && selection.admits(gate);
        }
        if !gates.iter().any(|gate| gate.selected) {
            return Err(ModelError::new(
                format!("nothing of {} is selected", release.name),
                format!(
                    "drop a filter; `sonia-gate list {}` shows every gate",
                    release.name
                ),
            ));
        }
        let whole = gates.iter().all(|gate| gate.selected);
        Ok(Plan {
            release: release.clone(),
            gates,
            whole,
        })
    }

    /// The gate of this name, or of this id (without a release: the newest's).
    ///
    /// # Errors
    /// When there is none.
    pub fn gate(&self, wanted: &str) -> Result<&GateSpec, ModelError> {
        let newest = self.newest();
        let all: Vec<&GateSpec> = self.releases().iter().flat_map(|one| &one.gates).collect();
        let found = all.iter().find(|gate| matches(gate, wanted, newest));
        found.copied().ok_or_else(|| unknown(newest, &all, wanted))
    }
}

impl Selection {
    /// The names of the gates asked for, empty when none is.
    fn named(
        &self,
        release: &Release,
        gates: &[PlannedGate],
    ) -> Result<BTreeSet<String>, ModelError> {
        let specs: Vec<&GateSpec> = gates.iter().map(|gate| &gate.spec).collect();
        let find = |wanted: &String| {
            let found = specs.iter().find(|gate| matches(gate, wanted, release));
            found
                .map(|gate| gate.name.clone())
                .ok_or_else(|| unknown(release, &specs, wanted))
        };
        self.gates.iter().map(find).collect()
    }

    fn check_epic(&self, release: &Release, gates: &[PlannedGate]) -> Result<(), ModelError> {
        let Some(epic) = &self.epic else {
            return Ok(());
        };
        if gates
            .iter()
            .any(|gate| gate.epic == *epic && !epic.is_empty())
        {
            return Ok(());
        }
        let mut known: Vec<&str> = gates.iter().map(|gate| gate.epic.as_str()).collect();
        known.retain(|name| !name.is_empty());
        known.dedup();
        Err(ModelError::new(
            format!("unknown epic `{epic}` of {}", release.name),
            format!("there are {}", known.join(", ")),
        ))
    }

    fn admits(&self, gate: &PlannedGate) -> bool {
        let class = match gate.class {
            Class::Floor => !self.delta_only,
            Class::Delta => !self.floor_only,
        };
        class && self.epic.as_ref().is_none_or(|epic| gate.epic == *epic)
    }
}

fn planned(owner: &Release, gate: &GateSpec, release: &Release) -> PlannedGate {
    let own = owner.name == release.name;
    let epic = match (own, gate.epic.is_empty()) {
        (_, true) => String::new(),
        (true, false) => gate.epic.clone(),
        (false, false) => format!("{}-{}", owner.name, gate.epic),
    };
    let class = if own { Class::Delta } else { Class::Floor };
    PlannedGate {
        spec: gate.clone(),
        class,
        epic,
        selected: false,
    }
}

fn matches(gate: &GateSpec, wanted: &str, release: &Release) -> bool {
    gate.name == wanted
        || gate.full_id() == wanted
        || (gate.release == release.name && gate.id == wanted)
}

fn unknown(release: &Release, gates: &[&GateSpec], wanted: &str) -> ModelError {
    let ids: Vec<String> = gates.iter().map(|gate| gate.full_id()).collect();
    let own = gates
        .iter()
        .filter(|gate| gate.release == release.name)
        .map(|gate| &gate.id);
    let names = gates.iter().map(|gate| gate.name.as_str());
    let all = names
        .chain(own.map(String::as_str))
        .chain(ids.iter().map(String::as_str));
    let listed = format!("`sonia-gate list {}` shows every gate", release.name);
    let hint = match nearest(wanted, all) {
        Some(near) => format!("did you mean `{near}`? {listed}"),
        None => listed,
    };
    ModelError::new(format!("unknown gate `{wanted}` of {}", release.name), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(selection: Selection) -> Result<Plan, ModelError> {
        Model::embedded().unwrap().plan("v4.7", &selection)
    }

    fn selected(selection: Selection) -> Vec<String> {
        let plan = plan(selection).unwrap();
        let chosen = plan.gates.into_iter().filter(|gate| gate.selected);
        chosen.map(|gate| gate.spec.full_id()).collect()
    }

    fn gates(names: &[&str]) -> Selection {
        Selection {
            gates: names.iter().map(ToString::to_string).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn nothing_given_is_the_whole_release_in_the_order_of_the_report() {
        let plan = plan(Selection::default()).unwrap();
        assert!(plan.whole);
        let floor = plan
            .gates
            .iter()
            .filter(|gate| gate.class == Class::Floor)
            .count();
        assert_eq!((plan.gates.len(), floor), (84, 66));
        let ids: Vec<_> = plan.gates.iter().map(|gate| gate.spec.full_id()).collect();
        assert_eq!((ids[0].as_str(), ids[66].as_str()), ("v4.3/G1", "v4.7/A1"));
    }

    #[test]
    fn a_gate_is_found_by_name_by_id_and_by_full_id() {
        for (wanted, found) in [
            ("approval-race-safe", "v4.7/B1"),
            ("B1", "v4.7/B1"),
            ("v4.4/B1", "v4.4/B1"),
            ("v4.7/B1", "v4.7/B1"),
        ] {
            assert_eq!(selected(gates(&[wanted])), [found], "{wanted}");
        }
    }

    #[test]
    fn filters_narrow_each_other() {
        let epic = |name: &str| Selection {
            epic: Some(name.to_owned()),
            ..Selection::default()
        };
        assert_eq!(selected(epic("A")).len(), 6);
        assert_eq!(selected(epic("v4.3-A"))[0], "v4.3/A1");
        let delta = Selection {
            delta_only: true,
            ..Selection::default()
        };
        assert_eq!(selected(delta).len(), 18);
        let floor = Selection {
            floor_only: true,
            ..Selection::default()
        };
        assert_eq!(selected(floor).len(), 66);
        let both = Selection {
            epic: Some("B".to_owned()),
            ..gates(&["A1", "B1"])
        };
        assert_eq!(selected(both), ["v4.7/B1"]);
    }

    #[test]
    fn selecting_nothing_is_an_error() {
        for nothing in [
            Selection {
                delta_only: true,
                floor_only: true,
                ..Selection::default()
            },
            Selection {
                floor_only: true,
                ..gates(&["A1"])
            },
            Selection {
                epic: Some("B".to_owned()),
                ..gates(&["A1"])
            },
        ] {
            let error = plan(nothing).unwrap_err();
            assert_eq!(error.what, "nothing of v4.7 is selected");
        }
    }

    #[test]
    fn an_unknown_gate_or_epic_is_an_error_with_a_suggestion() {
        let error = plan(gates(&["aproval-race-safe"])).unwrap_err();
        assert_eq!(error.what, "unknown gate `aproval-race-safe` of v4.7");
        assert!(
            error.hint.starts_with("did you mean `approval-race-safe`?"),
            "{}",
            error.hint
        );
        let error = plan(Selection {
            epic: Some("Q".to_owned()),
            ..Selection::default()
        });
        assert!(error.unwrap_err().hint.contains("v4.3-A"));
        assert!(plan(gates(&["v4.3/Q9"])).is_err());
    }

    #[test]
    fn labels_and_classes_are_those_of_the_planned_release() {
        let model = Model::embedded().unwrap();
        let labels = |release: &str| {
            let plan = model.plan(release, &Selection::default()).unwrap();
            plan.gates
                .into_iter()
                .map(|gate| (gate.class, gate.epic))
                .collect::<Vec<_>>()
        };
        let newest = labels("v4.7");
        assert_eq!(newest[0], (Class::Floor, String::new()));
        assert_eq!(newest[2], (Class::Floor, "v4.3-A".to_owned()));
        assert_eq!(newest[83], (Class::Delta, "C".to_owned()));
        let oldest = labels("v4.3");
        assert_eq!(oldest.len(), 18);
        assert_eq!(oldest[2], (Class::Delta, "A".to_owned()));
    }
}
