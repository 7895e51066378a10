//! Proves gates: each on the clean target, every mutant against the gates that it names, every null
//! target against all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rand::seq::SliceRandom;
use tokio::sync::mpsc::UnboundedSender;

use super::Cancel;
use super::drive::{ATTEMPTS, DEADLINE_GRACE, Driver};
use super::estimate::Estimate;
use super::event::Row;
use super::proof::{Against, Cell, CellRole, MutantProof, NullProof, Proof};
use super::run::{check_for, check_of};
use crate::base::{Clock, Seed};
use crate::checks::Check;
use crate::model::{MutantSpec, Plan, PlannedGate, Status, TargetSpec};

/// Which gates a mutant is run against beside those it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None.
    Named,
    /// A share of them, the same one for the same seed.
    Sample {
        /// How many pairs of a mutant and a gate.
        pairs: usize,
        /// Chooses them; made of the commit.
        seed: Seed,
    },
    /// Every gate that has a check.
    All,
}

/// What gates came to under targets when the same sources were proven before, and the detail of
/// each: `(target, gate)`. It need not be driven again.
pub type Known = BTreeMap<(String, String), (Status, String)>;

/// How a plan is proven.
#[derive(Clone, Debug)]
pub struct ProveOptions {
    /// Our own binary, of which the targets are children.
    pub binary: PathBuf,
    /// Drives workload, faults and ids.
    pub seed: Seed,
    /// How many drives at a time, at least 1.
    pub jobs: usize,
    /// Which gates beside the named ones.
    pub scope: Scope,
    /// What is known already.
    pub known: Known,
    /// A temporary folder, for the folders of running targets.
    pub scratch: PathBuf,
    /// One folder a target, with the evidence of its gates.
    pub evidence: PathBuf,
}

/// One drive.
struct Pair<'a> {
    target: &'a TargetSpec,
    gate: &'a PlannedGate,
    check: &'static Check,
    against: Against,
    /// The index of the mutant, if it is one.
    mutant: Option<usize>,
}

/// A finished drive.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The target's name.
    pub target: String,
    /// What the target is to the gate.
    pub against: Against,
    /// What the gate came to.
    pub row: Row,
    /// How many drives there are.
    pub of: usize,
    /// How long the rest takes, if all goes on as it did.
    pub left: Option<Duration>,
}

/// Proves the selected gates of a plan. Each finished drive is sent as it ends.
pub async fn prove(
    plan: &Plan,
    mutants: &[MutantSpec],
    nulls: &[TargetSpec],
    options: &ProveOptions,
    events: &UnboundedSender<Proven>,
    cancel: Cancel,
) -> Proof {
    let mut proof = Proof::default();
    let checked = sort_gates(plan, mutants, &mut proof);
    let field = Field::of(plan, mutants, checked, options.scope);
    let chosen = &field.mutants;
    let clean = TargetSpec::reference();
    let pairs = pairs(&field, &clean, nulls, options.scope);
    proof.mutants = chosen
        .iter()
        .map(|mutant| MutantProof {
            spec: (*mutant).clone(),
            cells: Vec::new(),
        })
        .collect();
    proof.nulls = nulls
        .iter()
        .map(|null| NullProof {
            name: null.name.clone(),
            results: BTreeMap::new(),
        })
        .collect();
    let pairs: Vec<Pair<'_>> = pairs
        .into_iter()
        .filter(|pair| !recall(&mut proof, pair, &options.known))
        .collect();
    let of = pairs.len();
    let mut estimate = Estimate::of(pairs.iter().map(|pair| pair.gate.spec.name.as_str()));
    let (clock, began) = (Clock::start(), Instant::now());
    let mut driven = futures_util::stream::iter(pairs)
        .map(|pair| {
            let driver = driver(&pair, options, clock);
            let cancel = cancel.clone();
            async move {
                (
                    driver.gate(pair.gate, pair.check, cancel, |_| {}).await,
                    pair,
                )
            }
        })
        .buffer_unordered(options.jobs.max(1));
    while let Some((row, pair)) = driven.next().await {
        record(&mut proof, &pair, row.status, &row.detail);
        estimate.finished(&row.name, row.duration);
        let _ = events.send(Proven {
            target: pair.target.name.clone(),
            against: pair.against,
            row,
            of,
            left: estimate.left(began.elapsed()),
        });
    }
    for mutant in &mut proof.mutants {
        mutant
            .cells
            .sort_by(|one, other| (one.role, &one.gate).cmp(&(other.role, &other.gate)));
    }
    proof.interrupted = *cancel.borrow();
    proof
}

/// The selected gates that have a check; the others, and mutants that nobody built, are noted.
fn sort_gates<'a>(
    plan: &'a Plan,
    mutants: &[MutantSpec],
    proof: &mut Proof,
) -> Vec<(&'a PlannedGate, &'static Check)> {
    let mut checked = Vec::new();
    for gate in plan.gates.iter().filter(|gate| gate.selected) {
        let entry = (gate.spec.name.clone(), gate.spec.mutants.clone());
        match check_for(gate, &TargetSpec::reference()) {
            Err(_) => proof.unchecked.push(entry),
            Ok(check) => {
                checked.push((gate, check));
                for name in &gate.spec.mutants {
                    let built = |mutant: &MutantSpec| {
                        mutant.name == *name && mutant.must_fail(&gate.spec.name)
                    };
                    if !mutants.iter().any(built) {
                        proof.missing.push((gate.spec.name.clone(), name.clone()));
                    }
                }
                proof.checked.push(entry);
            }
        }
    }
    checked
}

type Checked<'a> = (&'a PlannedGate, &'static Check);

/// Who is run against whom.
struct Field<'a> {
    /// The selected gates.
    checked: Vec<Checked<'a>>,
    /// The others, where bystanders are looked for.
    others: Vec<Checked<'a>>,
    /// Mutants of the selected gates, and after them those that are run as bystanders' only.
    mutants: Vec<&'a MutantSpec>,
    /// How many of them belong to selected gates.
    own: usize,
}

impl<'a> Field<'a> {
    fn of(
        plan: &'a Plan,
        mutants: &'a [MutantSpec],
        checked: Vec<Checked<'a>>,
        scope: Scope,
    ) -> Self {
        let mine = |mutant: &&MutantSpec| {
            let must = |(gate, _): &Checked<'_>| mutant.must_fail(&gate.spec.name);
            checked.iter().any(must)
        };
        let (mut chosen, strangers): (Vec<&MutantSpec>, Vec<&MutantSpec>) =
            mutants.iter().partition(mine);
        let own = chosen.len();
        let mut others = Vec::new();
        if scope != Scope::Named {
            chosen.extend(strangers);
            let unselected = plan.gates.iter().filter(|gate| !gate.selected);
            others.extend(unselected.filter_map(|gate| {
                let check = check_of(gate, &TargetSpec::reference()).ok()?;
                Some((gate, check))
            }));
        }
        Self {
            checked,
            others,
            mutants: chosen,
            own,
        }
    }
}

fn pairs<'a>(
    field: &Field<'a>,
    clean: &'a TargetSpec,
    nulls: &'a [TargetSpec],
    scope: Scope,
) -> Vec<Pair<'a>> {
    let checked = &field.checked;
    let (mut named, mut bystanders) = (Vec::new(), Vec::new());
    for (index, mutant) in field.mutants.iter().enumerate() {
        let others: &[Checked<'a>] = if index < field.own {
            &field.others
        } else {
            &[]
        };
        let places = checked.iter().map(|gate| (gate, true));
        for (&(gate, check), selected) in places.chain(others.iter().map(|gate| (gate, false))) {
            let name = &gate.spec.name;
            let role = match (mutant.must_fail(name), mutant.names(name)) {
                (true, _) => CellRole::Must,
                (false, true) => CellRole::May,
                (false, false) => CellRole::Bystander,
            };
            let into = if role != CellRole::Bystander && selected && index < field.own {
                &mut named
            } else {
                &mut bystanders
            };
            into.push(Pair {
                target: &mutant.target,
                gate,
                check,
                against: Against::Mutant(role),
                mutant: Some(index),
            });
        }
    }
    match scope {
        Scope::Named => bystanders.clear(),
        Scope::Sample { pairs, seed } => {
            bystanders.shuffle(&mut seed.rng());
            bystanders.truncate(pairs);
        }
        Scope::All => {}
    }
    let all = |target, against| {
        checked.iter().map(move |&(gate, check)| Pair {
            target,
            gate,
            check,
            against,
            mutant: None,
        })
    };
    let nulls = nulls.iter().flat_map(|null| all(null, Against::Null));
    // The control comes first: without it the rest says nothing.
    let mut pairs: Vec<Pair<'a>> = all(clean, Against::Reference).collect();
    // A gate waits longest on a null target that does nothing, and works hardest on mutants: spread,
    // one fills the other's pauses, and no row of waits is left for the end. The last null target
    // is the one that answers rightly for longest, so it begins.
    let nulls: Vec<Pair<'a>> = nulls.collect();
    named.extend(bystanders);
    pairs.extend(spread(nulls.into_iter().rev().collect(), named));
    pairs
}

/// Two rows as one, each in its order, the first ones' items as evenly as it goes, one at the front.
fn spread<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    let (few, all) = (first.len(), first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut out = Vec::with_capacity(all);
    for place in 0..all {
        // Where the next of the first falls due.
        let due = out.len() * few >= (few - first.len()) * all;
        let next = if due { first.next() } else { None };
        out.extend(next.or_else(|| second.next()).or_else(|| first.next()));
        debug_assert_eq!(out.len(), place + 1);
    }
    out
}

fn driver(pair: &Pair<'_>, options: &ProveOptions, clock: Clock) -> Driver {
    Driver {
        target: pair.target.clone(),
        binary: options.binary.clone(),
        seed: options.seed,
        clock,
        scratch: options.scratch.join(&pair.target.name),
        evidence: options.evidence.join(&pair.target.name),
        grace: DEADLINE_GRACE,
        // A null target has to pass nothing: what stays open under it needs no second look.
        attempts: match pair.against {
            Against::Reference | Against::Mutant(_) => ATTEMPTS,
            Against::Null => 1,
        },
    }
}

/// Records what is known of a pair; whether anything is.
fn recall(proof: &mut Proof, pair: &Pair<'_>, known: &Known) -> bool {
    let place = (pair.target.name.clone(), pair.gate.spec.name.clone());
    let cell = known.get(&place);
    if let Some((status, detail)) = cell {
        record(proof, pair, *status, detail);
    }
    cell.is_some()
}

fn record(proof: &mut Proof, pair: &Pair<'_>, status: Status, detail: &str) {
    let gate = &pair.gate.spec.name;
    match pair.against {
        Against::Reference => {
            proof.control.insert(gate.clone(), status);
        }
        Against::Mutant(role) => {
            let index = pair.mutant.expect("a pair with a mutant names it");
            proof.mutants[index].cells.push(Cell {
                gate: gate.clone(),
                role,
                status,
                detail: detail.to_owned(),
            });
        }
        Against::Null => {
            let null = proof
                .nulls
                .iter_mut()
                .find(|null| null.name == pair.target.name);
            let null = null.expect("pairs are made of the null targets that were given");
            null.results.insert(gate.clone(), status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{May, Model, Selection};

    fn plan(gates: &[&str]) -> Plan {
        let gates = gates.iter().map(ToString::to_string).collect();
        let selection = Selection {
            gates,
            ..Selection::default()
        };
        Model::embedded().unwrap().plan("v4.7", &selection).unwrap()
    }

    fn mutant(name: &str, must: &str, may: &str) -> MutantSpec {
        MutantSpec {
            name: name.to_owned(),
            lever: "part".to_owned(),
            must: vec![must.to_owned()],
            may: vec![May {
                gate: may.to_owned(),
                reason: "it rests on it".to_owned(),
            }],
            target: TargetSpec::mutant(name),
        }
    }

    fn shown(pairs: &[Pair<'_>]) -> Vec<String> {
        let show = |pair: &Pair<'_>| {
            let role = match pair.against {
                Against::Reference => "control".to_owned(),
                Against::Mutant(role) => format!("{role:?}"),
                Against::Null => "null".to_owned(),
            };
            format!("{} {} {role}", pair.target.name, pair.gate.spec.id)
        };
        pairs.iter().map(show).collect()
    }

    #[test]
    fn a_mutant_meets_the_gates_it_names_and_others_only_when_asked() {
        let plan = plan(&[
            "audit-chain-present",
            "approval-race-safe",
            "chaos-degrade-cycle",
        ]);
        let mutant = mutant(
            "audit-constant-prev",
            "audit-chain-present",
            "approval-race-safe",
        );
        let nulls = [TargetSpec::null("liar").unwrap()];
        let checked = sort_gates(&plan, &[], &mut Proof::default());
        let clean = TargetSpec::reference();
        let mutants = [mutant];
        let with = |scope| {
            let field = Field::of(&plan, &mutants, checked.clone(), scope);
            shown(&pairs(&field, &clean, &nulls, scope))
        };
        let control = ["A1", "B1", "C5"].map(|id| format!("reference {id} control"));
        let control: Vec<&str> = control.iter().map(String::as_str).collect();
        let named = [
            "liar C5 null",
            "audit-constant-prev A1 Must",
            "liar B1 null",
            "audit-constant-prev B1 May",
            "liar A1 null",
        ];
        assert_eq!(
            with(Scope::Named),
            [control.as_slice(), named.as_slice()].concat()
        );
        let all = with(Scope::All);
        assert!(all.contains(&"audit-constant-prev C5 Bystander".to_owned()));
        let sampled = |pairs| {
            let seed = Seed(1);
            with(Scope::Sample { pairs, seed })
        };
        assert_eq!((sampled(0).len(), sampled(1).len()), (8, 9));
        assert!(sampled(1).iter().all(|pair| all.contains(pair)));
    }

    #[test]
    fn bystanders_of_a_selection_are_looked_for_everywhere() {
        let plan = plan(&["audit-chain-present"]);
        let mutants = [
            mutant("own", "audit-chain-present", "chaos-degrade-cycle"),
            mutant("strange", "approval-race-safe", "audit-chain-present"),
        ];
        let checked = sort_gates(&plan, &[], &mut Proof::default());
        let clean = TargetSpec::reference();
        let field = Field::of(&plan, &mutants, checked.clone(), Scope::All);
        let all = shown(&pairs(&field, &clean, &[], Scope::All));
        for (pair, there) in [
            ("own A1 Must", true),
            ("own C5 May", true),
            ("own B1 Bystander", true),
            ("strange A1 May", true),
            ("strange B1 Must", false),
            ("strange C5 Bystander", false),
        ] {
            assert_eq!(all.contains(&pair.to_owned()), there, "{pair}: {all:?}");
        }
        let field = Field::of(&plan, &mutants, checked, Scope::Named);
        let named = shown(&pairs(&field, &clean, &[], Scope::Named));
        assert_eq!(named, ["reference A1 control", "own A1 Must"]);
    }

    #[test]
    fn rows_of_waits_are_spread_over_the_others() {
        let text = |few: &str, many: &str| {
            spread(few.chars().collect(), many.chars().collect())
                .into_iter()
                .collect::<String>()
        };
        assert_eq!(text("AB", "123456"), "A123B456");
        assert_eq!(text("ABC", "1"), "A1BC");
        assert_eq!((text("", "12"), text("A", "")), ("12".into(), "A".into()));
    }

    #[test]
    fn a_share_is_the_same_for_the_same_commit() {
        let plan = plan(&[]);
        let mutants: Vec<MutantSpec> = ["a", "b", "c", "d"]
            .map(|name| mutant(name, "audit-chain-present", "-"))
            .to_vec();
        let checked = sort_gates(&plan, &[], &mut Proof::default());
        let clean = TargetSpec::reference();
        let share = |seed| {
            let scope = Scope::Sample {
                pairs: 3,
                seed: Seed(seed),
            };
            let field = Field::of(&plan, &mutants, checked.clone(), scope);
            shown(&pairs(&field, &clean, &[], scope))
        };
        assert_eq!(share(1), share(1));
        assert!((2..20).any(|seed| share(seed) != share(1)));
    }

    #[test]
    fn what_a_gate_comes_to_on_the_clean_target_is_the_control_and_no_kill() {
        let plan = plan(&["audit-chain-present"]);
        let (clean, mut proof) = (TargetSpec::reference(), Proof::default());
        let checked = sort_gates(&plan, &[], &mut proof);
        let field = Field::of(&plan, &[], checked, Scope::All);
        for pair in pairs(&field, &clean, &[], Scope::All) {
            record(&mut proof, &pair, Status::Fail, "always");
        }
        let fails = BTreeMap::from([("audit-chain-present".to_owned(), Status::Fail)]);
        assert_eq!(proof.control, fails);
        assert!(proof.refuted() && proof.mutants.is_empty() && proof.nulls.is_empty());
    }

    #[test]
    fn what_is_known_is_recorded_and_not_driven_again() {
        let plan = plan(&["audit-chain-present", "approval-race-safe"]);
        let (clean, mut proof) = (TargetSpec::reference(), Proof::default());
        let checked = sort_gates(&plan, &[], &mut proof);
        let field = Field::of(&plan, &[], checked, Scope::Named);
        let place = ("reference".to_owned(), "approval-race-safe".to_owned());
        let known = Known::from([(place, (Status::Pass, String::new()))]);
        let mut pairs = pairs(&field, &clean, &[], Scope::Named);
        pairs.retain(|pair| !recall(&mut proof, pair, &known));
        assert_eq!(shown(&pairs), ["reference A1 control"]);
        assert!(proof.controlled("approval-race-safe"));
    }

    #[test]
    fn what_is_not_built_and_what_has_no_check_is_noted() {
        let mut plan = plan(&["audit-chain-present", "wal-mode"]);
        let other = plan
            .gates
            .iter_mut()
            .find(|gate| gate.spec.name == "wal-mode");
        other.unwrap().spec.name = "nobody-checks-it".to_owned();
        let mut proof = Proof::default();
        let built = mutant("audit-constant-prev", "audit-chain-present", "-");
        sort_gates(&plan, &[built], &mut proof);
        assert_eq!(proof.unchecked[0].0, "nobody-checks-it");
        assert_eq!(
            proof.unchecked[0].1,
            ["journal-mode-delete", "store-acks-before-commit"]
        );
        let missing: Vec<&str> = proof
            .missing
            .iter()
            .map(|(_, name)| name.as_str())
            .collect();
        assert_eq!(missing.len(), 4);
        assert!(!missing.contains(&"audit-constant-prev"));
        // A mutant of that name which does not declare the gate is not the row's mutant.
        let stray = mutant("audit-constant-prev", "approval-race-safe", "-");
        let mut proof = Proof::default();
        sort_gates(&plan, &[stray], &mut proof);
        assert_eq!(proof.missing.len(), 5);
    }
}
